"""Masks of PlasticFlex layers, and the extremes of y = m(P) C + (1 - m(P)) P for one C while P ranges over an interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import FLOOR

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
    def over(self, lower: Tensor, upper: Tensor) -> Range:
        """What can be said of y while P is in [lower, upper]."""

    def constant(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Where the mask is the same all over [lower, upper]."""
        return self(lower) == self(upper)

    def mix(self, convolved: Tensor, pooled: Tensor) -> Tensor:
        return self(pooled) * (convolved - pooled) + pooled

    def of(self, channels: slice) -> Mask:
        """The mask of some of the channels."""
        parts = {name: value[channels] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value for name, value in parts.items() if name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Range(ABC):
    """Extremes of y - slope P = m(P) (C - P) + P - slope P over P in [lower, upper], for one C; ``slope`` None is 0."""

    lower: Tensor
    upper: Tensor

    @abstractmethod
    def least(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        """A lower bound."""

    @abstractmethod
    def greatest(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        """An upper bound."""


@dataclass(frozen=True)
class HardSigmoidMask(Mask):
    """phi(z) = clip(z / 6 + 1 / 2, 0, 1)."""

    def __call__(self, pooled: Tensor) -> Tensor:
        return ((self.scale * pooled + self.shift) / 6 + 0.5).clamp(0.0, 1.0)

    def over(self, lower: Tensor, upper: Tensor) -> Range:
        return HardSigmoidRange(lower, upper, self)


@dataclass(frozen=True)
class HardSigmoidRange(Range):
    """y - slope P is a line, then a parabola between the kinks, then a line.

    Where the mask rises with P (a > 0) the parabola is concave and falls to its least value at one of its ends, a kink or an end
    of the interval; its greatest is at the vertex, or as near to it as it goes, which takes the kinks in. Where the mask falls it
    is the other way round. And without a slope the lines rise or are level, towards a kink: no kink beats the end behind it.
    """

    mask: HardSigmoidMask

    @cached_property
    def ends(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """(P, m(P)) at both ends."""
        return (self.lower, self.mask(self.lower)), (self.upper, self.mask(self.upper))

    @cached_property
    def line(self) -> tuple[Tensor, Tensor, Tensor]:
        """(a, b, divisor) of m(P) = a P + b between the kinks; the divisor is a, or 1 where a is 0."""
        a = self.mask.scale / 6
        return a, self.mask.shift / 6 + 0.5, torch.where(a == 0, 1.0, a)

    @cached_property
    def directions(self) -> tuple[bool, bool]:
        """Whether the mask rises anywhere, and whether it falls anywhere."""
        return bool((self.mask.scale > 0).any()), bool((self.mask.scale < 0).any())

    @cached_property
    def kinks(self) -> tuple[Tensor, Tensor]:
        """Where the mask reaches 0, and 1; any two points where it does neither."""
        _, b, divisor = self.line
        return -b / divisor, (1 - b) / divisor

    @cached_property
    def bent(self) -> tuple[Tensor, Tensor] | None:
        """Which kinks lie inside; None if none does."""
        inside = [(self.mask.scale != 0) & (self.lower < kink) & (kink < self.upper) for kink in self.kinks]
        return (inside[0], inside[1]) if any(bool(where.any()) for where in inside) else None

    @cached_property
    def straight(self) -> tuple[Tensor, Tensor]:
        """The part of [lower, upper] between the kinks; a point beside it where there is none."""
        low, high = torch.minimum(*self.kinks), torch.maximum(*self.kinks)
        return torch.minimum(torch.maximum(low, self.lower), self.upper), torch.maximum(torch.minimum(high, self.upper), self.lower)

    def least(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        rises, falls = self.directions
        return self._extreme(torch.minimum, torch.inf, convolved, slope, vertex=falls, kinks=rises)

    def greatest(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        rises, falls = self.directions
        return self._extreme(torch.maximum, -torch.inf, convolved, slope, vertex=rises, kinks=falls)

    def _extreme(
        self,
        better: Callable[[Tensor, Tensor], Tensor],
        never: float,
        convolved: Tensor,
        slope: Tensor | None,
        *,
        vertex: bool,
        kinks: bool,
    ) -> Tensor:
        """The best of the ends and of what else is asked for; everything that is compared is attained."""
        best = better(*(_tilted(mask * (convolved - end) + end, slope, end) for end, mask in self.ends))
        if kinks and slope is not None and self.bent:
            (off, on), (at_off, at_on) = self.kinks, self.bent
            best = better(best, torch.where(at_off, _tilted(off, slope, off), never))
            best = better(best, torch.where(at_on, _tilted(convolved, slope, on), never))
        return better(best, self._at_vertex(convolved, slope)) if vertex else best

    def _at_vertex(self, convolved: Tensor, slope: Tensor | None) -> Tensor:
        """The value where (a P + b)(C - P) + P - slope P is level, at P = C / 2 + (1 - b - slope) / (2 a), or nearest to it."""
        a, b, divisor = self.line
        vertex = convolved / 2 + (1 - b if slope is None else 1 - b - slope) / (2 * divisor)
        vertex = vertex.clamp(*self.straight)
        mask = (a * vertex + b).clamp_(0.0, 1.0)
        return _tilted(mask * (convolved - vertex) + vertex, slope, vertex)


def _tilted(value: Tensor, slope: Tensor | None, pooled: Tensor) -> Tensor:
    return value if slope is None else value - slope * pooled


@dataclass(frozen=True)
class SigmoidMask(Mask):
    """phi = the logistic sigmoid."""

    def __call__(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.scale * pooled + self.shift)

    def over(self, lower: Tensor, upper: Tensor) -> Range:
        return SigmoidRange(lower, upper, self)


@dataclass(frozen=True)
class SigmoidRange(Range):
    """y is smooth in P, and lies within h^2 / 8 max |y''| of its chord on a piece of width h."""

    mask: SigmoidMask

    @cached_property
    def grid(self) -> tuple[Tensor, Tensor]:
        """(P, m(P)) at the ends of the pieces."""
        points = torch.stack([self.lower + (self.upper - self.lower) * (k / PIECES) for k in range(PIECES)] + [self.upper])
        return points, self.mask(points)

    def least(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        return torch.maximum(*self._pieces(convolved, slope, sign=1)).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        return -torch.maximum(*self._pieces(convolved, slope, sign=-1)).amin(0)

    def _pieces(self, convolved: Tensor, slope: Tensor | None, sign: int) -> tuple[Tensor, Tensor]:
        """Two lower bounds of sign * (y - slope P) on each piece: chord minus curvature, and the four corners."""
        grid, masks = self.grid
        start, end = grid[:-1], grid[1:]
        values = sign * _tilted(masks * (convolved - grid) + grid, slope, grid)
        distance = torch.maximum((convolved - self.lower).abs(), (convolved - self.upper).abs())
        curvature = SIGMOID_CURVATURE * self.mask.scale**2 * distance + 0.5 * self.mask.scale.abs()
        by_curvature = torch.minimum(values[:-1], values[1:]) - (end - start) ** 2 / 8 * curvature
        corners = [mask * convolved + (1 - mask) * pooled for mask, pooled in product((masks[:-1], masks[1:]), (start, end))]
        by_corners = (sign * torch.stack(corners)).amin(0)
        if slope is not None:
            by_corners = by_corners + torch.minimum(-sign * slope * start, -sign * slope * end)
        return by_curvature, by_corners


@dataclass(frozen=True)
class BinaryMask(Mask):
    """phi(z) = 1[z > 0].

    Attributes:
        blur: |z| up to blur (|scale| |P| + terms) may have either sign in a computed network.
        terms: magnitude of what the shift is computed from, (*shape).
    """

    blur: float
    terms: Tensor

    def __call__(self, pooled: Tensor) -> Tensor:
        return (self.scale * pooled + self.shift > 0).to(pooled.dtype)

    def over(self, lower: Tensor, upper: Tensor) -> Range:
        return BinaryRange(lower, upper, self)

    def constant(self, lower: Tensor, upper: Tensor) -> Tensor:
        on, off, _ = BinaryRange(lower, upper, self).regions
        return ~(on & off)


@dataclass(frozen=True)
class BinaryRange(Range):
    """y is C where the mask is on and P where it is off, two straight lines that overlap where it may be either."""

    mask: BinaryMask

    def least(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        return self._values(convolved, slope, torch.inf).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        return self._values(convolved, slope, -torch.inf).amax(0)

    def _values(self, convolved: Tensor, slope: Tensor | None, nothing: float) -> Tensor:
        """y - slope P at the ends of where the mask may be on, and of where it may be off."""
        on, off, edges = self.regions
        on_ends = [torch.where(on, _tilted(convolved, slope, end), nothing) for end in (edges[0], edges[1])]
        off_ends = [torch.where(off, _tilted(end, slope, end), nothing) for end in (edges[2], edges[3])]
        return torch.stack(on_ends + off_ends)

    @cached_property
    def regions(self) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(may be on, may be off, (first P on, last P on, first P off, last P off)); the mask goes on with P where scale > 0."""
        mask, lower, upper = self.mask, self.lower, self.upper
        error = mask.blur * (mask.scale.abs() * torch.maximum(lower.abs(), upper.abs()) + mask.terms + FLOOR)
        ends = (mask.scale * lower + mask.shift, mask.scale * upper + mask.shift)
        on, off = torch.maximum(*ends) > -error, torch.minimum(*ends) <= error
        divisor = torch.where(mask.scale == 0, 1.0, mask.scale)
        goes_on, goes_off = ((-mask.shift - error) / divisor).clamp(lower, upper), ((-mask.shift + error) / divisor).clamp(lower, upper)
        rising, falling = (mask.scale > 0).expand_as(lower), (mask.scale < 0).expand_as(lower)
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

    def over(self, lower: Tensor, upper: Tensor) -> Range:
        return AnyRange(lower, upper, tuple(mask.over(lower, upper) for mask in self.masks))

    def of(self, channels: slice) -> Mask:
        masks = tuple(mask.of(channels) for mask in self.masks)
        return AnyMask(self.scale[channels], self.shift[channels], self.middle.of(channels), masks)


@dataclass(frozen=True)
class AnyRange(Range):
    """The worst of several masks."""

    ranges: tuple[Range, ...]

    def least(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        return torch.stack([over.least(convolved, slope) for over in self.ranges]).amin(0)

    def greatest(self, convolved: Tensor, slope: Tensor | None = None) -> Tensor:
        return torch.stack([over.greatest(convolved, slope) for over in self.ranges]).amax(0)
