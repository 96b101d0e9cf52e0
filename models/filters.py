"""Classical image filters, for comparison with the spiking preprocessor; section 5.7 of "The Neuromorphic Supremacy".

The paper's sizes are lost; the defaults are the usual 3 x 3, and MATLAB's for the bilateral filter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from neurocert.models.errors import InputError


def median(images: Tensor, size: int = 3) -> Tensor:
    """The median of each size x size neighbourhood, Eq. (46); zeros beyond the edge. Images and result are (B, 1, H, W)."""
    return _neighbourhoods(images, size, "constant").median(2).values


def mean(images: Tensor, size: int = 3) -> Tensor:
    """The mean of each size x size neighbourhood, Eq. (47); mirrored at the edge. Images and result are (B, 1, H, W)."""
    return _neighbourhoods(images, size, "symmetric").mean(2)


def bilateral(images: Tensor, spatial: float = 1.0, smoothing: float = 0.01, size: int = 5) -> Tensor:
    """A mean weighted by closeness in place and in value, Eq. (48); mirrored at the edge.

    Args:
        images: (B, 1, H, W), values in [0, 1].
        spatial: deviation of exp(-|p - q|^2 / (2 spatial^2)), pixels.
        smoothing: variance of exp(-|I_p - I_q|^2 / (2 smoothing)).
        size: side of the neighbourhood, odd.
    """
    around = _neighbourhoods(images, size, "symmetric")
    offset = torch.arange(size, dtype=images.dtype) - size // 2
    near = torch.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2.0 * spatial**2)).reshape(1, 1, -1, 1, 1)
    weights = near * torch.exp(-((around - images[:, :, None]) ** 2) / (2.0 * smoothing))
    return (weights * around).sum(2) / weights.sum(2)


def _neighbourhoods(images: Tensor, size: int, edge: str) -> Tensor:
    """(B, 1, size^2, H, W): what lies around each pixel."""
    if size < 1 or size % 2 == 0 or images.dim() != 4 or images.shape[1] != 1 or min(images.shape[2:]) < size // 2 + 1:
        raise InputError(f"filter: got images of shape {tuple(images.shape)} and size {size}, expected (B, 1, H, W) and an odd size")
    if not math.isfinite(float(images.sum())):
        raise InputError("filter: images hold NaN or infinity, expected finite numbers")
    half = size // 2
    if edge == "symmetric":  # the edge pixel itself is repeated, unlike PyTorch's "reflect"
        rows, columns = (_mirrored(side, half) for side in images.shape[2:])
        padded = images[:, :, rows][:, :, :, columns]
    else:
        padded = functional.pad(images, (half,) * 4)
    return padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4).movedim(4, 2)


def _mirrored(side: int, half: int) -> Tensor:
    inside = torch.arange(side)
    return torch.cat((inside[:half].flip(0), inside, inside[side - half :].flip(0)))
