"""Uncertain weights: affine layers whose parameters are values of the graph, with bounds of their own."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace

from torch import Tensor, nn

from neurocert.certify.bounds.graph import Graph, Node, Parameter, Value
from neurocert.certify.bounds.registry import layer_name
from neurocert.certify.bounds.uncertain import Uncertain
from neurocert.certify.errors import UnsupportedLayer

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SUPPORTED = (nn.Linear, nn.Conv2d, *BATCH_NORMS)


def with_uncertain_weights(graph: Graph, names: Collection[str]) -> Graph:
    """The graph in which the parameters ``names`` are values that its layers read.

    Each stays one value, however many nodes read it.

    Raises:
        UnsupportedLayer: a parameter of a layer that has no rule for uncertain weights; all of them are named.
    """
    nodes: list[Node] = []
    made: dict[str, Uncertain] = {}
    parameters: dict[str, Parameter] = {}
    problems: list[str] = []
    read: set[str] = set()
    for node in graph.nodes:
        own = _own(node, names)
        read.update(own)
        if not own:
            nodes.append(node)
        elif not isinstance(node.layer, SUPPORTED):
            problems.append(f"{', '.join(own)} ({layer_name(node.layer)})")
        else:
            source = node
            if isinstance(node.layer, BATCH_NORMS):
                source = replace(node, name=f"{node.name}_standardised", layer=_standardise(node.layer))
                nodes.append(source)
            uncertain = made.setdefault(node.path, Uncertain(node.layer))
            inputs = source.outputs[0] if source is not node else node.inputs[0]
            pair = [_parameter(parameters, node, kind) for kind in ("weight", "bias")]
            nodes.append(replace(node, layer=uncertain, inputs=(inputs, *(parameter.value for parameter in pair))))
    if unread := sorted(set(names) - read):
        problems.append(f"{', '.join(unread)} (read by functions, not by layers)")
    if problems:
        unique = list(dict.fromkeys(problems))
        raise UnsupportedLayer(
            f"uncertain weights have no rule in {'; '.join(unique)}",
            f"choose others by name; supported: {', '.join(kind.__name__ for kind in SUPPORTED)}",
        )
    return replace(graph, nodes=tuple(nodes), parameters=tuple(parameters.values()))


def _own(node: Node, names: Collection[str]) -> list[str]:
    """The uncertain parameters of a node's layer."""
    if not isinstance(node.layer, nn.Module):
        return []
    return [full for name, _ in node.layer.named_parameters() if (full := f"{node.path}.{name}" if node.path else name) in names]


def _parameter(parameters: dict[str, Parameter], node: Node, kind: str) -> Parameter:
    """The value of a layer's weight or bias; a layer without bias has one of zeros."""
    name = f"{node.path}.{kind}" if node.path else kind
    if name not in parameters:
        weight, bias = node.layer.weight, node.layer.bias  # type: ignore[union-attr]
        assert isinstance(weight, Tensor)
        centre = weight if kind == "weight" else weight.new_zeros(weight.shape[0]) if bias is None else bias
        assert isinstance(centre, Tensor)
        parameters[name] = Parameter(Value(f"parameter {name}"), name, centre.detach())
    return parameters[name]


def _standardise(layer: nn.Module) -> nn.Module:
    """The batch norm without its scale and shift."""
    bare = copy.deepcopy(layer)
    bare.affine, bare.weight, bare.bias = False, None, None  # type: ignore[assignment]
    return bare
