"""The spike and its reset, relaxed jointly."""

from __future__ import annotations

import torch
from torch import Tensor


def spike_reset_envelope(
    silent: Tensor, firing: Tensor, jump: Tensor, threshold: float, lower: Tensor, upper: Tensor, mix: Tensor | None = None
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
        mix: (R, B, n) in [-1, 1], leans the slope towards the second edge (> 0) or the first (< 0); None for 0.

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
    bent = corner < left + chord * (threshold - lower)
    slope = torch.where(bent, edge, chord)
    if mix is not None:
        lean = mix.clamp(min=0.0) * (second - edge) + mix.clamp(max=0.0) * (edge - first)
        slope = torch.where(bent, edge + lean, chord)
    offset = torch.minimum(torch.minimum(left - slope * lower, right - slope * upper), corner - slope * threshold)
    return slope, offset
