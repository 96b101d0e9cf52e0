"""A plain convolutional network, as an ANN or as an SNN."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.layered import Layered
from neurocert.models.semantics import Semantics


class ConvNet(Layered):
    """Convolution + batch norm + neurons, block after block; then fully connected layers; then logits.

    Args:
        inputs: (C, H, W) and range.
        semantics: static or spiking; see ``Layered``.
        classes: names of the logits.
        mean, std: normalisation per channel, in input units.
        blocks: (channels, stride) of each convolution.
        hidden: sizes of the fully connected layers.
        kernel_size: of every convolution; padded by half of it, so that it fits every image.
        surrogate: the spike's derivative in training and attacks.
    """

    def __init__(
        self,
        inputs: InputSpace,
        semantics: Semantics,
        classes: tuple[str, ...],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        blocks: Sequence[tuple[int, int]],
        hidden: Sequence[int],
        kernel_size: int = 3,
        surrogate: str = "sech-squared",
    ) -> None:
        channels, *size = inputs.shape
        padding = kernel_size // 2
        synapses: list[nn.Module] = []
        for out_channels, stride in blocks:
            size = [(length + 2 * padding - kernel_size) // stride + 1 for length in size]
            convolution = nn.Conv2d(channels, out_channels, kernel_size, stride, padding)
            synapses.append(nn.Sequential(convolution, nn.BatchNorm2d(out_channels)))
            channels = out_channels
        super().__init__(
            inputs,
            semantics,
            classes,
            mean=mean,
            std=std,
            blocks=synapses,
            features=channels * size[0] * size[1],
            hidden=hidden,
            surrogate=surrogate,
        )
