"""Lines below and above a function of one variable, and what backward propagation does with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Line:
    """slope x + offset; both (B, *shape)."""

    slope: Tensor
    offset: Tensor

    @cached_property
    def through_zero(self) -> bool:
        return not self.offset.requires_grad and not bool(self.offset.any())


@dataclass(frozen=True)
class Side:
    """Several lines on one side of a function on [l, u], and the best of them at l, at the centre, and at u.

    Attributes:
        slopes, offsets: (candidates, B, *shape).
        lower, upper: l and u, (B, *shape).
        sign: 1 for lines below the function, -1 above it.
    """

    slopes: Tensor
    offsets: Tensor
    lower: Tensor
    upper: Tensor
    sign: int

    @cached_property
    def at_lower(self) -> Line:
        return self._best(self.lower)

    @cached_property
    def at_centre(self) -> Line:
        return self._best((self.lower + self.upper) / 2)

    @cached_property
    def at_upper(self) -> Line:
        return self._best(self.upper)

    def _best(self, point: Tensor) -> Line:
        heights = self.sign * (self.slopes * point + self.offsets)
        slope, offset, height = self.slopes[0], self.offsets[0], heights[0]
        for other in range(1, len(heights)):
            better = heights[other] > height
            slope, offset = torch.where(better, self.slopes[other], slope), torch.where(better, self.offsets[other], offset)
            height = torch.where(better, heights[other], height)
        return Line(slope, offset)

    def mixed(self, mix: Tensor | None) -> Line:
        """The centre's line, leaning towards the upper end's (mix > 0) or the lower end's (mix < 0): a line on the same side.

        Args:
            mix: (R, B, *shape) in [-1, 1]; None for 0.
        """
        if mix is None:
            return self.at_centre
        up, down = mix.clamp(min=0.0), mix.clamp(max=0.0).neg()
        stay = 1.0 - up - down
        slope = stay * self.at_centre.slope + up * self.at_upper.slope + down * self.at_lower.slope
        return Line(slope, stay * self.at_centre.offset + up * self.at_upper.offset + down * self.at_lower.offset)


@dataclass(frozen=True)
class Lines:
    """Lines ``below`` and ``above`` a function on [l, u]."""

    below: Side
    above: Side


def tightest(slopes: Tensor, lower_offsets: Tensor, upper_offsets: Tensor, lower: Tensor, upper: Tensor) -> Lines:
    """Of several valid lines, those that are best at the ends and at the centre; the latter are those of least area on [l, u].

    Args:
        slopes, lower_offsets, upper_offsets: (candidates, B, *shape).
        lower, upper: (B, *shape).
    """
    return Lines(Side(slopes, lower_offsets, lower, upper, 1), Side(slopes, upper_offsets, lower, upper, -1))


def apply_lines(a: Tensor, lines: Lines, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A line below sum a f(x), from lines on either side of f.

    Args:
        a: coefficients (R, B or 1, *shape).
        mix: see ``Side.mixed``.

    Returns:
        (coefficients on x (R, B, *shape), constant (R, B)).
    """
    below, above = lines.below.mixed(mix), lines.above.mixed(mix)
    constant = _offsets(a, below, 1) + _offsets(a, above, -1)
    return a.clamp(min=0) * below.slope + a.clamp(max=0) * above.slope, constant


def _offsets(a: Tensor, line: Line, sign: int) -> Tensor:
    """The dot product of the coefficients of one sign with a line's offsets; many functions have none on one side."""
    if line.through_zero:
        return a.new_zeros(a.shape[:2])
    return dot(a.clamp(min=0) if sign > 0 else a.clamp(max=0), line.offset)


def dot(a: Tensor, v: Tensor) -> Tensor:
    """sum over everything but rows and batch of a (R, B or 1, *shape) with v (B or R, B, *shape): (R, B)."""
    a, per_row = a.flatten(2), v.dim() == a.dim()
    if per_row:
        return (a * v.flatten(2)).sum(2)
    v = v.flatten(1)
    return a[:, 0] @ v.T if a.shape[1] == 1 else (a * v).sum(2)
