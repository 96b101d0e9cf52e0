"""Smooth functions of one variable, cut where they turn from convex to concave.

On a convex piece f - s x lies above its tangent at every point and below the greater of its ends; on a concave piece the
other way round. So its extremes are bounded by ends and tangents alone: where the tangents touch is found by bisection,
but soundness does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import own_radius
from neurocert.certify.bounds.relaxations.lines import Lines, tightest

Function = Callable[[Tensor], Tensor]
BISECTIONS = 20
OPERATIONS = 16
"""Roundings in evaluating a function, its derivative, and a tangent."""
TANGENTS = (0.0, 0.15, 0.5, 0.85, 1.0)
"""Where tangents are tried as slopes, as shares of the interval."""


@dataclass(frozen=True)
class Piece:
    """A function on [start, end], where it is convex or concave (a straight one may be called either).

    Attributes:
        value, derivative: elementwise, each within 16 roundings of the true value, relative to the size of the terms.
    """

    start: float
    end: float
    shape: Literal["convex", "concave"]
    value: Function
    derivative: Function


@dataclass(frozen=True)
class Curve:
    """A function as pieces from left to right; it may jump or bend between two."""

    pieces: tuple[Piece, ...]

    def value(self, x: Tensor) -> Tensor:
        return self._by_piece([piece.value for piece in self.pieces], x)

    def derivative(self, x: Tensor) -> Tensor:
        return self._by_piece([piece.derivative for piece in self.pieces], x)

    def _by_piece(self, functions: list[Function], x: Tensor) -> Tensor:
        result = functions[0](x.clamp(max=self.pieces[0].end))
        for piece, function in zip(self.pieces[1:], functions[1:], strict=True):
            result = torch.where(x > piece.start, function(x.clamp(piece.start, piece.end)), result)
        return result


def curve(value: Function, derivative: Function, shapes: str, *turns: float) -> Curve:
    """One formula whose pieces meet at ``turns``; ``shapes`` is a word of "v" (convex) and "n" (concave), such as "vn"."""
    ends = (-math.inf, *turns, math.inf)
    names: dict[str, Literal["convex", "concave"]] = {"v": "convex", "n": "concave"}
    return Curve(tuple(Piece(a, b, names[shape], value, derivative) for a, b, shape in zip(ends, ends[1:], shapes, strict=False)))


def extremes(function: Curve, slopes: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """(lower bound of the least, upper bound of the greatest) value of f(x) - slope x on [l, u].

    Args:
        slopes: (candidates, B, *shape).
        lower, upper: (B, *shape).

    Returns:
        Both (candidates, B, *shape), rounded outward.
    """
    found = [_extremes_on(piece, slopes, lower, upper) for piece in function.pieces]
    return torch.stack([least for least, _ in found]).amin(0), torch.stack([greatest for _, greatest in found]).amax(0)


def smooth_lines(function: Curve, lower: Tensor, upper: Tensor) -> Lines:
    """Best lines among the chord's slope and a few tangents', with offsets from ``extremes``."""
    tangents = torch.stack([function.derivative(lower + share * (upper - lower)) for share in TANGENTS])
    chord = (function.value(upper) - function.value(lower)) / (upper - lower).clamp(min=1e-300)
    chord = torch.minimum(torch.maximum(chord, tangents.amin(0)), tangents.amax(0))
    slopes = torch.cat([chord[None], tangents])
    least, greatest = extremes(function, slopes, lower, upper)
    return tightest(slopes, least, greatest, lower, upper)


def _extremes_on(piece: Piece, slopes: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """``extremes`` on the part of [l, u] that lies in the piece; (inf, -inf) where there is none."""
    start, end = (bound.clamp(piece.start, piece.end).expand_as(slopes) for bound in (lower, upper))
    sign = 1.0 if piece.shape == "convex" else -1.0
    points = torch.stack([start, _touching(piece, slopes, start, end), end])
    values, tilts = sign * (piece.value(points) - slopes * points), sign * (piece.derivative(points) - slopes)
    tangents = values + torch.minimum(tilts * (start - points), tilts * (end - points))
    reach = torch.maximum(lower.abs(), upper.abs())
    size = values.abs().amax(0) + (3 * slopes.abs() + tilts.abs().amax(0) + 1) * 2 * reach
    slack = own_radius(OPERATIONS, size)
    least, greatest = tangents.amax(0) - slack, torch.maximum(values[0], values[2]) + slack
    bounds = (least, greatest) if sign > 0 else (-greatest, -least)
    met = (lower <= piece.end) & (upper >= piece.start)
    return torch.where(met, bounds[0], torch.inf), torch.where(met, bounds[1], -torch.inf)


@torch.no_grad()
def _touching(piece: Piece, slopes: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """About where the derivative equals the slope: halving, then one step of the secant."""
    sign = 1.0 if piece.shape == "convex" else -1.0
    low, high = start, end
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        past = sign * (piece.derivative(middle) - slopes) > 0
        low, high = torch.where(past, low, middle), torch.where(past, middle, high)
    before, after = piece.derivative(low) - slopes, piece.derivative(high) - slopes
    step = (before / (before - after)).nan_to_num(0.5, 0.5, 0.5).clamp(0.0, 1.0)
    return torch.minimum(torch.maximum(low + step * (high - low), start), end)
