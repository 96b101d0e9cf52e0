"""Interval bounds of a network while it is trained: the engine's own rules on the live weights, with gradients.

Everything is computed in the network's float32 and rounding is not accounted for: these bounds teach, they prove nothing.
Certificates always come from ``neurocert.certify.bounds``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import Call, Slot
from neurocert.certify.bounds.graph import Graph, Value, capture
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Inputs, Rule, rule_for
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.models.layers.lif import Fire
from neurocert.models.layers.plastic_flex import MaskRouting
from neurocert.models.layers.surrogate import spike

Layer = nn.Module | Call
THRESHOLDS = {nn.ReLU: lambda layer: 0.0, Fire: lambda layer: layer.threshold}
"""Layers that switch neurons on and off, and where."""


class Band(Interval):
    """An interval whose ends are not inspected: where training diverges, the loss says so."""

    def __post_init__(self) -> None:
        return


@dataclass(frozen=True)
class LiveGraph:
    """A network that is being trained, and its graph.

    Attributes:
        graph: as captured once, in evaluation mode; only its structure is used.
        layers: of each node, by its name: the network's own, which training changes.
    """

    graph: Graph
    layers: dict[str, Layer]


@dataclass(frozen=True)
class LiveBounds:
    """What a pass over a batch found.

    Attributes:
        logits: (B, classes) at the centres.
        margins: (B, classes) lower bounds of f_y - f_j over the boxes; 0 at j = y.
        input: the first layer's output (the normalised input where there is one).
        neurons: of each layer that switches neurons on and off, what decides it, relative to where it switches.
    """

    logits: Tensor
    margins: Tensor
    input: Interval
    neurons: tuple[Interval, ...]


def live_graph(network: nn.Module, input_shape: tuple[int, ...]) -> LiveGraph:
    """Captures a network, in whatever mode it is.

    Raises:
        UnsupportedLayer: layers that cannot be bounded, before anything is computed.
    """
    graph = capture(copy.deepcopy(network).eval(), input_shape)
    layers = {node.name: node.layer if isinstance(node.layer, Call) else network.get_submodule(node.path) for node in graph.nodes}
    return LiveGraph(graph, layers)


def live_bounds(live: LiveGraph, inputs: Tensor, box: Box, labels: Tensor) -> LiveBounds:
    """Bounds of the margins over a box around each input; differentiable, through spikes by their surrogate.

    Batch norm in training mode takes the statistics of the centres, for the bounds too, as in Shi et al. 2021.

    Args:
        inputs: (B, *shape) centres.
        box: (lower, upper), each (B, *shape).
        labels: (B,).
    """
    graph, fixed = live.graph, {}
    values: dict[Value, Tensor] = {graph.input: inputs}
    bounds: dict[Value, Interval] = {graph.input: Band(*box)}
    neurons = []
    for node in graph.nodes:
        layer = live.layers[node.name]
        points, boxes = tuple(values[source] for source in node.inputs), tuple(bounds[source] for source in node.inputs)
        if type(layer) in THRESHOLDS:
            threshold = THRESHOLDS[type(layer)](layer)
            neurons.append(Band(boxes[0].lower - threshold, boxes[0].upper - threshold))
        fixed[node.name] = _with_statistics_of(layer, points)
        values.update(zip(node.outputs, _evaluate(layer, points), strict=True))
        bounds.update(zip(node.outputs, (Band(*found) for found in _interval(layer)(fixed[node.name], boxes)), strict=True))
    margins = _lower_margins(graph, fixed, bounds, labels)
    return LiveBounds(values[graph.output], margins, bounds[graph.nodes[0].outputs[0]], tuple(neurons))


def _interval(layer: Layer) -> Callable[[Any, Inputs], tuple[Box, ...]]:
    return DIFFERENTIABLE.get(type(layer)) or _rule(layer).interval


def relu_bounds(layer: nn.ReLU, inputs: Inputs) -> tuple[Box, ...]:
    """Those of the layer's rule, in fewer operations."""
    return ((inputs[0].lower.relu(), inputs[0].upper.relu()),)


def fire_bounds(layer: Fire, inputs: Inputs) -> tuple[Box, ...]:
    """Bounds of (carried potential, spikes): those of the layer's rule, written with spikes, through which gradients flow."""
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


DIFFERENTIABLE: dict[type, Callable[[Any, Inputs], tuple[Box, ...]]] = {nn.ReLU: relu_bounds, Fire: fire_bounds}
"""Interval rules that replace the engine's; every other layer's rule has gradients as it is."""


def _mix(share: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return share * one + (1.0 - share) * other


def _lower_margins(graph: Graph, layers: dict[str, Layer], bounds: dict[Value, Interval], labels: Tensor) -> Tensor:
    """f_y - f_j merged with the last affine layers, then over the intervals where these begin; (B, classes)."""
    identity = torch.eye(graph.shape(graph.output)[0], dtype=bounds[graph.output].lower.dtype)
    pending = {graph.output: identity[labels] - identity[:, None]}
    total = torch.zeros(pending[graph.output].shape[:2])
    for node in reversed(graph.nodes):
        outputs = tuple(pending.pop(output, None) for output in node.outputs)
        given = [(output, a) for output, a in zip(node.outputs, outputs, strict=True) if a is not None]
        if not given:
            continue
        layer = layers[node.name]
        rule = _rule(layer)
        if not rule.affine:
            total = total + sum(_over_interval(bounds[output], a) for output, a in given)
            continue
        inputs = tuple(bounds[source] for source in node.inputs)
        back, constant = rule.linear(layer, rule.relax(layer, inputs), outputs)
        total = total + constant
        for source, a in zip(node.inputs, back, strict=True):
            if a is not None:
                pending[source] = pending[source] + a if source in pending else a
    total = total + sum(_over_interval(bounds[value], a) for value, a in pending.items())
    return total.T


def _over_interval(interval: Interval, a: Tensor) -> Tensor:
    return dot(a, interval.centre) - dot(a.abs(), interval.radius)


def _evaluate(layer: Layer, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if isinstance(layer, Call):
        arguments = [inputs[item.index] if isinstance(item, Slot) else item for item in layer.arguments]
        function = getattr(torch.Tensor, layer.target) if isinstance(layer.target, str) else layer.target
        output = function(*arguments, **layer.keywords)
    else:
        output = layer(*inputs)
    return output if isinstance(output, tuple) else (output,)


def _with_statistics_of(layer: Layer, inputs: tuple[Tensor, ...]) -> Layer:
    """The layer as it acts on this very batch: batch norm in training mode with its mean and variance, else the layer itself."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
        return _batch_norm(layer, inputs[0])
    if isinstance(layer, MaskRouting) and layer.norm.training:
        return _view(layer, "_modules", norm=_batch_norm(layer.norm, inputs[1] - layer.threshold))
    return layer


def _batch_norm(layer: Any, x: Tensor) -> Any:
    axes = [0, *range(2, x.dim())]
    variance, mean = torch.var_mean(x, axes, correction=0)
    return _view(layer, "_buffers", running_mean=mean, running_var=variance)


def _view(layer: Any, table: str, **entries: Any) -> Any:
    """A layer that shares everything with ``layer`` but these entries of one of its tables."""
    view = copy.copy(layer)
    view.__dict__[table] = getattr(layer, table) | entries
    return view


def _rule(layer: Layer) -> Rule:
    rule = rule_for(layer)
    assert rule is not None, "capture refuses layers without a rule"
    return rule
