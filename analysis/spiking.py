"""What a spiking network's neurons do: firing rates, rasters, and how much of a layer is active at each step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError

ENCODER = "encoder"
"""The name under which a network holds what turns its input into spikes."""


@dataclass(frozen=True)
class Activity:
    """The spikes of one layer over one presentation, T steps long.

    A clip's output in [0, 1] stands for a rate: it counts as that many spikes, and as active above 0.

    Attributes:
        layer: path of the neurons in the network.
        shape: of the layer, without the batch; its neurons are numbered in row-major order.
        rates: for each neuron, its spikes per step, averaged over steps and samples; in [0, 1].
        active_ratios: for each step, the share of (sample, neuron) pairs that are active.
        raster: (step, neuron) of every activity on the first sample.
    """

    layer: str
    shape: tuple[int, ...]
    rates: tuple[float, ...]
    active_ratios: tuple[float, ...]
    raster: tuple[tuple[int, int], ...]

    @property
    def neurons(self) -> int:
        return len(self.rates)

    @property
    def mean_rate(self) -> float:
        """Spikes per neuron and step."""
        return sum(self.rates) / len(self.rates)

    @property
    def silent(self) -> float:
        """Share of neurons that no sample makes fire."""
        return sum(rate == 0.0 for rate in self.rates) / len(self.rates)


def activity(network: nn.Module, inputs: Tensor) -> tuple[Activity, ...]:
    """The activity of every layer of spiking or clipping neurons that a forward pass on ``inputs`` reaches, in the network's order.

    What an ``encoder`` of the network fires is its input, and not counted.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), at least one sample.

    Returns:
        Nothing for a network without such neurons.

    Raises:
        InputError: training mode, or no sample.
    """
    if any(module.training for module in network.modules()):
        raise InputError("network is in training mode, expected evaluation mode", "call network.eval() first")
    if len(inputs) == 0:
        raise InputError("inputs hold no sample, expected at least one")
    counts = {name: _Count() for name, module in network.named_modules() if _fires(module) and ENCODER not in name.split(".")}
    with torch.no_grad(), ExitStack() as hooks:
        for name, count in counts.items():
            hooks.enter_context(network.get_submodule(name).register_forward_hook(partial(_record, count)))
        network(inputs)
    return tuple(count.activity(name.removesuffix(".fire")) for name, count in counts.items() if count.active)


def total_active_ratios(layers: Sequence[Activity]) -> tuple[float, ...]:
    """For each step, the share of all neurons of ``layers`` that fire. Temporal sparsity is 1 minus that.

    Raises:
        InputError: no layer, or layers with different numbers of steps.
    """
    lengths = {len(layer.active_ratios) for layer in layers}
    if len(lengths) != 1:
        raise InputError(f"layers: got {len(layers)} with {sorted(lengths)} steps, expected at least one, and the same number for all")
    neurons = sum(layer.neurons for layer in layers)
    steps = zip(*(layer.active_ratios for layer in layers), strict=True)
    return tuple(sum(ratio * layer.neurons for ratio, layer in zip(step, layers, strict=True)) / neurons for step in steps)


@dataclass
class _Count:
    """Sums over the calls of one layer; whole spike trains of a large network would not fit."""

    total: Tensor | None = None
    active: list[float] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)

    def add(self, spikes: Tensor) -> None:
        mean = spikes.double().mean(0)
        self.total = mean if self.total is None else self.total + mean
        self.active.append(float((spikes > 0).double().mean()))
        self.first.append(spikes[0].flatten().nonzero()[:, 0].cpu())

    def activity(self, layer: str) -> Activity:
        assert self.total is not None
        rates = (self.total / len(self.active)).flatten().tolist()
        raster = tuple((step, neuron) for step, neurons in enumerate(self.first) for neuron in neurons.tolist())
        return Activity(layer, tuple(self.total.shape), tuple(rates), tuple(self.active), raster)


def _fires(module: nn.Module) -> bool:
    """Whether a layer's output is spikes (it compares a potential with its threshold) or the clip that stands for a rate."""
    if isinstance(module, nn.Hardtanh):
        return (module.min_val, module.max_val) == (0.0, 1.0)
    return hasattr(module, "threshold") and hasattr(module, "comparison")


def _record(count: _Count, layer: nn.Module, arguments: tuple[Tensor, ...], output: Any) -> None:
    """A hook that runs after each step of ``layer``, whose spikes are its output, or the last part of it."""
    count.add(output if isinstance(output, Tensor) else output[-1])
