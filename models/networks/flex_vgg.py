"""Flex-VGG: a VGG-style stack of PlasticFlex blocks and fully connected layers, as an ANN or as an SNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import nn

from neurocert.models.layers.plastic_flex import PlasticFlex, RoutingOptions
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.layered import Layered
from neurocert.models.semantics import Semantics


class FlexVGG(Layered):
    """PlasticFlex + batch norm + neurons, block after block; then fully connected layers; then logits.

    Source: PlasticFlex thesis, sections 3.2 and 3.5, Eq. 3.9, Appendix B.

    Args:
        inputs: (C, H, W) and range.
        semantics: static or spiking; see ``Layered``.
        classes: names of the logits.
        mean, std: normalisation per channel, in input units.
        blocks: (channels, stride) of each PlasticFlex block, before ``width``.
        hidden: sizes of the fully connected layers, before ``width``.
        width: multiplies every size above; each is at least 1.
        surrogate: the spike's derivative in training and attacks.
        dropout, border: see ``Layered``.
        routing: see ``PlasticFlex``.
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
        width: float = 1.0,
        surrogate: str = "sech-squared",
        dropout: float = 0.0,
        border: int = 0,
        **routing: Unpack[RoutingOptions],
    ) -> None:
        channels, *size = inputs.shape
        sizes = [(scaled(base, width), stride) for base, stride in blocks]
        synapses, size = flex_blocks(channels, (size[0] + 2 * border, size[1] + 2 * border), sizes, **routing)
        super().__init__(
            inputs,
            semantics,
            classes,
            mean=mean,
            std=std,
            blocks=synapses,
            features=sizes[-1][0] * size[0] * size[1],
            hidden=[scaled(units, width) for units in hidden],
            surrogate=surrogate,
            dropout=dropout,
            border=border,
        )


def flex_blocks(
    channels: int, size: tuple[int, int], blocks: Sequence[tuple[int, int]], **routing: Unpack[RoutingOptions]
) -> tuple[list[nn.Module], tuple[int, int]]:
    """PlasticFlex + batch norm for each (channels, stride), and the (H, W) of what comes out of the last.

    Args:
        channels, size: of the image that goes in.
        routing: see ``PlasticFlex``.
    """
    synapses: list[nn.Module] = []
    for out_channels, stride in blocks:
        flex = PlasticFlex(channels, out_channels, size, stride=stride, **routing)
        synapses.append(nn.Sequential(flex, nn.BatchNorm2d(out_channels)))
        channels, size = out_channels, flex.output_size
    return synapses, size


def scaled(size: int, width: float) -> int:
    """A number of channels or units times ``width``, at least 1."""
    return max(1, round(size * width))
