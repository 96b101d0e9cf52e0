"""The routing masks of a network's PlasticFlex layers: observed while it runs, and how they are summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

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


def flex_layers(network: nn.Module) -> dict[str, PlasticFlex]:
    """Every PlasticFlex layer by its path, in the network's order."""
    return {name: module for name, module in network.named_modules() if isinstance(module, PlasticFlex)}


def routing(network: nn.Module, inputs: Tensor) -> tuple[LayerRouting, ...]:
    """The routing of every PlasticFlex layer that a forward pass on ``inputs`` reaches, in the network's order.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), at least one sample.

    Raises:
        InputError: a layer in training mode (its mask would depend on the batch), or no sample.
    """
    seen = at_each_call(network, inputs, lambda layer, features: _statistics(layer.mask(features)))
    return tuple(_average(name, calls) for name, calls in seen.items())


def mean_masks(network: nn.Module, batches: Iterator[Tensor]) -> dict[str, Tensor]:
    """For each PlasticFlex layer its mask (C, H, W), averaged over the samples of all batches and the calls of each pass.

    Raises:
        InputError: see ``routing``.
    """
    totals: dict[str, Tensor] = {}
    weight = 0
    for inputs in batches:
        for name, masks in at_each_call(network, inputs, lambda layer, features: layer.mask(features).double().mean(0)).items():
            total = len(inputs) * torch.stack(masks).mean(0)
            totals[name] = totals[name] + total if name in totals else total
        weight += len(inputs)
    return {name: (total / weight).clamp(0.0, 1.0) for name, total in totals.items()}


def at_each_call(network: nn.Module, inputs: Tensor, measure: Callable[[PlasticFlex, Tensor], Any]) -> dict[str, list[Any]]:
    """What ``measure(layer, features)`` says at each call of each PlasticFlex layer during one forward pass, without gradients.

    Raises:
        InputError: see ``routing``.
    """
    if any(module.training for module in network.modules()):
        raise InputError("network is in training mode, expected evaluation mode", "call network.eval() first")
    if len(inputs) == 0:
        raise InputError("inputs hold no sample, expected at least one")
    calls: dict[str, list[Any]] = {}
    with torch.no_grad(), ExitStack() as hooks:
        for name, layer in flex_layers(network).items():

            def record(layer: nn.Module, arguments: tuple[Tensor], name: str = name) -> None:
                assert isinstance(layer, PlasticFlex)
                calls.setdefault(name, []).append(measure(layer, *arguments))

            hooks.enter_context(layer.register_forward_pre_hook(record))
        network(inputs)
    return {name: calls[name] for name in flex_layers(network) if name in calls}


@contextmanager
def observed_masks(network: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, every mask that a learned gate computes is added to the list, with its gradient; frozen masks are not."""
    masks: list[Tensor] = []
    with ExitStack() as hooks:
        for layer in flex_layers(network).values():
            gate = getattr(layer.routing, "gate", None)
            if gate is not None:
                hooks.enter_context(gate.register_forward_hook(lambda module, arguments, mask: masks.append(mask)))
        yield masks


def _statistics(mask: Tensor) -> tuple[float, float]:
    return conv_ratio(mask), binariness(mask)


def _average(layer: str, calls: list[tuple[float, float]]) -> LayerRouting:
    ratios, binarinesses = zip(*calls, strict=True)
    return LayerRouting(layer, fmean(ratios), fmean(binarinesses), len(calls))
