"""What one layer needs so that its interval bounds can be trained through."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import Call, apply
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Inputs, Rule, rule_for
from neurocert.models.layers.lif import Fire
from neurocert.models.layers.plastic_flex import MaskRouting
from neurocert.models.layers.step import Step
from neurocert.models.layers.surrogate import spike

Layer = nn.Module | Call


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
    """

    threshold: Callable[[Any], float | Tensor]
    interval: Callable[[Any, Inputs], tuple[Box, ...]]


def relu_bounds(layer: nn.ReLU, inputs: Inputs) -> tuple[Box, ...]:
    """Increasing, so ends map to ends."""
    return ((inputs[0].lower.relu(), inputs[0].upper.relu()),)


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


SWITCHES = {
    nn.ReLU: Switch(lambda layer: 0.0, relu_bounds),
    Fire: Switch(lambda layer: layer.threshold, fire_bounds),
    Step: Switch(lambda layer: layer.threshold, step_bounds),
}


def switch_of(layer: Layer) -> Switch | None:
    """What is known of the layer as a switch; None for every other layer."""
    return SWITCHES.get(type(layer))  # type: ignore[arg-type]


def interval(layer: Layer, inputs: Inputs) -> tuple[Band, ...]:
    """Interval bounds of each output; a switch's own rule, and for every other layer the engine's, in the inputs' dtype."""
    switch = switch_of(layer)
    rule = switch.interval if switch else rule_of(layer).interval
    return tuple(Band(*(end.to(inputs[0].lower.dtype) for end in box)) for box in rule(layer, inputs))


def evaluate(layer: Layer, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The outputs of a layer of a captured graph."""
    output = apply(layer, *inputs)
    return tuple(output) if isinstance(output, tuple | list) else (output,)


def with_statistics_of(layer: Layer, inputs: tuple[Tensor, ...]) -> Layer:
    """The layer as it acts on this very batch: batch norm in training mode with its mean and variance, else the layer itself."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
        return _batch_norm(layer, inputs[0])
    if isinstance(layer, MaskRouting) and layer.norm is not None and layer.norm.training:
        return _view(layer, "_modules", norm=_batch_norm(layer.norm, inputs[1] - layer.threshold))
    return layer


def rule_of(layer: Layer) -> Rule:
    """The engine's rule for a layer of a captured graph."""
    rule = rule_for(layer)
    assert rule is not None, "capture refuses layers without a rule"
    return rule


def _mix(share: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return share * one + (1.0 - share) * other


def _batch_norm(layer: Any, x: Tensor) -> Any:
    variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
    return _view(layer, "_buffers", running_mean=mean, running_var=variance)


def _view(layer: Any, table: str, **entries: Any) -> Any:
    """A layer that shares everything with ``layer`` but these entries of one of its tables."""
    view = copy.copy(layer)
    view.__dict__[table] = getattr(layer, table) | entries
    return view
