"""How a PlasticFlex network routes: how often a mask chooses the convolution, and how decided it is."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import PlasticFlex


@dataclass(frozen=True)
class LayerRouting:
    """Mask statistics of one layer, averaged over samples, channels, positions and the calls of one forward pass.

    Attributes:
        layer: the layer's path in the network.
        conv_ratio: share of mask values above 1/2, Eq. 3.3 of the PlasticFlex thesis.
        binariness: 1 - 4 mean M (1 - M), Eq. 3.4; 1 for a mask of zeros and ones, 0 for one of halves.
        calls: how often the forward pass calls the layer; T in a spiking network, 1 where its input is static.
    """

    layer: str
    conv_ratio: float
    binariness: float
    calls: int


def conv_ratio(mask: Tensor) -> float:
    """Share of the mask's values above 1/2. Source: Eq. 3.3 of the PlasticFlex thesis."""
    return float((mask > 0.5).double().mean())


def binariness(mask: Tensor) -> float:
    """1 - 4 mean M (1 - M), in [0, 1] for a mask in [0, 1]. Source: Eq. 3.4 of the PlasticFlex thesis."""
    mask = mask.double()
    return float(1.0 - 4.0 * (mask * (1.0 - mask)).mean())


def routing(network: nn.Module, inputs: Tensor) -> tuple[LayerRouting, ...]:
    """The routing of every PlasticFlex layer that a forward pass on ``inputs`` reaches, in the network's order.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), at least one sample.

    Raises:
        InputError: a layer in training mode (its mask would depend on the batch), or no sample.
    """
    if any(module.training for module in network.modules()):
        raise InputError("network is in training mode, expected evaluation mode", "call network.eval() first")
    if len(inputs) == 0:
        raise InputError("inputs hold no sample, expected at least one")
    layers = {name: module for name, module in network.named_modules() if isinstance(module, PlasticFlex)}
    calls: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    with torch.no_grad(), ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(partial(_record, calls[name])))
        network(inputs)
    return tuple(_average(name, values) for name, values in calls.items() if values)


def _record(calls: list[tuple[float, float]], layer: PlasticFlex, arguments: tuple[Tensor]) -> None:
    """A hook that runs before each call of ``layer``."""
    mask = layer.mask(*arguments)
    calls.append((conv_ratio(mask), binariness(mask)))


def _average(layer: str, calls: list[tuple[float, float]]) -> LayerRouting:
    ratios, binarinesses = zip(*calls, strict=True)
    return LayerRouting(layer, fmean(ratios), fmean(binarinesses), len(calls))
