"""Continuous piecewise-linear functions of one variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from neurocert.certify.bounds.relaxations.lines import Lines, tightest

Function = Callable[[Tensor], Tensor]


def corners(lower: Tensor, upper: Tensor, breakpoints: Sequence[float]) -> Tensor:
    """The ends of [l, u] and the breakpoints clamped to it, (points, B, *shape): every extreme is attained at one of them."""
    return torch.stack([lower, *(torch.full_like(lower, b).clamp(lower, upper) for b in breakpoints), upper])


def piecewise_linear_lines(function: Function, breakpoints: Sequence[float], lower: Tensor, upper: Tensor) -> Lines:
    """Best lines among the slopes of all chords between corners.

    A function that is linear between corners differs from a line by its extreme at a corner, so each offset is exact.
    For ReLU this gives the chord above, and below the better of 0 and x (Zhang et al. 2018).
    """
    points = corners(lower, upper, breakpoints)
    values = function(points)
    slopes = torch.stack([_chord(points[i], values[i], points[j], values[j]) for i, j in combinations(range(len(points)), 2)])
    gaps = values[None] - slopes[:, None] * points[None]
    return tightest(slopes, gaps.amin(1), gaps.amax(1), lower, upper)


def _chord(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor) -> Tensor:
    width = x1 - x0
    return torch.where(width > 0, (y1 - y0) / width.clamp(min=1e-300), 0.0)
