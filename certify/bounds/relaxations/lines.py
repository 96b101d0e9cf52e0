"""Lines below and above a function of one variable, and what backward propagation does with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lines:
    """lower_slope x + lower_offset <= f(x) <= upper_slope x + upper_offset on [l, u]; all (B, *shape)."""

    lower_slope: Tensor
    lower_offset: Tensor
    upper_slope: Tensor
    upper_offset: Tensor


def tightest(slopes: Tensor, lower_offsets: Tensor, upper_offsets: Tensor, centre: Tensor) -> Lines:
    """Of several valid lines, those that are best at the centre, which are those of least area on [l, u].

    Args:
        slopes, lower_offsets, upper_offsets: (candidates, B, *shape).
        centre: (B, *shape).
    """
    lower = (slopes * centre + lower_offsets).argmax(0, keepdim=True)
    upper = (slopes * centre + upper_offsets).argmin(0, keepdim=True)

    def pick(values: Tensor, index: Tensor) -> Tensor:
        return values.gather(0, index)[0]

    return Lines(pick(slopes, lower), pick(lower_offsets, lower), pick(slopes, upper), pick(upper_offsets, upper))


def apply_lines(a: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
    """A line below sum a f(x), from lines on either side of f.

    Args:
        a: coefficients (R, B or 1, *shape).

    Returns:
        (coefficients on x (R, B, *shape), constant (R, B)).
    """
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    constant = dot(positive, lines.lower_offset) + dot(negative, lines.upper_offset)
    return positive * lines.lower_slope + negative * lines.upper_slope, constant


def dot(a: Tensor, v: Tensor) -> Tensor:
    """sum over everything but rows and batch of a (R, B or 1, *shape) with v (B, *shape): (R, B)."""
    a, v = a.flatten(2), v.flatten(1)
    return a[:, 0] @ v.T if a.shape[1] == 1 else torch.einsum("rbn,bn->rb", a, v)
