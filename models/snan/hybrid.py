"""A spiking preprocessor, or none, before a classifier: what decides about a binary image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.preprocessor import Preprocessor


@dataclass(frozen=True, eq=False)
class Hybrid:
    """Image -> binary image -> map -> logits.

    Attributes:
        preprocessor: makes the maps.
        classifier: in evaluation mode; from maps (B, 1, size, size) to logits (B, classes).
        spiking: False for the control, whose maps are the binary images resampled: all that is left without the network.
    """

    preprocessor: Preprocessor
    classifier: nn.Module
    spiking: bool = True

    def maps(self, binary: Mask) -> Tensor:
        """What the classifier sees (B, 1, size, size) of binary images (B, E)."""
        return self.preprocessor.maps(binary) if self.spiking else self.preprocessor.shrink(binary)

    @torch.no_grad()
    def classify(self, maps: Tensor) -> Tensor:
        """The class of the greatest logit, int64 (B,), of maps (B, 1, size, size); each alone, whatever the batch."""
        return torch.cat([self.classifier(one).argmax(1) for one in maps.split(1)])

    def decide(self, binary: Mask) -> Tensor:
        """The classes int64 (B,) of binary images (B, E)."""
        return self.classify(self.maps(binary))

    def __call__(self, images: Tensor) -> Tensor:
        """Classes int64 (B,) of images (B, 1, size, size) in [0, 1]. Raises as ``Preprocessor``."""
        return self.decide(self.preprocessor.binarise(images))
