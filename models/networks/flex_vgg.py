"""Flex-VGG: a VGG-style stack of PlasticFlex blocks and fully connected layers, as an ANN or as an SNN."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from neurocert.models.layers.plastic_flex import MaskActivation, PlasticFlex
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
        mask: the masks' activation.
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
        width: float = 1.0,
        mask: MaskActivation = "hard-sigmoid",
        surrogate: str = "sech-squared",
    ) -> None:
        channels, *size = inputs.shape
        size = (size[0], size[1])
        synapses: list[nn.Module] = []
        for base_channels, stride in blocks:
            out_channels = max(1, round(base_channels * width))
            flex = PlasticFlex(channels, out_channels, size, stride=stride, mask=mask)
            synapses.append(nn.Sequential(flex, nn.BatchNorm2d(out_channels)))
            channels, size = out_channels, flex.output_size
        super().__init__(
            inputs,
            semantics,
            classes,
            mean=mean,
            std=std,
            blocks=synapses,
            features=channels * size[0] * size[1],
            hidden=[max(1, round(units * width)) for units in hidden],
            surrogate=surrogate,
        )
