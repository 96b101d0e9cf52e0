"""What one layer needs so that its interval bounds can be trained through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import Call
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rule, rule_for
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.errors import UnsupportedLayer
from neurocert.certify.training.routing import routing_bounds
from neurocert.models.layers.lif import Fire
from neurocert.models.layers.plastic_flex import MaskRouting
from neurocert.models.layers.step import Step
from neurocert.models.layers.surrogate import spike

Layer = nn.Module | Call
Statistics = tuple[Tensor, Tensor]
"""(variance, mean) per channel, with gradients."""


class Band(Interval):
    """An interval whose ends are not inspected: where training diverges, the loss says so."""

    def __post_init__(self) -> None:
        return


@dataclass(frozen=True)
class Switch:
    """A kind of layer that switches neurons on and off.

    Attributes:
        threshold: layer -> the input from which a neuron is on.
        interval: the interval rule to train through; the engine's bounds, with gradients.
        jump: (layer, coefficients on its outputs) -> what a spike adds to their weighted sum at the threshold; None without spikes.
    """

    threshold: Callable[[Any], float | Tensor]
    interval: Callable[[Any, Inputs], tuple[Box, ...]]
    jump: Callable[[Any, Coefficients], Tensor] | None = None


def relu_bounds(layer: nn.ReLU, inputs: Inputs) -> tuple[Box, ...]:
    """Increasing, so ends map to ends."""
    return ((inputs[0].lower.relu(), inputs[0].upper.relu()),)


def clip_bounds(layer: nn.Hardtanh, inputs: Inputs) -> tuple[Box, ...]:
    """Increasing, so ends map to ends."""
    return (tuple(end.clamp(layer.min_val, layer.max_val) for end in (inputs[0].lower, inputs[0].upper)),)  # type: ignore[return-value]


def fire_bounds(layer: Fire, inputs: Inputs) -> tuple[Box, ...]:
    """Bounds of (carried potential, spikes), every case distinction a spike, through whose surrogate gradients flow.

    A neuron fires surely if the potential's lower bound does, and maybe if its upper bound does.
    """
    (potential,) = inputs
    surely, maybe = (spike(end, layer.threshold, layer.comparison, layer.surrogate) for end in (potential.lower, potential.upper))
    slope, offset = (0.0, layer.reset_amount) if layer.hard else (layer.retention, -layer.reset_amount)
    silent = layer.retention * potential.lower, layer.retention * potential.upper.clamp(max=layer.threshold)
    fired = slope * potential.lower.clamp(min=layer.threshold) + offset, slope * potential.upper + offset
    lower, upper = (
        _mix(surely, fires, _mix(maybe, extreme(rests, fires), rests))
        for extreme, rests, fires in zip((torch.minimum, torch.maximum), silent, fired, strict=True)
    )
    return (lower, upper), (surely, maybe)


def step_bounds(layer: Step, inputs: Inputs) -> tuple[Box, ...]:
    """Increasing, so ends map to ends, each a spike through whose surrogate gradients flow."""
    return (tuple(spike(end, layer.threshold, layer.comparison, layer.surrogate) for end in (inputs[0].lower, inputs[0].upper)),)  # type: ignore[return-value]


def fire_jump(layer: Fire, coefficients: Coefficients) -> Tensor:
    """A_S + A_h (r - a theta) for a hard reset, A_S - A_h r for a soft one."""
    on_carried, on_spikes = coefficients
    falls = layer.retention * layer.threshold - layer.reset_amount if layer.hard else layer.reset_amount
    carried = torch.zeros(()) if on_carried is None else on_carried * falls
    return -carried if on_spikes is None else on_spikes - carried


def step_jump(layer: Step, coefficients: Coefficients) -> Tensor:
    """The coefficient itself."""
    (a,) = coefficients
    assert a is not None
    return a


SWITCHES = {
    nn.ReLU: Switch(lambda layer: 0.0, relu_bounds),
    nn.Hardtanh: Switch(lambda layer: layer.min_val, clip_bounds),
    Fire: Switch(lambda layer: layer.threshold, fire_bounds, fire_jump),
    Step: Switch(lambda layer: layer.threshold, step_bounds, step_jump),
}


INTERVALS: dict[type[nn.Module], Callable[[Any, Inputs], tuple[Box, ...]]] = {MaskRouting: routing_bounds}
"""Rules to train through of layers that are no switches."""


def switch_of(layer: Layer) -> Switch | None:
    """What is known of the layer as a switch; None for every other layer."""
    return SWITCHES.get(type(layer))  # type: ignore[arg-type]


def interval(layer: Layer, inputs: Inputs) -> tuple[Band, ...]:
    """Interval bounds of each output in the inputs' dtype: by the layer's rule for training, or else by the engine's."""
    switch = switch_of(layer)
    rule = switch.interval if switch else INTERVALS.get(type(layer)) or rule_of(layer).interval  # type: ignore[arg-type]
    return tuple(Band(*(end.to(inputs[0].lower.dtype) for end in box)) for box in rule(layer, inputs))


def linear(layer: Layer, inputs: Inputs, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    """The engine's linear rule, in the inputs' dtype, which the layer must have too (see ``in_double``).

    Where a spike is decided its line has no gradient. So a term is added that is 0 and has the surrogate's: what the spike
    would add to the bound, at the end of the interval where that is least.
    """
    rule, switch = rule_of(layer), switch_of(layer)
    back, constant = rule.linear(layer, rule.relax(layer, inputs), coefficients)
    if switch is None or switch.jump is None:
        return back, constant
    jump = switch.jump(layer, coefficients).detach()
    surely, maybe = switch.interval(layer, inputs)[-1]
    gain = dot(jump.clamp(min=0.0), surely) + dot(jump.clamp(max=0.0), maybe)
    return back, constant + (gain - gain.detach())


def in_double(layer: Layer) -> Layer:
    """A float64 view of a layer, through which gradients reach its weights."""
    if isinstance(layer, Call):
        return layer
    view = copy.copy(layer)
    for table in ("_parameters", "_buffers"):
        view.__dict__[table] = {name: _double(tensor) for name, tensor in getattr(layer, table).items()}
    view.__dict__["_modules"] = {name: None if inner is None else in_double(inner) for name, inner in layer._modules.items()}
    return view


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[dict[nn.Module, Statistics]]:
    """Gathers, while the network runs, the statistics that its batch norms in training mode normalise by.

    Raises:
        UnsupportedLayer: a batch norm that runs twice, for it has two pairs of them.
    """
    found: dict[nn.Module, Statistics] = {}

    def take(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        if norm.training:
            if norm in found:
                raise UnsupportedLayer(f"{type(norm).__name__} is used more than once in a pass", "give it all time steps as one batch")
            (x,) = given
            found[norm] = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(take) for norm in norms]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def with_statistics(layer: Layer, found: Mapping[nn.Module, Statistics]) -> Layer:
    """The layer as it acted on the batch of these statistics; where there are none for its batch norm, the layer itself."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer in found:
        variance, mean = found[layer]
        return _view(layer, "_buffers", running_mean=mean, running_var=variance)
    if isinstance(layer, MaskRouting) and layer.norm is not None:
        return _view(layer, "_modules", norm=with_statistics(layer.norm, found))
    return layer


def rule_of(layer: Layer) -> Rule:
    """The engine's rule for a layer of a captured graph."""
    rule = rule_for(layer)
    assert rule is not None, "capture refuses layers without a rule"
    return rule


def _double(tensor: Tensor | None) -> Tensor | None:
    return tensor.double() if tensor is not None and tensor.is_floating_point() else tensor


def _mix(share: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return share * one + (1.0 - share) * other


def _view(layer: Any, table: str, **entries: Any) -> Any:
    """A layer that shares everything with ``layer`` but these entries of one of its tables."""
    view = copy.copy(layer)
    view.__dict__[table] = getattr(layer, table) | entries
    return view
