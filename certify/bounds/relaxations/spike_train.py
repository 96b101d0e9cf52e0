"""A whole spike train as a function of one constant current.

With the same current d at every step, the potential after a given history is affine in d with positive slope, so each
history is possible on one interval of d, and any weighted sum of the train's spikes is a step function of d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from neurocert.models.layers.lif import Fire


@dataclass(frozen=True)
class Pattern:
    """A spike train and the currents under which it is possible.

    Attributes:
        spikes: of each step.
        low, high: ends of an interval of currents that holds all of them; float64, rounded outward.
        low_closed, high_closed: whether the end itself is one of them.
    """

    spikes: tuple[bool, ...]
    low: float
    high: float
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True)
class _History:
    """An exact piece: currents in (low, high) (ends as flagged), potential = slope d + offset before the coming spike."""

    spikes: tuple[bool, ...]
    low: Fraction | None
    high: Fraction | None
    low_closed: bool
    high_closed: bool
    slope: Fraction
    offset: Fraction


def patterns(fire: Fire, errors: Sequence[float]) -> list[Pattern]:
    """Every spike train that some constant current can cause.

    Args:
        fire: threshold, comparison, reset, leak.
        errors: for each step, how far the computed potential may be from the exact one with the same history, which
            then decides a current within errors / slope of a break point either way.

    Returns:
        In the order of their lowest currents; with errors, neighbours overlap.
    """
    pieces = [_History((), None, None, False, False, Fraction(1), Fraction(0))]
    for error in errors:
        pieces = [child for piece in pieces for child in _children(fire, piece, Fraction(error))]
    found = [Pattern(p.spikes, *_outward(p)) for p in pieces]
    return sorted(found, key=lambda pattern: (pattern.low, pattern.high))


def _children(fire: Fire, piece: _History, error: Fraction) -> list[_History]:
    """The piece split by the coming spike; either part may be empty."""
    threshold, ties_fire = Fraction(fire.threshold), fire.comparison == ">="
    silent_up_to = (threshold + error - piece.offset) / piece.slope
    fires_from = (threshold - error - piece.offset) / piece.slope
    high, high_closed = _lesser(piece.high, piece.high_closed, silent_up_to, not ties_fire)
    low, low_closed = _greater(piece.low, piece.low_closed, fires_from, ties_fire)
    children = []
    if _holds_any(piece.low, piece.low_closed, high, high_closed):
        children.append(_step(fire, piece, False, piece.low, high, piece.low_closed, high_closed))
    if _holds_any(low, low_closed, piece.high, piece.high_closed):
        children.append(_step(fire, piece, True, low, piece.high, low_closed, piece.high_closed))
    return children


def _step(
    fire: Fire, piece: _History, spike: bool, low: Fraction | None, high: Fraction | None, low_closed: bool, high_closed: bool
) -> _History:
    """The potential before the next spike: what is carried on, plus the current."""
    retention, amount = Fraction(fire.retention), Fraction(fire.reset_amount)
    if spike and fire.hard:
        slope, offset = Fraction(1), amount
    else:
        slope, offset = retention * piece.slope + 1, retention * piece.offset - (amount if spike else 0)
    return _History((*piece.spikes, spike), low, high, low_closed, high_closed, slope, offset)


def _lesser(a: Fraction | None, a_closed: bool, b: Fraction, b_closed: bool) -> tuple[Fraction, bool]:
    if a is None or b < a:
        return b, b_closed
    return a, a_closed and (b_closed or a < b)


def _greater(a: Fraction | None, a_closed: bool, b: Fraction, b_closed: bool) -> tuple[Fraction, bool]:
    if a is None or b > a:
        return b, b_closed
    return a, a_closed and (b_closed or a > b)


def _holds_any(low: Fraction | None, low_closed: bool, high: Fraction | None, high_closed: bool) -> bool:
    return low is None or high is None or low < high or (low == high and low_closed and high_closed)


def _outward(piece: _History) -> tuple[float, float, bool, bool]:
    low, low_exact = (-math.inf, True) if piece.low is None else _rounded_down(piece.low)
    high, high_exact = (math.inf, True) if piece.high is None else _rounded_down(-piece.high)
    high = high if piece.high is None else -high
    return low, high, piece.low_closed or not low_exact, piece.high_closed or not high_exact


def _rounded_down(value: Fraction) -> tuple[float, bool]:
    """(the greatest float64 at most ``value``, whether they are equal)."""
    nearest = float(value)
    below = nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
    return below, Fraction(below) == value


@dataclass(frozen=True)
class Pieces:
    """The patterns that are possible for each of n currents.

    Attributes:
        spikes: (K, T) zeros and ones.
        possible: (K, B, n).
        low, high: (K, B, n), the pattern's currents within the bounds.
    """

    spikes: Tensor
    possible: Tensor
    low: Tensor
    high: Tensor


def pieces(found: Sequence[Pattern], lower: Tensor, upper: Tensor) -> Pieces:
    """Which of the patterns the currents in [lower, upper] (B, n) can cause."""

    def column(values: list[float] | list[bool]) -> Tensor:
        return torch.tensor(values, dtype=lower.dtype if isinstance(values[0], float) else torch.bool, device=lower.device)[:, None, None]

    low, high = column([p.low for p in found]), column([p.high for p in found])
    low_closed, high_closed = column([p.low_closed for p in found]), column([p.high_closed for p in found])
    reaches = (low < upper) | ((low == upper) & low_closed)
    possible = reaches & ((high > lower) | ((high == lower) & high_closed))
    spikes = torch.tensor([p.spikes for p in found], dtype=lower.dtype, device=lower.device)
    return Pieces(spikes, possible, torch.maximum(low, lower), torch.minimum(high, upper))


def step_envelope(values: Tensor, pieces: Pieces, lower: Tensor, upper: Tensor, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A line below a step function.

    Any slope will do: the offset is the exact least of (value - slope d) over the ends of the pieces. The slope is that of
    the lower convex hull's edge over the interval's middle; ``mix`` leans it towards the hull's first or last edge.

    Args:
        values: (K, R, B, n), the function on each piece.
        lower, upper: (B, n).
        mix: (R, B, n) in [-1, 1]; None for 0.

    Returns:
        (slope, offset), both (R, B, n).
    """
    hull = _Hull(torch.where(pieces.possible[:, None], values, torch.inf), pieces, lower, upper)
    slope = hull.slope((lower + upper) / 2)
    if mix is not None:
        first, last = hull.slope(lower), hull.slope(upper, closed=False)
        slope = slope + mix.clamp(min=0.0) * (last - slope) + mix.clamp(max=0.0) * (slope - first)
    return slope, hull.offset(slope)


class _Hull:
    """The lower convex hull of the ends of all possible pieces."""

    def __init__(self, values: Tensor, pieces: Pieces, lower: Tensor, upper: Tensor) -> None:
        self.values, self.ends, self.lower, self.upper = values, (pieces.low, pieces.high), lower, upper

    def slope(self, support: Tensor, *, closed: bool = True) -> Tensor:
        """The edge over ``support`` (B, n); of two that meet there, the right one if ``closed``, else the left one.

        From the chord between the ends, the vertex farthest below it takes the place of one end, until none is below.
        """
        shape = self.values.shape[1:]
        left_x, right_x = self.lower.expand(shape), self.upper.expand(shape)
        left_y, right_y = self._least_at(0, self.lower), self._least_at(1, self.upper)
        slope = torch.zeros(shape, dtype=self.values.dtype, device=self.values.device)
        for _ in range(len(self.values) + 1):
            slope = (right_y - left_y) / (right_x - left_x).clamp(min=1e-300)
            x, y = self._lowest(slope)
            below = y - slope * x < left_y - slope * left_x
            to_left = below & ((x <= support) if closed else (x < support))
            to_right = below & ~to_left
            left_x, left_y = torch.where(to_left, x, left_x), torch.where(to_left, y, left_y)
            right_x, right_y = torch.where(to_right, x, right_x), torch.where(to_right, y, right_y)
        return slope

    def offset(self, slope: Tensor) -> Tensor:
        """The least of value - slope d: exact but for rounding."""
        least = torch.full_like(slope, torch.inf)
        for value, *ends in zip(self.values, *self.ends, strict=True):
            least = torch.minimum(least, value - torch.maximum(slope * ends[0], slope * ends[1]))
        return least

    def _least_at(self, side: int, end: Tensor) -> Tensor:
        """The least value of the pieces that reach an end of the interval."""
        reaches = self.ends[side] == end
        return torch.where(reaches[:, None], self.values, torch.inf).amin(0)

    def _lowest(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The end of a piece where value - slope d is least."""
        best = torch.full_like(slope, torch.inf)
        best_x, best_y = torch.zeros_like(slope), torch.zeros_like(slope)
        for value, *ends in zip(self.values, *self.ends, strict=True):
            for x in ends:
                height = value - slope * x
                better = height < best
                best = torch.where(better, height, best)
                best_x, best_y = torch.where(better, x, best_x), torch.where(better, value, best_y)
        return best_x, best_y
