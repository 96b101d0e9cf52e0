"""Bounds of a network while it is trained: the engine's own rules on the live weights, with gradients.

Intervals are computed in the network's float32, linear bounds in float64, and rounding is not accounted for: these bounds
teach, they prove nothing.
Certificates always come from ``neurocert.certify.bounds``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import Call
from neurocert.certify.bounds.graph import Graph, Value, capture
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.errors import UnsupportedLayer
from neurocert.certify.training.layers import (
    Band,
    Layer,
    batch_statistics,
    in_double,
    interval,
    linear,
    rule_of,
    switch_of,
    with_statistics,
)


@dataclass(frozen=True)
class LiveGraph:
    """A network that is being trained, and its graph.

    Attributes:
        network: the network itself.
        graph: as captured once, in evaluation mode; only its structure is used.
        layers: of each node, by its name: the network's own, which training changes.
    """

    network: nn.Module
    graph: Graph
    layers: dict[str, Layer]


@dataclass(frozen=True)
class LiveBounds:
    """What a pass over a batch found.

    Attributes:
        logits: (B, classes) at the centres.
        margins: (B, classes) lower bounds of f_y - f_j over the boxes; 0 at j = y.
        linear_margins: the same by a backward linear pass over the intervals, in float64; None where it was not asked for.
        input: bounds of the first layer's output (the normalised input where there is one).
        neurons: for each layer that switches neurons on and off, bounds of its input minus the threshold.
    """

    logits: Tensor
    margins: Tensor
    linear_margins: Tensor | None
    input: Interval
    neurons: tuple[Interval, ...]


def live_graph(network: nn.Module, input_shape: tuple[int, ...]) -> LiveGraph:
    """Captures a network, in whatever mode it is.

    Raises:
        UnsupportedLayer: layers that cannot be bounded or trained through, before anything is computed.
    """
    graph = capture(copy.deepcopy(network).eval(), input_shape)
    for node in graph.nodes:
        if isinstance(node.layer, Call) and any(isinstance(item, Tensor) for item in node.layer.arguments):
            raise UnsupportedLayer(f"{node.path} computes with a tensor outside any layer, which training would not follow", "use a layer")
    layers = {node.name: node.layer if isinstance(node.layer, Call) else network.get_submodule(node.path) for node in graph.nodes}
    return LiveGraph(network, graph, layers)


def live_bounds(live: LiveGraph, inputs: Tensor, box: Box, labels: Tensor, *, with_linear: bool = False) -> LiveBounds:
    """Bounds of the margins over a box around each input; differentiable, through spikes by their surrogate.

    Batch norm in training mode takes the statistics of the centres, for the bounds too (Shi et al. 2021); where it is used at
    several time steps, those of all steps together, as the network does.
    Linear margins go back to the input, every relaxation on the intervals (CROWN-IBP: Zhang et al. 2020).

    Args:
        inputs: (B, *shape) centres.
        box: (lower, upper), each (B, *shape).
        labels: (B,).
        with_linear: also find ``linear_margins``.
    """
    graph, neurons = live.graph, []
    with batch_statistics(live.network) as statistics:
        logits = live.network(inputs)
    acting: dict[str, Layer] = {node.name: with_statistics(live.layers[node.name], statistics) for node in graph.nodes}
    bounds: dict[Value, Interval] = {graph.input: Band(*box)}
    for node in graph.nodes:
        layer, within = acting[node.name], tuple(bounds[source] for source in node.inputs)
        if switch := switch_of(layer):
            threshold = switch.threshold(layer)
            neurons.append(Band(within[0].lower - threshold, within[0].upper - threshold))
        bounds.update(zip(node.outputs, interval(layer, within), strict=True))
    margins, linear_margins = lower_margins(graph, acting, bounds, labels, everything=False), None
    if with_linear:
        double = {name: in_double(layer) for name, layer in acting.items()}
        wide = {value: Band(*(end.double() for end in (band.lower, band.upper))) for value, band in bounds.items()}
        linear_margins = lower_margins(graph, double, wide, labels, everything=True)
    return LiveBounds(logits, margins, linear_margins, bounds[graph.nodes[0].outputs[0]], tuple(neurons))


def lower_margins(graph: Graph, layers: dict[str, Layer], bounds: Mapping[Value, Interval], labels: Tensor, *, everything: bool) -> Tensor:
    """(B, classes): f_y - f_j moved back through the last affine layers, or everything, then minimised over the intervals there."""
    output = bounds[graph.output].lower
    identity = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    pending = {graph.output: identity[labels] - identity[:, None]}
    terms = []
    for node in reversed(graph.nodes):
        outputs = tuple(pending.pop(output, None) for output in node.outputs)
        given = [(output, a) for output, a in zip(node.outputs, outputs, strict=True) if a is not None]
        layer = layers[node.name]
        if given and (everything or rule_of(layer).affine):
            back, constant = linear(layer, tuple(bounds[source] for source in node.inputs), outputs)
            terms.append(constant.to(identity.dtype))
            for source, a in zip(node.inputs, back, strict=True):
                if a is not None:
                    moved = a.to(identity.dtype)
                    pending[source] = pending[source] + moved if source in pending else moved
        else:
            terms += [_least(a, bounds[output]) for output, a in given]
    terms += [_least(a, bounds[value]) for value, a in pending.items()]
    return torch.stack([term.expand(terms[-1].shape) for term in terms]).sum(0).T


def _least(a: Tensor, over: Interval) -> Tensor:
    """The least value of a . x on an interval; (R, B)."""
    return dot(a, over.centre) - dot(a.abs(), over.radius)
