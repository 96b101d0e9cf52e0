"""y = m(P) C + (1 - m(P)) P: a mix of two branches whose mask depends on one of them.

For a fixed P, y is affine in C. So over a box of (C, P) every extreme of y - alpha C - beta P is attained at an end of
C's interval, and along P a function of one variable remains, whose extremes ``Mask`` knows. Any slopes alpha and beta
therefore come with sound (for the hard sigmoid: exact) offsets; the tie between mask and pooling branch is never lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import FLOOR
from neurocert.certify.bounds.interval import Interval

PIECES = 8
"""Subdivisions of P's interval where the mask is a sigmoid."""
SIGMOID_CURVATURE = 0.0963
"""At least max |sigma''| = 1 / (6 sqrt 3) = 0.09622..."""


@dataclass(frozen=True)
class Mask(ABC):
    """m(P) = phi(scale P + shift), element by element.

    Attributes:
        scale, shift: (*shape).
    """

    scale: Tensor
    shift: Tensor

    @abstractmethod
    def __call__(self, pooled: Tensor) -> Tensor:
        """m(P), in [0, 1]."""

    @abstractmethod
    def least(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """A lower bound of m(P) (C - P) + P - slope P over P in [lower, upper], for a fixed C."""

    @abstractmethod
    def greatest(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """An upper bound of the same."""

    def constant(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Where the mask is the same all over [lower, upper]."""
        return self(lower) == self(upper)

    def mix(self, convolved: Tensor, pooled: Tensor) -> Tensor:
        return self(pooled) * (convolved - pooled) + pooled


@dataclass(frozen=True)
class HardSigmoidMask(Mask):
    """phi(z) = clip(z / 6 + 1 / 2, 0, 1): on its linear part y is a parabola in P, whose vertex and kinks are known."""

    def __call__(self, pooled: Tensor) -> Tensor:
        return ((self.scale * pooled + self.shift) / 6 + 0.5).clamp(0.0, 1.0)

    def least(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return self._candidates(convolved, slope, lower, upper).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return self._candidates(convolved, slope, lower, upper).amax(0)

    def _candidates(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """The function at every point where an extreme can lie: ends, kinks, and the vertex of the linear part's parabola
        (a P + b)(C - P) + P - slope P, at P = (a C - b + 1 - slope) / (2 a)."""
        a, b = self.scale / 6, self.shift / 6 + 0.5
        divisor = torch.where(a == 0, 1.0, a)
        kinks = [(-b / divisor).expand_as(lower), ((1 - b) / divisor).expand_as(lower)]
        vertex = (a * convolved - b + 1 - slope) / (2 * divisor)
        vertex = vertex.clamp(torch.minimum(*kinks), torch.maximum(*kinks))
        points = torch.stack([lower, upper, *(point.clamp(lower, upper) for point in (*kinks, vertex))])
        return self.mix(convolved, points) - slope * points


@dataclass(frozen=True)
class SigmoidMask(Mask):
    """phi = the logistic sigmoid: y is smooth in P, and lies within h^2 / 8 max |y''| of its chord on a piece of width h."""

    def __call__(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.scale * pooled + self.shift)

    def least(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.maximum(*self._pieces(convolved, slope, lower, upper, sign=1)).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return -torch.maximum(*self._pieces(convolved, slope, lower, upper, sign=-1)).amin(0)

    def _pieces(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor, sign: int) -> tuple[Tensor, Tensor]:
        """Two lower bounds of sign * (y - slope P) on each piece: chord minus curvature, and the four corners."""
        grid = torch.stack([lower + (upper - lower) * (k / PIECES) for k in range(PIECES)] + [upper])
        start, end = grid[:-1], grid[1:]
        values = sign * (self.mix(convolved, grid) - slope * grid)
        distance = torch.maximum((convolved - lower).abs(), (convolved - upper).abs())
        curvature = SIGMOID_CURVATURE * self.scale**2 * distance + 0.5 * self.scale.abs()
        by_curvature = torch.minimum(values[:-1], values[1:]) - (end - start) ** 2 / 8 * curvature
        corners = [mask * convolved + (1 - mask) * pooled for mask, pooled in product((self(start), self(end)), (start, end))]
        tilt = torch.minimum(-sign * slope * start, -sign * slope * end)
        by_corners = (sign * torch.stack(corners)).amin(0) + tilt
        return by_curvature, by_corners


@dataclass(frozen=True)
class BinaryMask(Mask):
    """phi(z) = 1[z > 0]: y is C where the mask is on and P where it is off, two straight lines that overlap where it may be either.

    Attributes:
        blur: |z| up to blur (|scale| |P| + terms) may have either sign in a computed network.
        terms: magnitude of what the shift is computed from, (*shape).
    """

    blur: float
    terms: Tensor

    def __call__(self, pooled: Tensor) -> Tensor:
        return (self.scale * pooled + self.shift > 0).to(pooled.dtype)

    def constant(self, lower: Tensor, upper: Tensor) -> Tensor:
        on, off, _ = self._regions(lower, upper)
        return ~(on & off)

    def least(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return self._values(convolved, slope, lower, upper, torch.inf).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return self._values(convolved, slope, lower, upper, -torch.inf).amax(0)

    def _values(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor, nothing: float) -> Tensor:
        """y - slope P at the ends of where the mask may be on, and of where it may be off."""
        on, off, edges = self._regions(lower, upper)
        on_ends = [torch.where(on, convolved - slope * end, nothing) for end in (edges[0], edges[1])]
        off_ends = [torch.where(off, end - slope * end, nothing) for end in (edges[2], edges[3])]
        return torch.stack(on_ends + off_ends)

    def _regions(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(may be on, may be off, (first P on, last P on, first P off, last P off)); the mask goes on with P where scale > 0."""
        error = self.blur * (self.scale.abs() * torch.maximum(lower.abs(), upper.abs()) + self.terms + FLOOR)
        ends = (self.scale * lower + self.shift, self.scale * upper + self.shift)
        on, off = torch.maximum(*ends) > -error, torch.minimum(*ends) <= error
        divisor = torch.where(self.scale == 0, 1.0, self.scale)
        goes_on, goes_off = ((-self.shift - error) / divisor).clamp(lower, upper), ((-self.shift + error) / divisor).clamp(lower, upper)
        rising, falling = (self.scale > 0).expand_as(lower), (self.scale < 0).expand_as(lower)
        edges = (
            torch.where(rising, goes_on, lower),
            torch.where(falling, goes_on, upper),
            torch.where(falling, goes_off, lower),
            torch.where(rising, goes_off, upper),
        )
        return on, off, edges


@dataclass(frozen=True)
class AnyMask(Mask):
    """One of several masks, not known which: every bound holds for each of them.

    Attributes:
        middle: whose slopes are tried.
        masks: those that it may be.
    """

    middle: Mask
    masks: tuple[Mask, ...]

    def __call__(self, pooled: Tensor) -> Tensor:
        return self.middle(pooled)

    def constant(self, lower: Tensor, upper: Tensor) -> Tensor:
        same = torch.stack([mask.constant(lower, upper) for mask in self.masks]).all(0)
        values = torch.stack([mask(lower) for mask in self.masks])
        return same & (values.amin(0) == values.amax(0))

    def least(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.stack([mask.least(convolved, slope, lower, upper) for mask in self.masks]).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.stack([mask.greatest(convolved, slope, lower, upper) for mask in self.masks]).amax(0)


@dataclass(frozen=True)
class Planes:
    """lower[0] C + lower[1] P + lower[2] <= y <= upper[0] C + upper[1] P + upper[2]."""

    lower: tuple[Tensor, Tensor, Tensor]
    upper: tuple[Tensor, Tensor, Tensor]


def fixed_bounds(mask: Tensor, convolved: Interval, pooled: Interval) -> tuple[Tensor, Tensor]:
    """Bounds of y for a constant mask (*shape), of any value."""
    centre = mask * convolved.centre + (1 - mask) * pooled.centre
    radius = mask.abs() * convolved.radius + (1 - mask).abs() * pooled.radius
    return centre - radius, centre + radius


def fixed_planes(mask: Tensor, batch: int) -> Planes:
    """y itself, for a constant mask (*shape)."""
    alpha = mask.expand(batch, *mask.shape)
    plane = (alpha, 1 - alpha, torch.zeros_like(alpha))
    return Planes(plane, plane)


def routing_bounds(mask: Mask, convolved: Interval, pooled: Interval) -> tuple[Tensor, Tensor]:
    """Bounds of y over a box of (C, P): y increases with C, so C sits at an end."""
    zero = torch.zeros_like(pooled.lower)
    return (
        mask.least(convolved.lower, zero, pooled.lower, pooled.upper),
        mask.greatest(convolved.upper, zero, pooled.lower, pooled.upper),
    )


def routing_planes(mask: Mask, convolved: Interval, pooled: Interval) -> Planes:
    """Of nine candidate slopes (the mask at three points, the secant in P at three values of C), the planes best at the centre."""
    centre_c, centre_p = convolved.centre, pooled.centre
    alphas = [mask(point) for point in (pooled.lower, centre_p, pooled.upper)]
    betas = [_secant(mask, point, pooled) for point in (convolved.lower, centre_c, convolved.upper)]
    lower, upper = [], []
    for alpha, beta in product(alphas, betas):
        ends = [(end, alpha * end) for end in (convolved.lower, convolved.upper)]
        below = torch.minimum(*(mask.least(end, beta, pooled.lower, pooled.upper) - part for end, part in ends))
        above = torch.maximum(*(mask.greatest(end, beta, pooled.lower, pooled.upper) - part for end, part in ends))
        level = alpha * centre_c + beta * centre_p
        lower.append((alpha, beta, below, -(level + below)))
        upper.append((alpha, beta, above, level + above))
    return Planes(_least(lower), _least(upper))


def _secant(mask: Mask, convolved: Tensor, pooled: Interval) -> Tensor:
    width = pooled.upper - pooled.lower
    rise = mask.mix(convolved, pooled.upper) - mask.mix(convolved, pooled.lower)
    return torch.where(width > 0, rise / width.clamp(min=1e-300), 0.0)


def _least(candidates: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Element by element, the candidate whose last entry is least, without that entry."""
    stacked = [torch.stack(parts) for parts in zip(*candidates, strict=True)]
    best = stacked[3].argmin(0, keepdim=True)
    alpha, beta, offset = (part.gather(0, best)[0] for part in stacked[:3])
    return alpha, beta, offset
