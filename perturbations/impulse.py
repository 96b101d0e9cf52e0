"""Impulse noise: an exact number of pixels of each image is inverted, or overwritten by black or white.

Applied to what it is given: noise "after enlarging" is these functions on the enlarged image, and does less harm for the same
share, because each original pixel has then several noisy copies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurocert.models.errors import InputError


def invert(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Images in which round(share N) of the N pixels, chosen uniformly without replacement, are x -> 1 - x.

    At share 0.5 nothing is left of a binary image. Source: "The Neuromorphic Supremacy", section 5.6.1.

    Args:
        images: (B, *shape), values in [0, 1].
        share: in [0, 1].

    Raises:
        InputError: a share outside [0, 1], or images with other values.
    """
    chosen = _choose(images, share, generator)
    return torch.where(chosen, 1.0 - images, images)


def overwrite(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Salt and pepper: round(share N) pixels, chosen uniformly without replacement, become 0 or 1 with equal probability.

    On binary images half of them are what they were: this is ``invert`` with a binomial number of pixels, share / 2 on average.
    Arguments and errors as in ``invert``.
    """
    chosen = _choose(images, share, generator)
    values = torch.randint(0, 2, images.shape, generator=generator).to(images.dtype)
    return torch.where(chosen, values, images)


def require_share(share: object, name: str) -> None:
    """Raises InputError unless ``share`` is a number in [0, 1]."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:  # NaN is not
        raise InputError(f"{name} is {share!r}, expected a number in [0, 1]")


def require_images(images: Tensor) -> None:
    """Raises InputError unless ``images`` are floating point (B, *shape) with values in [0, 1]."""
    if not images.is_floating_point() or images.dim() < 2 or not images.numel():
        raise InputError(f"images are {images.dtype} of shape {tuple(images.shape)}, expected floating point (B, *shape)")
    if not bool(((images >= 0) & (images <= 1)).all()):  # NaN is neither
        raise InputError("images hold values outside [0, 1] or NaN, expected numbers in [0, 1]", "divide 8-bit images by 255")


def _choose(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Bool, shaped as ``images``: exactly round(share N) pixels of each image, halves rounded up."""
    require_share(share, "noise level")
    require_images(images)
    pixels = images[0].numel()
    order = torch.rand((len(images), pixels), generator=generator, dtype=torch.float64).argsort(1)
    chosen = torch.zeros(len(images), pixels, dtype=torch.bool)
    chosen.scatter_(1, order[:, : math.floor(share * pixels + 0.5)], True)
    return chosen.reshape(images.shape)
