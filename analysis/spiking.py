"""What the neurons of a spiking network do: firing rates, rasters, and how many are active over time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.lif import LIF
from neurocert.models.layers.step import Step
from neurocert.models.networks.layered import Layered


@dataclass(frozen=True, eq=False)
class Activity:
    """The output of one layer of neurons at every step of one forward pass.

    Attributes:
        layer: the layer's path in the network.
        outputs: (T, B, *shape); zeros and ones where neurons spike, values in [0, 1] where they are clips. T is 1 where the
            network computes one pass for all of its steps (neurons without a membrane under direct encoding).
    """

    layer: str
    outputs: Tensor

    @property
    def firing_rates(self) -> Tensor:
        """Mean output of each neuron over steps and samples, (*shape); for spikes, the share of steps in which it fires."""
        return self.outputs.mean((0, 1))

    @property
    def active_ratio(self) -> Tensor:
        """Share of neurons, over all samples, whose output is not 0, at each step: (T,)."""
        return (self.outputs != 0).double().flatten(1).mean(1)

    @property
    def sparsity(self) -> Tensor:
        """1 - ``active_ratio``."""
        return 1.0 - self.active_ratio

    def raster(self, sample: int = 0) -> tuple[Tensor, Tensor]:
        """(steps, neurons) of one sample's outputs that are not 0, by step and then by the neuron's flat index; int64.

        Raises:
            InputError: no such sample.
        """
        if not 0 <= sample < self.outputs.shape[1]:
            raise InputError(f"sample is {sample}, expected 0..{self.outputs.shape[1] - 1}")
        steps, neurons = self.outputs[:, sample].flatten(1).nonzero(as_tuple=True)
        return steps, neurons


def record(network: nn.Module, inputs: Tensor) -> tuple[Activity, ...]:
    """The activity of every layer of spiking or clipping neurons in one forward pass on ``inputs``, in the network's order.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), at least one sample.

    Raises:
        InputError: a network in training mode or without such neurons, or no sample.
    """
    if any(module.training for module in network.modules()):
        raise InputError("network is in training mode, expected evaluation mode", "call network.eval() first")
    if len(inputs) == 0:
        raise InputError("inputs hold no sample, expected at least one")
    layers = _neurons(network)
    if not layers:
        raise InputError("network has no spiking or clipping neurons, so there is no activity to record")
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    with torch.no_grad(), ExitStack() as hooks:
        for name, layer in layers.items():

            def note(layer: nn.Module, arguments: object, output: Tensor | tuple[Tensor, Tensor], name: str = name) -> None:
                outputs[name].append(output[1] if isinstance(output, tuple) else output)

            hooks.enter_context(layer.register_forward_hook(note))
        network(inputs)
    return tuple(Activity(name, torch.stack(seen)) for name, seen in outputs.items() if seen)


def _neurons(network: nn.Module) -> dict[str, nn.Module]:
    """Layers of neurons by path; steps that encode an input or make a mask binary are none."""
    found: dict[str, nn.Module] = {name: module for name, module in network.named_modules() if isinstance(module, LIF)}
    for prefix, module in network.named_modules():
        if isinstance(module, Layered):
            own = ((f"{prefix}.neurons.{i}".lstrip("."), neuron) for i, neuron in enumerate(module.neurons))
            found |= {name: neuron for name, neuron in own if isinstance(neuron, Step | nn.Hardtanh)}
    return found
