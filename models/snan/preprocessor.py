"""A network as the first stage of a classifier: image -> binary image -> spikes -> firing-rate map.

Every number on the way is either computed pixel by pixel or an exact sum of integers, so that the map of an image is the same
bit for bit in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.models.snan.network import Network
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.presentation import Counts, present

THRESHOLD = 50 / 255
"""Pixels of at least this (of 0 to 1) belong to the object; section 5.5 of the paper. An image's 50 / 255 does, as float32 too, which
is a little more."""


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """What stands between an image and its classifier.

    Attributes:
        network: trained or not; its calcium stays as it is.
        size: side of the images that come in, and of the maps that go out.
    """

    network: Network
    size: int

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise InputError(f"preprocessor: size is {self.size!r}, expected the side of its images, a whole number >= 1")

    def __call__(self, images: Tensor, device: str | torch.device = "cpu") -> Tensor:
        """Firing-rate maps (B, 1, size, size), float32 in [0, 1], of images (B, 1, size, size) in [0, 1].

        Raises:
            InputError: images of another shape, or with NaN or values outside [0, 1].
        """
        return self.maps(self.binarise(images), device)

    def binarise(self, images: Tensor) -> Mask:
        """Bool (B, E): the images, enlarged to the excitatory layer, where they reach ``THRESHOLD``. Raises as ``__call__``."""
        self._require(images)
        enlarged = enlarge(images[:, 0].detach().cpu().double().numpy(), self.network.settings.excitatory)
        return (enlarged >= THRESHOLD).reshape(len(images), self.network.settings.excitatory**2)

    def maps(self, binary: Mask, device: str | torch.device = "cpu") -> Tensor:
        """Maps of binary images as ``binarise`` returns them; noise "after enlarging" comes between the two."""
        return self.shrink(present(self.network, binary, device))

    def shrink(self, counts: Counts | Mask) -> Tensor:
        """(B, E) to (B, 1, size, size): (c - min) / (max - min) for each image, averaged over areas; zeros for a flat map.

        Given binary images instead of counts this is the control: resampling without a network.
        """
        whole = counts.astype(np.float64)
        low, high = whole.min(1)[:, None, None], whole.max(1)[:, None, None]
        side, area = self.network.settings.excitatory, overlaps(self.network.settings.excitatory, self.size)
        sums = area @ whole.reshape(-1, side, side) @ area.T  # whole numbers below 2^53: exact in any order
        scaled = (sums - side * side * low) / np.where(high > low, side * side * (high - low), 1.0)
        return torch.from_numpy(scaled.astype(np.float32))[:, None]

    def _require(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise InputError(f"images are a {type(images).__name__}, expected a tensor", "torch.from_numpy makes one of an array")
        shape = (1, self.size, self.size)
        if images.dim() != 4 or tuple(images.shape[1:]) != shape or not images.is_floating_point():
            raise InputError(f"images are {images.dtype} of shape {tuple(images.shape)}, expected floating point (B, {str(shape)[1:]}")
        if not bool(((images >= 0) & (images <= 1)).all()):  # NaN is neither
            raise InputError("images hold values outside [0, 1] or NaN, expected numbers in [0, 1]", "divide 8-bit images by 255")


def enlarge(images: Floats, size: int) -> Floats:
    """(B, n, n) to (B, size, size), bilinear: each axis by ``taps``."""
    before, after, share = taps(images.shape[1], size)
    rows = images[:, before] + share[:, None] * (images[:, after] - images[:, before])
    return rows[:, :, before] + share * (rows[:, :, after] - rows[:, :, before])


def taps(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """(before, after, share): position k of the resized axis is x[before] + share (x[after] - x[before]); pixel centres aligned."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0.0, source - 1.0)
    before = np.floor(centre).astype(np.int64)
    return before, np.minimum(before + 1, source - 1), centre - before


def overlaps(source: int, target: int) -> Floats:
    """Whole numbers (target, source): how much of each source pixel lies in each target pixel, in units that add up to ``source``."""
    first, second = np.arange(target)[:, None] * source, np.arange(source)[None, :] * target
    return np.maximum(np.minimum(first + source, second + target) - np.maximum(first, second), 0).astype(np.float64)
