"""Lines below and above a function of one variable, and what backward propagation does with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Line:
    """slope x + offset; both (B, *shape)."""

    slope: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Side:
    """Three lines on one side of a function on [l, u]: the best at l, at the centre, and at u."""

    at_lower: Line
    at_centre: Line
    at_upper: Line

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
    """Of several valid lines, those that are best at the ends and at the centre, which are those of least area on [l, u].

    Args:
        slopes, lower_offsets, upper_offsets: (candidates, B, *shape).
        lower, upper: (B, *shape).
    """

    def best(offsets: Tensor, point: Tensor, sign: int) -> Line:
        index = (sign * (slopes * point + offsets)).argmax(0, keepdim=True)
        return Line(slopes.gather(0, index)[0], offsets.gather(0, index)[0])

    points = (lower, (lower + upper) / 2, upper)
    return Lines(Side(*(best(lower_offsets, p, 1) for p in points)), Side(*(best(upper_offsets, p, -1) for p in points)))


def apply_lines(a: Tensor, lines: Lines, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A line below sum a f(x), from lines on either side of f.

    Args:
        a: coefficients (R, B or 1, *shape).
        mix: see ``Side.mixed``.

    Returns:
        (coefficients on x (R, B, *shape), constant (R, B)).
    """
    below, above = lines.below.mixed(mix), lines.above.mixed(mix)
    constant = _dot_unless_zero(a, below.offset, 1) + _dot_unless_zero(a, above.offset, -1)
    return a * torch.where(a > 0, below.slope, above.slope), constant


def _dot_unless_zero(a: Tensor, offset: Tensor, sign: int) -> Tensor:
    """The dot product of the coefficients of one sign with offsets; many functions have none on one side."""
    if not offset.requires_grad and not bool(offset.any()):
        return a.new_zeros(a.shape[:2])
    return dot(a.clamp(min=0) if sign > 0 else a.clamp(max=0), offset)


def dot(a: Tensor, v: Tensor) -> Tensor:
    """sum over everything but rows and batch of a (R, B or 1, *shape) with v (B or R, B, *shape): (R, B)."""
    a, per_row = a.flatten(2), v.dim() == a.dim()
    if per_row:
        return (a * v.flatten(2)).sum(2)
    v = v.flatten(1)
    return a[:, 0] @ v.T if a.shape[1] == 1 else torch.einsum("rbn,bn->rb", a, v)
