"""y = m(P) C + (1 - m(P)) P: a mix of two branches whose mask depends on one of them.

For a fixed P, y is affine in C. So over a box of (C, P) every extreme of y - alpha C - beta P is attained at an end of
C's interval, and along P a function of one variable remains, whose extremes ``Range`` knows. Any slopes alpha and beta
therefore come with sound (for the hard sigmoid: exact) offsets; the tie between mask and pooling branch is never lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.masks import Mask

CACHED = 2**15
"""Elements of a feature map that are worked on at a time."""


@dataclass(frozen=True)
class Plane:
    """on_convolved C + on_pooled P + offset, (B, *shape) each."""

    on_convolved: Tensor
    on_pooled: Tensor
    offset: Tensor


@dataclass(frozen=True)
class PlaneSide:
    """Several planes on one side of y, and the best of them for C at its centre and P at l, at the centre, and at u.

    Attributes:
        planes: candidates, each entry (candidates, B, *shape).
        convolved: C's centre; ``pooled``: P's bounds.
        sign: 1 for planes below y, -1 above it.
    """

    planes: Plane
    convolved: Tensor
    pooled: Interval
    sign: int

    @cached_property
    def at_lower(self) -> Plane:
        return self._best(self.pooled.lower)

    @cached_property
    def at_centre(self) -> Plane:
        return self._best(self.pooled.centre)

    @cached_property
    def at_upper(self) -> Plane:
        return self._best(self.pooled.upper)

    def mixed(self, mix: Tensor | None) -> Plane:
        """The centre's plane, leaning towards the upper end's (mix > 0) or the lower end's (mix < 0), as ``lines.Side`` does."""
        if mix is None:
            return self.at_centre
        up, down = mix.clamp(min=0.0), mix.clamp(max=0.0).neg()
        stay, centre, upper, lower = 1.0 - up - down, self.at_centre, self.at_upper, self.at_lower
        return Plane(
            stay * centre.on_convolved + up * upper.on_convolved + down * lower.on_convolved,
            stay * centre.on_pooled + up * upper.on_pooled + down * lower.on_pooled,
            stay * centre.offset + up * upper.offset + down * lower.offset,
        )

    def _best(self, point: Tensor) -> Plane:
        given = self.planes
        heights = self.sign * (given.on_convolved * self.convolved + given.on_pooled * point + given.offset)
        best = heights.argmax(0, keepdim=True)
        return Plane(*(entry.gather(0, best)[0] for entry in (given.on_convolved, given.on_pooled, given.offset)))


@dataclass(frozen=True)
class Planes:
    """Planes ``below`` and ``above`` y."""

    below: PlaneSide
    above: PlaneSide

    def apply(self, a: Tensor, mix: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """A plane below sum a y: (coefficients on C, on P, constant (R, B)); a is (R, B or 1, *shape)."""
        positive, negative = a.clamp(min=0), a.clamp(max=0)
        below, above = self.below.mixed(mix), self.above.mixed(mix)
        constant = dot(positive, below.offset) + dot(negative, above.offset)
        on_convolved = positive * below.on_convolved + negative * above.on_convolved
        return on_convolved, positive * below.on_pooled + negative * above.on_pooled, constant


def fixed_bounds(mask: Tensor, convolved: Interval, pooled: Interval) -> tuple[Tensor, Tensor]:
    """Bounds of y for a constant mask (*shape), of any value."""
    centre = mask * convolved.centre + (1 - mask) * pooled.centre
    radius = mask.abs() * convolved.radius + (1 - mask).abs() * pooled.radius
    return centre - radius, centre + radius


def fixed_planes(mask: Tensor, convolved: Interval, pooled: Interval) -> Planes:
    """y itself, for a constant mask (*shape)."""
    alpha = mask.expand(1, *convolved.lower.shape)
    plane = Plane(alpha, 1 - alpha, torch.zeros_like(alpha))
    return Planes(*(PlaneSide(plane, convolved.centre, pooled, sign) for sign in (1, -1)))


def routing_bounds(mask: Mask, convolved: Interval, pooled: Interval) -> tuple[Tensor, Tensor]:
    """Bounds of y over a box of (C, P): y increases with C, so C sits at an end. A few channels at a time, which stay in the cache."""
    channels = max(1, CACHED // pooled.lower[:, :1].numel())
    ends = []
    for start in range(0, pooled.lower.shape[1], channels):
        part = slice(start, start + channels)
        over = mask.of(part).over(pooled.lower[:, part], pooled.upper[:, part])
        ends.append((over.least(convolved.lower[:, part]), over.greatest(convolved.upper[:, part])))
    lower, upper = zip(*ends, strict=True)
    return torch.cat(lower, 1), torch.cat(upper, 1)


def routing_planes(mask: Mask, convolved: Interval, pooled: Interval) -> Planes:
    """Nine candidates: the mask at three points, the secant in P at three values of C, and the offsets that make them planes."""
    over = mask.over(pooled.lower, pooled.upper)
    alphas = [mask(point) for point in (pooled.lower, pooled.centre, pooled.upper)]
    betas = [_secant(mask, point, pooled) for point in (convolved.lower, convolved.centre, convolved.upper)]
    below, above = [], []
    for beta in betas:
        extremes = [(over.least(end, beta), over.greatest(end, beta)) for end in (convolved.lower, convolved.upper)]
        for alpha in alphas:
            parts = [alpha * end for end in (convolved.lower, convolved.upper)]
            below.append((alpha, beta, torch.minimum(*(least - part for (least, _), part in zip(extremes, parts, strict=True)))))
            above.append((alpha, beta, torch.maximum(*(greatest - part for (_, greatest), part in zip(extremes, parts, strict=True)))))
    sides = [Plane(*(torch.stack(entries) for entries in zip(*side, strict=True))) for side in (below, above)]
    return Planes(PlaneSide(sides[0], convolved.centre, pooled, 1), PlaneSide(sides[1], convolved.centre, pooled, -1))


def _secant(mask: Mask, convolved: Tensor, pooled: Interval) -> Tensor:
    width = pooled.upper - pooled.lower
    rise = mask.mix(convolved, pooled.upper) - mask.mix(convolved, pooled.lower)
    return torch.where(width > 0, rise / width.clamp(min=1e-300), 0.0)
