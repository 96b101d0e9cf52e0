"""Softmax and its logarithm: p_i = h(S_i) with S_i = sum_j exp(x_j - x_i), h(S) = 1 / S or -log S, convex and decreasing.

Below: h lies above its tangents, and each exp lies below its chord, so S_i lies below a linear function of x. Above: h lies
below its chord, and each exp above its tangents. (Wei et al. 2023 bound softmax in the same two steps.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import own_radius
from neurocert.certify.bounds.interval import Box

REACH = 0.99
"""A tangent of exp further than this above the interval's lower end would be negative there."""


@dataclass(frozen=True)
class Outer:
    """h and its derivative."""

    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


SOFTMAX = Outer(torch.reciprocal, lambda s: -1 / (s * s))
LOG_SOFTMAX = Outer(lambda s: -torch.log(s), lambda s: -1 / s)


@dataclass(frozen=True)
class Planes:
    """slopes[i, j] on x_j and an offset for each i, below or above p_i; (..., n, n) and (..., n)."""

    slopes: Tensor
    offset: Tensor

    def move(self, a: Tensor) -> Tensor:
        """Coefficients (R, B or 1, ..., n) on p as coefficients (R, B, ..., n) on x."""
        return (a.movedim(0, -2) @ self.slopes).movedim(-2, 0)  # all rows in one product with each matrix


def softmax_bounds(outer: Outer, lower: Tensor, upper: Tensor) -> Box:
    """Of p along the last axis, exact for independent elements: p_i increases with x_i and falls with the others."""
    largest, least = (_others(torch.exp(d)).sum(-1) + 1 for d in _differences(lower, upper)[::-1])
    return outer.value(largest), outer.value(least)


def softmax_planes(outer: Outer, lower: Tensor, upper: Tensor) -> tuple[Planes, Planes]:
    """(below, above): planes, or the interval bounds where these are better at the centre (or exp overflows).

    Args:
        lower, upper: (B, ..., n), along the last axis.
    """
    low, high = _differences(lower, upper)
    centre, radius = (low + high) / 2, (high - low) / 2
    rise = torch.exp(centre) * torch.where(radius > 1e-4, torch.sinh(radius) / radius.clamp(min=1e-4), 1.0)
    chord = torch.maximum(torch.exp(low) - rise * low, torch.exp(high) - rise * high)
    touch = torch.minimum(centre, low + REACH)
    tangent = torch.exp(touch)
    bounds = softmax_bounds(outer, lower, upper)
    size = torch.maximum(lower.abs(), upper.abs())
    middle = (lower + upper) / 2

    total = 1 + _others(rise * centre + chord).sum(-1)
    slope = outer.derivative(total)
    below = _planes(slope, outer.value(total) - slope * total, rise, chord, size, -1)

    ends = [1 + _others(torch.exp(d)).sum(-1) for d in (low, high)]
    slope = ((outer.value(ends[1]) - outer.value(ends[0])) / (ends[1] - ends[0]).clamp(min=1e-300)).clamp(max=0.0)
    slope = torch.where(ends[1] - ends[0] > 1e-6 * ends[0], slope, outer.derivative(ends[0]))
    offset = torch.maximum(outer.value(ends[0]) - slope * ends[0], outer.value(ends[1]) - slope * ends[1])
    above = _planes(slope, offset, tangent, tangent * (1 - touch), size, 1)
    return _better(below, bounds[0], middle, -1), _better(above, bounds[1], middle, 1)


def _differences(lower: Tensor, upper: Tensor) -> Box:
    """Bounds of x_j - x_i, (..., i, j)."""
    return lower[..., None, :] - upper[..., :, None], upper[..., None, :] - lower[..., :, None]


def _others(values: Tensor) -> Tensor:
    """(..., i, j) with zeros where j = i."""
    return values.masked_fill(torch.eye(values.shape[-1], dtype=torch.bool), 0.0)


def _planes(slope: Tensor, offset: Tensor, rates: Tensor, constants: Tensor, size: Tensor, sign: int) -> Planes:
    """slope (1 + sum_{j != i} (rate_ij (x_j - x_i) + constant_ij)) + offset, moved outward by its rounding."""
    weights = _others(slope[..., None] * rates)
    total = offset + slope * (1 + _others(constants).sum(-1))
    terms = _others(slope[..., None].abs() * (rates.abs() * (size[..., None, :] + size[..., :, None]) + constants.abs())).sum(-1)
    slack = own_radius(4 * size.shape[-1] + 64, terms + offset.abs() + slope.abs())
    return Planes(weights - torch.diag_embed(weights.sum(-1)), total + sign * slack)


def _better(planes: Planes, bound: Tensor, centre: Tensor, sign: int) -> Planes:
    level = (planes.slopes @ centre[..., None])[..., 0] + planes.offset
    worse = ~(sign * level <= sign * bound)  # NaN too
    bound = bound + sign * own_radius(4 * centre.shape[-1] + 64, 1 + bound.abs())
    return Planes(torch.where(worse[..., None], 0.0, planes.slopes), torch.where(worse, bound, planes.offset))
