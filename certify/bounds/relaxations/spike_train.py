"""A whole spike train as a function of one constant current.

With the same current d at every step, the potential after a given history is affine in d with positive slope, so each
history is possible on one interval of d, and any weighted sum of the train's spikes is a step function of d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from neurocert.models.layers.lif import Fire

MERGE_ABOVE = 64
"""When there are more histories than this plus four for each step so far, those that only rounding separates are merged."""


@dataclass(frozen=True)
class PotentialError:
    """How far a computed potential may be from the exact one with the same history of spikes.

    Attributes:
        step: added by every step, to the error before it times the retention.
        reset: of the first potential after a hard reset, whatever was before.
    """

    step: float
    reset: float


EXACT = PotentialError(0.0, 0.0)


@dataclass(frozen=True)
class Pattern:
    """Spike trains and the currents under which they are possible.

    Attributes:
        least, most: of each step, whether every one of the trains has a spike there, and whether any has; equal for a
            single train.
        low, high: ends of an interval of currents that holds all of them; float64, rounded outward.
        low_closed, high_closed: whether the end itself is one of them.
    """

    least: tuple[bool, ...]
    most: tuple[bool, ...]
    low: float
    high: float
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True)
class _Neuron:
    threshold: Fraction
    ties_fire: bool
    retention: Fraction
    hard: bool
    amount: Fraction


@dataclass(frozen=True)
class _Range:
    """Currents from ``low`` to ``high``; None is unbounded."""

    low: Fraction | None
    high: Fraction | None
    low_closed: bool
    high_closed: bool

    def below(self, end: Fraction, closed: bool) -> _Range:
        """The part up to ``end``."""
        if self.high is None or end < self.high:
            return _Range(self.low, end, self.low_closed, closed)
        return _Range(self.low, self.high, self.low_closed, self.high_closed and (closed or self.high < end))

    def above(self, end: Fraction, closed: bool) -> _Range:
        """The part from ``end`` on."""
        if self.low is None or end > self.low:
            return _Range(end, self.high, closed, self.high_closed)
        return _Range(self.low, self.high, self.low_closed and (closed or self.low > end), self.high_closed)

    @property
    def empty(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and not (self.low_closed and self.high_closed))

    @property
    def width(self) -> Fraction | None:
        return None if self.low is None or self.high is None else self.high - self.low


@dataclass(frozen=True)
class _History:
    """Spikes so far (where ``least`` and ``most`` differ, merged histories do), the currents that allow them, and what
    decides the coming spike: the potential slope d + offset, computed within ``error``."""

    least: tuple[bool, ...]
    most: tuple[bool, ...]
    currents: _Range
    slope: Fraction
    offset: Fraction
    error: Fraction


def patterns(fire: Fire, steps: int, error: PotentialError = EXACT) -> list[Pattern]:
    """Every spike train that some constant current can cause in ``steps`` steps from potential 0.

    Args:
        fire: threshold, comparison, reset, leak.
        error: of the computed potential; a current within error / slope of a break point may do either.

    Returns:
        In the order of their lowest currents; with errors, neighbours overlap, and where a great many trains lie within
        rounding of each other, one pattern stands for several.
    """
    neuron = _Neuron(Fraction(fire.threshold), fire.comparison == ">=", Fraction(fire.retention), fire.hard, Fraction(fire.reset_amount))
    return list(_patterns(neuron, steps, error))


@lru_cache(maxsize=256)
def _patterns(neuron: _Neuron, steps: int, error: PotentialError) -> tuple[Pattern, ...]:
    histories = [_History((), (), _Range(None, None, False, False), Fraction(1), Fraction(0), Fraction(0))]
    lost: list[_History] = []
    for step in range(1, steps + 1):
        histories = [child for history in histories for child in _children(neuron, error, history)]
        limit = MERGE_ABOVE + 4 * step
        if len(histories) > limit:
            histories = _merged(histories, by_state=True)
        if len(histories) > limit:
            merged = _merged(histories, by_state=False)
            lost += [history for history in merged if history.least != history.most]
            histories = [history for history in merged if history.least == history.most]
    free = (_filled(history.least, False, steps) for history in lost), (_filled(history.most, True, steps) for history in lost)
    found = [Pattern(history.least, history.most, *_outward(history.currents)) for history in histories]
    found += [Pattern(least, most, *_outward(history.currents)) for history, least, most in zip(lost, *free, strict=True)]
    return tuple(sorted(found, key=lambda pattern: (pattern.low, pattern.high)))


def _children(neuron: _Neuron, error: PotentialError, history: _History) -> list[_History]:
    """The history with either coming spike, where possible."""
    silent_up_to = (neuron.threshold + history.error - history.offset) / history.slope
    fires_from = (neuron.threshold - history.error - history.offset) / history.slope
    silent = history.currents.below(silent_up_to, closed=not neuron.ties_fire)
    fires = history.currents.above(fires_from, closed=neuron.ties_fire)
    return [_step(neuron, error, history, spike, currents) for spike, currents in ((False, silent), (True, fires)) if not currents.empty]


def _step(neuron: _Neuron, error: PotentialError, history: _History, spike: bool, currents: _Range) -> _History:
    """The potential before the next spike: what is carried on, plus the current."""
    spikes = (*history.least, spike), (*history.most, spike)
    if spike and neuron.hard:
        return _History(*spikes, currents, Fraction(1), neuron.amount, Fraction(error.reset))
    offset = neuron.retention * history.offset - (neuron.amount if spike else 0)
    grown = neuron.retention * history.error + Fraction(error.step)
    return _History(*spikes, currents, neuron.retention * history.slope + 1, offset, grown)


def _merged(histories: list[_History], *, by_state: bool) -> list[_History]:
    """The histories, with those of few currents merged where their currents overlap.

    Few: no more than the widest error allows, so that only rounding tells them apart.

    Args:
        by_state: only those with the same potential, whose future is the same.
    """
    narrow = 4 * max(history.error for history in histories)
    kept, rest = [], []
    for history in histories:
        (rest if history.currents.width is not None and history.currents.width <= narrow else kept).append(history)
    open_: dict[tuple[Fraction, Fraction] | None, _History] = {}
    for history in sorted(rest, key=lambda h: h.currents.low or Fraction(0)):
        key = (history.slope, history.offset) if by_state else None
        if key in open_ and _touch(open_[key], history):
            open_[key] = _union(open_[key], history)
        else:
            kept += [open_[key]] if key in open_ else []
            open_[key] = history
    return kept + list(open_.values())


def _touch(a: _History, b: _History) -> bool:
    """Whether b, which begins no lower than a, begins within a."""
    assert a.currents.high is not None and b.currents.low is not None
    return b.currents.low <= a.currents.high


def _union(a: _History, b: _History) -> _History:
    assert a.currents.high is not None and b.currents.high is not None
    least, most = tuple(map(min, a.least, b.least)), tuple(map(max, a.most, b.most))
    currents = _Range(a.currents.low, max(a.currents.high, b.currents.high), True, True)
    return _History(least, most, currents, a.slope, a.offset, max(a.error, b.error))


def _filled(spikes: tuple[bool, ...], value: bool, steps: int) -> tuple[bool, ...]:
    return spikes + (value,) * (steps - len(spikes))


def _outward(currents: _Range) -> tuple[float, float, bool, bool]:
    low, low_exact = (-math.inf, True) if currents.low is None else _rounded_down(currents.low)
    high, high_exact = (-math.inf, True) if currents.high is None else _rounded_down(-currents.high)
    return low, -high, currents.low_closed or not low_exact, currents.high_closed or not high_exact


def _rounded_down(value: Fraction) -> tuple[float, bool]:
    """(the greatest float64 at most ``value``, whether they are equal)."""
    nearest = float(value)
    below = nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
    return below, Fraction(below) == value


@dataclass(frozen=True)
class Pieces:
    """The patterns that are possible for each of n currents.

    Attributes:
        least, most: (K, T) zeros and ones.
        possible: (K, B, n).
        low, high: (K, B, n), the pattern's currents within the bounds.
    """

    least: Tensor
    most: Tensor
    possible: Tensor
    low: Tensor
    high: Tensor

    def of(self, columns: Tensor) -> Pieces:
        """Of these neurons only, without patterns that none of them can show."""
        possible = self.possible[..., columns]
        some = possible.flatten(1).any(1)
        return Pieces(self.least[some], self.most[some], *(part[some][..., columns] for part in (self.possible, self.low, self.high)))

    def values(self, coefficients: Sequence[Tensor | None]) -> Tensor:
        """The least of sum_t A_t S_t on each piece: (K, R, B or 1, n) for A_t (R, B or 1, n)."""
        total: Tensor | None = None
        for step, a in enumerate(coefficients):
            if a is not None:
                term = torch.tensordot(self.least[:, step, None], a.clamp(min=0.0)[None], 1)
                term = term + torch.tensordot(self.most[:, step, None], a.clamp(max=0.0)[None], 1)
                total = term if total is None else total + term
        assert total is not None
        return total


def pieces(found: Sequence[Pattern], lower: Tensor, upper: Tensor) -> Pieces:
    """Which of the patterns the currents in [lower, upper] (B, n) can cause."""

    def column(values: Sequence[float | bool]) -> Tensor:
        return torch.tensor(values, dtype=lower.dtype, device=lower.device)[:, None, None]

    low, high = column([p.low for p in found]), column([p.high for p in found])
    low_closed, high_closed = column([p.low_closed for p in found]) > 0, column([p.high_closed for p in found]) > 0
    reaches = (low < upper) | ((low == upper) & low_closed)
    possible = reaches & ((high > lower) | ((high == lower) & high_closed))
    least, most = (torch.tensor([getattr(p, name) for p in found], dtype=lower.dtype, device=lower.device) for name in ("least", "most"))
    return Pieces(least, most, possible, torch.maximum(low, lower), torch.minimum(high, upper))


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
        self.values, self.pieces, self.lower, self.upper = values, pieces, lower, upper

    def slope(self, support: Tensor, *, closed: bool = True) -> Tensor:
        """The edge over ``support`` (B, n); of two that meet there, the right one if ``closed``, else the left one.

        From the chord between the ends, the vertex farthest below it takes the place of one end, until none is below.
        """
        shape = self.values.shape[1:]
        left_x, right_x = self.lower.expand(shape), self.upper.expand(shape)
        left_y, right_y = self._least_at(self.pieces.low == self.lower), self._least_at(self.pieces.high == self.upper)
        while True:
            slope = (right_y - left_y) / (right_x - left_x).clamp(min=1e-300)
            x, y = self._lowest(slope)
            between = (x > left_x) & (x < right_x) & (y - slope * x < left_y - slope * left_x)
            to_left = between & ((x <= support) if closed else (x < support))
            to_right = between & ~to_left
            if not bool(between.any()):
                return slope
            left_x, left_y = torch.where(to_left, x, left_x), torch.where(to_left, y, left_y)
            right_x, right_y = torch.where(to_right, x, right_x), torch.where(to_right, y, right_y)

    def offset(self, slope: Tensor) -> Tensor:
        """The least of value - slope d: exact but for rounding."""
        return self._heights(slope).amin(0)

    def _heights(self, slope: Tensor) -> Tensor:
        """value - slope d at the better end of each piece."""
        ends = torch.where(slope >= 0, self.pieces.high[:, None], self.pieces.low[:, None])
        return self.values - slope * ends

    def _lowest(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The end of a piece where value - slope d is least."""
        best = self._heights(slope).argmin(0, keepdim=True)
        low, high = (end[:, None].expand_as(self.values).gather(0, best)[0] for end in (self.pieces.low, self.pieces.high))
        return torch.where(slope >= 0, high, low), self.values.gather(0, best)[0]

    def _least_at(self, reaches: Tensor) -> Tensor:
        """The least value of the pieces that reach an end of the interval."""
        return torch.where(reaches[:, None], self.values, torch.inf).amin(0)
