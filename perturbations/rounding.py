"""Float64 arithmetic of sets: sums decided exactly, bounds rounded down, points rounded inward."""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNIT_ROUNDOFF = 2.0**-53
"""Of the float64 in which every bound below is computed."""
TINY = 2.0**-1000
"""Taken from every bound, so that products too small for a float64 are covered."""


def minimise_over_box(coefficients: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """sum_i min(a_i l_i, a_i u_i), rounded down; (R, B or 1, ...) and (B, ...) to (R, B)."""
    a, lower, upper = coefficients.flatten(2), lower.flatten(1), upper.flatten(1)
    value = paired_dot(a.clamp(min=0), lower) + paired_dot(a.clamp(max=0), upper)
    magnitude = torch.maximum(lower.abs(), upper.abs())
    return value - 4 * (a.shape[2] + 8) * UNIT_ROUNDOFF * paired_dot(a.abs(), magnitude) - TINY


def sum_down(terms: Tensor) -> Tensor:
    """The sum over the first axis, rounded down."""
    return terms.sum(0) - 2 * len(terms) * UNIT_ROUNDOFF * terms.abs().sum(0) - TINY


def paired_dot(a: Tensor, v: Tensor) -> Tensor:
    """sum over the last axis of a (R, B or 1, n) with v (B, n): (R, B)."""
    if a.shape[1] == 1:
        return a[:, 0] @ v.T
    return torch.einsum("rbn,bn->rb", a, v)


def at_most_sum(x: Tensor, a: Tensor, b: float | Tensor) -> Tensor:
    """x <= a + b, decided exactly (the rounding error of a float64 sum is itself a float64)."""
    total = a + b
    virtual = total - a
    error = (a - (total - virtual)) + (b - virtual)
    return (x < total) | ((x == total) & (error >= 0))


def inward(lower: Tensor, upper: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """The largest box of the centre's dtype inside the float64 box [lower, upper]; at least the centre itself."""
    return torch.minimum(round_up(lower, centre.dtype), centre), torch.maximum(-round_up(-upper, centre.dtype), centre)


def round_up(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest number of ``dtype`` that is at least the float64 ``value``."""
    rounded = value.to(dtype)
    return torch.where(rounded.double() < value, above(rounded), rounded)


def above(value: Tensor) -> Tensor:
    """The next number up."""
    return torch.nextafter(value, torch.full_like(value, math.inf))


def below(value: Tensor) -> Tensor:
    """The next number down."""
    return torch.nextafter(value, torch.full_like(value, -math.inf))


def spread(per_sample: Tensor, like: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1), to broadcast against ``like``."""
    return per_sample.reshape(-1, *[1] * (like.dim() - 1))
