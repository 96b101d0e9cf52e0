"""Rewrites of a captured graph that keep its function and help its bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import Arithmetic
from neurocert.certify.bounds.call import Call
from neurocert.certify.bounds.graph import Graph, Node, Value
from neurocert.certify.bounds.relaxations.spike_train import patterns
from neurocert.certify.bounds.rules.arithmetic import SUMS
from neurocert.certify.bounds.spike_train import SpikeTrain
from neurocert.models.layers.lif import Fire

PATTERNS_PER_STEP = 8
"""A layer that can show more spike trains than this times T stays unrolled."""


def simplify(graph: Graph, arithmetic: Arithmetic) -> Graph:
    """All rewrites, in order."""
    return collapse_static_currents(merge_equal_nodes(graph), arithmetic)


def merge_equal_nodes(graph: Graph) -> Graph:
    """Nodes that apply the same layer to the same values become one: a current recomputed at every step is one current."""
    kept: list[Node] = []
    same: dict[Value, Value] = {}
    for original in graph.nodes:
        node = replace(original, inputs=tuple(same.get(value, value) for value in original.inputs))
        twin = next((other for other in kept if other.inputs == node.inputs and _equal(other.layer, node.layer)), None)
        if twin is None:
            kept.append(node)
        else:
            same.update(zip(node.outputs, twin.outputs, strict=True))
    return replace(graph, nodes=tuple(kept), output=same.get(graph.output, graph.output))


def collapse_static_currents(graph: Graph, arithmetic: Arithmetic) -> Graph:
    """The T steps of a spiking layer whose current is the same value at every step become one ``SpikeTrain``.

    What the layer carries from step to step must be used by nothing else.
    """
    for first in graph.nodes:
        chain = _chain(graph, first)
        if len(chain) > 1:
            graph = _collapsed(graph, chain, arithmetic)
    return graph


def _equal(a: Any, b: Any) -> bool:
    if not isinstance(a, Call) or not isinstance(b, Call):
        return a is b
    return a.target == b.target and _same(a.arguments, b.arguments) and _same(a.keywords, b.keywords)


def _same(a: Any, b: Any) -> bool:
    """Equality of constant arguments, tensors among them."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


def _chain(graph: Graph, first: Node) -> list[Node]:
    """[Fire, add, Fire, add, ..., Fire]: the steps of a layer under one current, from the first; [] if there is no such thing."""
    if not isinstance(first.layer, Fire):
        return []
    (current,) = first.inputs
    uses = Counter(value for node in graph.nodes for value in node.inputs)
    chain = [first]
    while uses[carried := chain[-1].outputs[0]]:
        readers = [node for node in graph.nodes if carried in node.inputs]
        total = readers[0]
        fires = [node for node in graph.nodes if total.outputs[0] in node.inputs]
        is_sum = isinstance(total.layer, Call) and total.layer.target in SUMS and set(total.inputs) == {carried, current}
        if len(readers) > 1 or not is_sum or len(fires) != 1 or fires[0].layer is not first.layer:
            return []
        if graph.output in (carried, total.outputs[0]):
            return []
        chain += [total, fires[0]]
    return [] if graph.output == chain[-1].outputs[0] else chain


def _collapsed(graph: Graph, chain: list[Node], arithmetic: Arithmetic) -> Graph:
    first, fires = chain[0], chain[::2]
    assert isinstance(first.layer, Fire)
    if len(patterns(first.layer, len(fires))) > PATTERNS_PER_STEP * len(fires):
        return graph
    train = replace(first, layer=SpikeTrain(first.layer, len(fires), arithmetic), shapes=(first.shapes[1],) * len(fires))
    moved = {fire.outputs[1]: spikes for fire, spikes in zip(fires, train.outputs, strict=True)}
    gone = {node.name for node in chain[1:]}
    nodes = [train if node is first else node for node in graph.nodes if node.name not in gone]
    renamed = tuple(
        node if node is train else replace(node, inputs=tuple(moved.get(value, value) for value in node.inputs)) for node in nodes
    )
    return replace(graph, nodes=renamed, output=moved.get(graph.output, graph.output))
