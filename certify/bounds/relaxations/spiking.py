"""The spike and its reset, relaxed jointly."""

from __future__ import annotations

import torch
from torch import Tensor


def spike_reset_envelope(
    silent: Tensor, firing: Tensor, jump: Tensor, threshold: float, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor]:
    """A line below g on [l, u], where l <= threshold <= u and

    g(V) = silent V below the threshold, firing V + jump above it; either value at the threshold.

    g is linear on both sides, so a line lies below it iff it does at the three vertices (l, g(l)), (threshold, the lesser
    limit), (u, g(u)): for any slope the offset is exact. The slope is that of the lower convex hull's edge over the
    interval's middle, which gives the line of greatest area.

    Args:
        silent, firing, jump: (R, B, n) slopes and constant.
        threshold: of the spike.
        lower, upper: (B, n).

    Returns:
        (slope, offset), both (R, B, n).
    """
    left = silent * lower
    corner = torch.minimum(silent * threshold, firing * threshold + jump)
    right = firing * upper + jump
    chord = (right - left) / (upper - lower).clamp(min=1e-300)
    first = (corner - left) / (threshold - lower).clamp(min=1e-300)
    second = (right - corner) / (upper - threshold).clamp(min=1e-300)
    edge = torch.where((lower + upper) / 2 < threshold, first, second)
    slope = torch.where(corner < left + chord * (threshold - lower), edge, chord)
    offset = torch.minimum(torch.minimum(left - slope * lower, right - slope * upper), corner - slope * threshold)
    return slope, offset
