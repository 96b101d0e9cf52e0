"""Per-channel normalisation as the network's first layer, so that perturbations are measured in input units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError


class Normalise(nn.Module):
    """y = (x - mean) / std, per channel.

    Args:
        mean, std: one number per channel, in input units; std positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(map(math.isfinite, [*mean, *std])) or not all(s > 0 for s in std):
            raise InputError(
                f"normalisation: got mean {list(mean)} and std {list(std)}, expected one mean and one positive std per channel, all finite"
            )
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Args: (B, C, H, W). Returns: the same shape."""
        return (image - self.mean) / self.std
