"""What a training does to its images before it shows them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from neurocert.models.networks.classifier import InputSpace
from neurocert.models.training.recipe import Recipe


def varied(inputs: Tensor, recipe: Recipe, space: InputSpace) -> Tensor:
    """A batch (B, C, H, W) as the recipe's augmentation and noise leave it, within the input's range."""
    augmentation = recipe.augmentation
    if augmentation is not None and augmentation.crop:
        inputs = cropped(inputs, augmentation.crop, space.low)
    if augmentation is not None and augmentation.flip:
        mirrored = torch.rand(len(inputs)) < 0.5
        inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
    half_width = recipe.training.input_noise
    return (inputs + half_width * (2.0 * torch.rand_like(inputs) - 1.0)).clamp(space.low, space.high)


def cropped(inputs: Tensor, border: int, value: float) -> Tensor:
    """Each image of the batch with ``border`` pixels of ``value`` put around it, and a random window of its size cut from that."""
    height, width = inputs.shape[2:]
    framed = functional.pad(inputs, (border,) * 4, value=value)
    top, left = torch.randint(0, 2 * border + 1, (2, len(inputs)))
    rows, columns = top[:, None] + torch.arange(height), left[:, None] + torch.arange(width)
    sample = torch.arange(len(inputs))
    return framed[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
