"""The maximum of several values."""

from __future__ import annotations

import torch
from torch import Tensor


def maximum_planes(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Planes below and above max_k x_k over a box.

    Below: max_k x_k >= x_j for any j; the j of greatest centre is taken. Above: for weights w in [0, 1], the excess
    max_k x_k - w.x is greatest at a corner, where it is max_k ((1 - w_k) u_k + w_k l_k) - w.l. Weights
    w_k = max(0, u_k - t) / (u_k - l_k) level these terms at a threshold t >= max_k l_k; t = max_k u_k is the constant
    bound, and the best of three thresholds at the centre is taken.

    Args:
        lower, upper: (..., window) along the last axis.

    Returns:
        (lower weights one-hot (..., window), upper weights (..., window), upper offset (...)).
    """
    centre, width = (lower + upper) / 2, (upper - lower).clamp(min=1e-300)
    below = torch.zeros_like(lower).scatter_(-1, centre.argmax(-1, keepdim=True), 1.0)
    greatest_lower, greatest_upper = lower.amax(-1, keepdim=True), upper.amax(-1, keepdim=True)
    candidates = []
    for share in (0.0, 0.5, 1.0):
        threshold = greatest_lower + share * (greatest_upper - greatest_lower)
        weights = ((upper - threshold).clamp(min=0.0) / width).clamp(0.0, 1.0)
        offset = ((1 - weights) * upper + weights * lower).amax(-1) - (weights * lower).sum(-1)
        candidates.append((weights, offset, (weights * centre).sum(-1) + offset))
    best = torch.stack([value for *_, value in candidates]).argmin(0, keepdim=True)
    weights = torch.stack([weights for weights, *_ in candidates])
    offsets = torch.stack([offset for _, offset, _ in candidates])
    chosen = weights.gather(0, best[..., None].expand(1, *weights.shape[1:]))[0]
    offset = offsets.gather(0, best)[0]
    dominant = (below * lower).sum(-1) >= upper.masked_fill(below > 0, -torch.inf).amax(-1)
    return below, torch.where(dominant[..., None], below, chosen), torch.where(dominant, 0.0, offset)
