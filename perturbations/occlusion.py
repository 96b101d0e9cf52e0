"""Partial occlusion by another image, and the scale-and-shift augmentation that trains against it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.perturbations.impulse import require_images, require_share

Measure = Literal["linear", "area"]


def occlude(images: Tensor, occluders: Tensor, size: float, generator: torch.Generator, measure: Measure = "linear") -> Tensor:
    """Images with another one, shrunk, in a random corner: the pixelwise maximum of the two.

    For each image one of the occluders and one of the four corners are drawn, uniformly. Source: "The Neuromorphic Supremacy",
    section 5.6.2; its Eq. (45) is lost, and the maximum keeps the range of values, as it should. The paper speaks of size both
    as a scale and as a share of the area, so it must be said which.

    Args:
        images, occluders: (B, C, N, N) and (M, C, N, N), values in [0, 1].
        size: of the occluder, in [0, 1]: of the image's side (measure "linear") or of its area ("area").

    Raises:
        InputError: a size outside [0, 1], another measure, or images of other shapes or values.
    """
    require_share(size, "occlusion size")
    if measure not in ("linear", "area"):
        raise InputError(f"occlusion measure is {measure!r}, expected 'linear' or 'area'")
    side = _square(images)
    if _square(occluders) != side or images.shape[1] != occluders.shape[1]:
        raise InputError(f"occluders have shape {tuple(occluders.shape[1:])}, expected {tuple(images.shape[1:])}, as the images")
    length = math.floor((size if measure == "linear" else math.sqrt(size)) * side + 0.5)
    chosen = torch.randint(len(occluders), (len(images),), generator=generator)
    corners = torch.randint(2, (len(images), 2), generator=generator) * (side - length)
    pasted = [_place(occluders[which], length, *corner) for which, corner in zip(chosen, corners.tolist(), strict=True)]
    return torch.maximum(images, torch.stack(pasted))


def scale_and_shift(images: Tensor, least: float, generator: torch.Generator) -> Tensor:
    """Each image scaled by s ~ U[least, 1] (nearest neighbour), at a random place of an empty canvas; section 5.6.2.

    Args:
        images: (B, C, N, N), values in [0, 1].
        least: smallest scale, in (0, 1].

    Raises:
        InputError: a scale outside (0, 1], or images of other shapes or values.
    """
    require_share(least, "least scale")
    side = _square(images)
    if least == 0:
        raise InputError("least scale is 0, expected a number in (0, 1]")
    scales = least + (1.0 - least) * torch.rand(len(images), generator=generator, dtype=torch.float64)
    lengths = [max(1, math.floor(scale * side + 0.5)) for scale in scales.tolist()]
    places = [torch.randint(side - length + 1, (2,), generator=generator).tolist() for length in lengths]
    return torch.stack([_place(image, length, *place) for image, length, place in zip(images, lengths, places, strict=True)])


def _place(image: Tensor, length: int, row: int, column: int) -> Tensor:
    """(C, N, N): the image shrunk to length x length, at that place of a canvas of zeros."""
    source = ((torch.arange(length) + 0.5) * image.shape[-1] / max(length, 1)).long()
    canvas = torch.zeros_like(image)
    canvas[:, row : row + length, column : column + length] = image[:, source][:, :, source]
    return canvas


def _square(images: Tensor) -> int:
    """The side of square images (B, C, N, N)."""
    require_images(images)
    if images.dim() != 4 or images.shape[2] != images.shape[3]:
        raise InputError(f"images have shape {tuple(images.shape)}, expected (B, C, N, N)")
    return images.shape[3]
