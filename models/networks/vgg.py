"""VGG6, VGG11 and VGG16 of the PlasticFlex thesis, with and without PlasticFlex."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from torch import nn

from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import RoutingOptions
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import flex_blocks, scaled
from neurocert.models.networks.layered import Layered
from neurocert.models.semantics import Semantics


@dataclass(frozen=True)
class Design:
    """Channels of the convolutions, block by block, and units of the fully connected layers."""

    blocks: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]


DESIGNS = {
    6: Design(((64, 128), (256, 256)), (1024, 512)),
    11: Design(((64,), (128,), (256, 256), (512, 512), (512, 512)), (2048, 1024)),
    16: Design(((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)), (4096, 2048)),
}
"""Tables 2.1 to 2.6 of the PlasticFlex thesis, by depth."""


class VGG(Layered):
    """A VGG of the thesis's Appendix B; 3x3 windows, batch norm after each, then neurons.

    With Flex, every convolution is a PlasticFlex layer and the last of each block has stride 2. Without, each block ends in
    a 2x2 max pooling of what its neurons say.

    Args:
        inputs, semantics, classes, mean, std, surrogate, dropout, border: see ``Layered``.
        depth: 6, 11 or 16.
        flex: PlasticFlex layers instead of convolutions and poolings.
        width: multiplies all channels and units; each is at least 1.
        routing: see ``PlasticFlex``; without Flex there is none.

    Raises:
        InputError: another depth, or an image too small to be halved in each block.
    """

    def __init__(
        self,
        inputs: InputSpace,
        semantics: Semantics,
        classes: tuple[str, ...],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        depth: int,
        flex: bool,
        width: float = 1.0,
        surrogate: str = "sech-squared",
        dropout: float = 0.0,
        border: int = 0,
        **routing: Unpack[RoutingOptions],
    ) -> None:
        if depth not in DESIGNS:
            raise InputError(f"depth is {depth!r}, expected one of {', '.join(map(str, DESIGNS))}")
        channels, *image = inputs.shape
        size = (image[0] + 2 * border, image[1] + 2 * border)
        design = DESIGNS[depth]
        widths = [[scaled(base, width) for base in block] for block in design.blocks]
        if min(size) < 2 ** len(widths):
            raise InputError(
                f"VGG{depth} halves an image {len(widths)} times: got {size[0]}x{size[1]}, expected at least {2 ** len(widths)}"
            )
        if flex:
            strided = [(out, 2 if last else 1) for block in widths for out, last in _with_last(block)]
            synapses, size = flex_blocks(channels, size, strided, **routing)
        else:
            synapses, size = _pooled_blocks(channels, size, widths)
        super().__init__(
            inputs,
            semantics,
            classes,
            mean=mean,
            std=std,
            blocks=synapses,
            features=widths[-1][-1] * size[0] * size[1],
            hidden=[scaled(units, width) for units in design.hidden],
            surrogate=surrogate,
            dropout=dropout,
            border=border,
            before_head=None if flex else nn.MaxPool2d(2),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):  # thesis, section 4.2.1
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _with_last(block: Sequence[int]) -> list[tuple[int, bool]]:
    return [(channels, index == len(block) - 1) for index, channels in enumerate(block)]


def _pooled_blocks(channels: int, size: tuple[int, int], widths: Sequence[Sequence[int]]) -> tuple[list[nn.Module], tuple[int, int]]:
    """Convolution + batch norm; the pooling that ends a block stands before the next one's convolution, or the head."""
    synapses: list[nn.Module] = []
    for number, block in enumerate(widths):
        for index, out_channels in enumerate(block):
            pooling = [nn.MaxPool2d(2)] if number > 0 and index == 0 else []
            convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
            synapses.append(nn.Sequential(*pooling, convolution, nn.BatchNorm2d(out_channels)))
            channels = out_channels
        size = (size[0] // 2, size[1] // 2)
    return synapses, size
