"""The LeNet-like convolutional network behind the spiking preprocessor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.normalise import Normalise
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.semantics import Semantics


class LeNet(Classifier):
    """Three 3 x 3 convolutions with batch norm and ReLU, max-pooling 2 x 2 after the first two; fully connected layers; logits.

    28 x 28 with the default channels: 8 at 28 x 28, 16 at 14 x 14, 32 at 7 x 7, then 200, 100 and 10 units: 340,910 parameters.
    Weights start Glorot-uniform, biases at 0. Source: "The Neuromorphic Supremacy", section 5.2, Eq. (23)-(35). Its kernel size is
    lost; 3 x 3 is that of the MATLAB example whose channels it has.

    Args:
        inputs, classes: see ``Classifier``.
        semantics: static only.
        mean, std: normalisation per channel; the paper subtracts the mean alone.
        channels: of the three convolutions.
        hidden: sizes of the fully connected layers; the last is the embedding.
    """

    def __init__(
        self,
        inputs: InputSpace,
        semantics: Semantics,
        classes: tuple[str, ...],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        channels: Sequence[int] = (8, 16, 32),
        hidden: Sequence[int] = (200, 100),
    ) -> None:
        super().__init__(inputs, semantics, classes)
        require_static(semantics, "lenet")
        depth, height, width = inputs.shape
        if min(height, width) < 4:
            raise InputError(f"lenet: images are {height}x{width}, expected at least 4x4, which two poolings leave something of")
        sizes = (channels[2] * (height // 4) * (width // 4), *hidden)
        blocks = [_block(before, after) for before, after in zip((depth, *channels[:2]), channels, strict=True)]
        dense = [nn.Sequential(nn.Linear(before, after), nn.ReLU()) for before, after in pairwise(sizes)]
        self.normalise = Normalise(mean, std)
        self.features = nn.Sequential(blocks[0], nn.MaxPool2d(2), blocks[1], nn.MaxPool2d(2), blocks[2], nn.Flatten(), *dense)
        self.readout = nn.Linear(sizes[-1], len(classes))
        self.apply(_initialise)

    def embed(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, hidden[-1]): what the readout sees."""
        return self.features(self.normalise(image))

    def forward(self, image: Tensor) -> Tensor:
        """Args: (B, C, H, W) in input units. Returns: logits (B, classes)."""
        return self.readout(self.embed(image))


def require_static(semantics: Semantics, name: str) -> None:
    """Raises InputError for a network without spikes that is given spiking semantics."""
    if semantics.spiking is not None:
        raise InputError(f"{name}: got spiking semantics, expected a static network", "leave `spiking` out")


def _block(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
