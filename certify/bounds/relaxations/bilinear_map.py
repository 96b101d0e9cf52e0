"""y = F(x, W), linear in x and linear in W: a matrix product, a convolution, a scale per channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.relaxations.lines import dot

Bilinear = Callable[[Tensor, Tensor], Tensor]
"""(x (B, *shape), W) to (B, *output shape)."""


def bilinear_bounds(function: Bilinear, x: Interval, weight: Interval) -> Box:
    """Bounds over a box of (x, W): exact where no element of x may have either sign, else by centre and radius as well.

    x = x+ - x-, and for x+ >= 0 each term's extremes lie at an end of W and the end of x+ that its sign asks for.
    """
    lower, upper = _nonnegative(function, x.lower.clamp(min=0), x.upper.clamp(min=0), weight)
    if not bool((x.lower < 0).any()):
        return lower, upper
    least, greatest = _nonnegative(function, (-x.upper).clamp(min=0), (-x.lower).clamp(min=0), weight)
    centre = function(x.centre, weight.centre)
    radius = function(x.radius, weight.centre.abs() + weight.radius) + function(x.centre.abs(), weight.radius)
    return torch.maximum(lower - greatest, centre - radius), torch.minimum(upper - least, centre + radius)


def _nonnegative(function: Bilinear, lower: Tensor, upper: Tensor, weight: Interval) -> Box:
    """Bounds for 0 <= lower <= x <= upper."""
    w_low, w_high = weight.lower, weight.upper
    least = function(lower, w_low.clamp(min=0)) + function(upper, w_low.clamp(max=0))
    greatest = function(upper, w_high.clamp(min=0)) + function(lower, w_high.clamp(max=0))
    return least, greatest


@dataclass(frozen=True)
class Corners:
    """Everything that McCormick's planes of F need.

    Attributes:
        x, weight: the intervals; those of W without a batch.
        centres, radii: F at the centres, F of the radii: (B, *output shape).
        x_spread, weight_spread: F(x centre, W radius) and F(x radius, W centre).
    """

    x: Interval
    weight: Interval
    centres: Tensor
    radii: Tensor
    x_spread: Tensor
    weight_spread: Tensor


def corners(function: Bilinear, x: Interval, weight: Interval) -> Corners:
    """For ``bilinear_plane``."""
    (xc, xr), (wc, wr) = (x.centre, x.radius), (weight.centre, weight.radius)
    return Corners(x, weight, function(xc, wc), function(xr, wr), function(xc, wr), function(xr, wc))


def bilinear_plane(function: Bilinear, a: Tensor, given: Corners, mix: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """A plane below sum a F(x, W).

    For one product and any t in [-1, 1] the two McCormick planes below it combine, with weights (1 - t) / 2 and
    (1 + t) / 2, to (wc + t wr) x + (xc + t xr) w - xc wc - xr wr - t (wc xr + xc wr), and those above it likewise with
    xr negated: all equally good at the centre. Every product of one output takes the same t, its ``mix``, so that the
    coefficients on x are two transposes of F and those on W one tensor, whatever the number of positions. Exact where x or
    W is a point.

    Args:
        a: coefficients (R, B, *output shape).
        mix: (R, B, *output shape) in [-1, 1]; None for 0.

    Returns:
        (coefficients on x (R, B, *shape), on W (R, B, *shape), None where W is a point; constant (R, B)).
    """
    x, weight = given.x, given.weight
    fixed = not bool((weight.lower < weight.upper).any())
    on_x = _transposed(function, a, x.centre, weight.centre)
    if fixed:
        return on_x, None, torch.zeros(a.shape[:2], dtype=a.dtype)
    on_weight = _on_weight(function, a, x.centre, weight.centre)
    constant = -dot(a, given.centres) - dot(a.abs(), given.radii)
    if mix is not None:
        leaning, size = a * mix, a.abs() * mix
        on_x = on_x + _transposed(function, leaning, x.centre, weight.radius)
        on_weight = on_weight + _on_weight(function, size, x.radius, weight.centre)
        constant = constant - dot(leaning, given.x_spread) - dot(size, given.weight_spread)
    return on_x, on_weight, constant


def _transposed(function: Bilinear, a: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """sum a F(x, W) as coefficients on x."""
    flat = a.flatten(0, 1)
    pull_back = torch.func.vjp(lambda point: function(point, weight), flat.new_zeros(len(flat), *x.shape[1:]))[1]
    return pull_back(flat)[0].unflatten(0, a.shape[:2])


def _on_weight(function: Bilinear, a: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """sum a F(x, W) as coefficients on W, for each row and sample."""

    def one(point: Tensor, row: Tensor) -> Tensor:
        return torch.func.vjp(lambda w: function(point[None], w), weight)[1](row[None])[0]

    points = x.expand(len(a), *x.shape).flatten(0, 1)
    return torch.func.vmap(one)(points, a.flatten(0, 1)).unflatten(0, a.shape[:2])
