"""The logistic sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor

from neurocert.certify.bounds.relaxations.lines import Lines, tightest


def sigmoid_lines(lower: Tensor, upper: Tensor) -> Lines:
    """Best lines among the chord's slope and the tangents' at both ends and the centre.

    sigma(x) - s x has its extremes on [l, u] at an end or where sigma'(x) = s, that is at sigma = (1 -+ sqrt(1 - 4 s)) / 2.
    """
    centre = (lower + upper) / 2
    chord = torch.where(upper > lower, (torch.sigmoid(upper) - torch.sigmoid(lower)) / (upper - lower).clamp(min=1e-300), 0.0)
    slopes = torch.stack([chord, *(_derivative(x) for x in (lower, centre, upper))]).clamp(0.0, 0.25)
    points = torch.stack([lower.expand_as(slopes), upper.expand_as(slopes), *_stationary(slopes, lower, upper)])
    gaps = torch.sigmoid(points) - slopes * points
    return tightest(slopes, gaps.amin(0), gaps.amax(0), lower, upper)


def _derivative(x: Tensor) -> Tensor:
    value = torch.sigmoid(x)
    return value * (1 - value)


def _stationary(slopes: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Where sigma' equals the slope, left and right of 0, clamped to [l, u] (a clamped point is an end, which is tried anyway)."""
    root = torch.sqrt((1 - 4 * slopes).clamp(min=0.0))
    right = torch.logit(((1 + root) / 2).clamp(max=1 - 2.0**-53))
    return (-right).clamp(lower, upper), right.clamp(lower, upper)
