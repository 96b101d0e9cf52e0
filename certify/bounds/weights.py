"""Uncertain weights: layers whose parameters are values of the graph, with bounds of their own."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import apply
from neurocert.certify.bounds.graph import Graph, Node, Parameter, Value
from neurocert.certify.bounds.registry import layer_name
from neurocert.certify.bounds.uncertain import AFFINE, Uncertain, UncertainRouting
from neurocert.certify.errors import UnsupportedLayer
from neurocert.models.layers.plastic_flex import MaskRouting

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SUPPORTED = (*AFFINE, MaskRouting)
TRIALS = 8
SAME = 1e-6
"""How far the rewritten graph may be from the network: rounding alone stays far below."""


def with_uncertain_weights(graph: Graph, names: Collection[str]) -> Graph:
    """The graph in which the parameters ``names`` are values that its layers read.

    Each stays one value, however many nodes read it.

    Raises:
        UnsupportedLayer: a parameter of a layer that has no rule for uncertain weights, or of none; all of them are named.
    """
    nodes: list[Node] = []
    made: dict[str, Uncertain | UncertainRouting] = {}
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
            for full, centre in own.items():
                parameters.setdefault(full, Parameter(Value(f"parameter {full}"), full, centre))
            nodes += _rewritten(node, own, made)
    if unread := sorted(set(names) - read):
        problems.append(f"{', '.join(unread)} (read by no layer of its own)")
    if problems:
        unique = list(dict.fromkeys(problems))
        raise UnsupportedLayer(
            f"uncertain weights have no rule in {'; '.join(unique)}",
            f"choose others by name; supported: {', '.join(kind.__name__ for kind in SUPPORTED)}",
        )
    return replace(graph, nodes=tuple(nodes), parameters=tuple(parameters.values()))


def require_weights_followed(network: nn.Module, graph: Graph) -> None:
    """Refuses a network that reads a weight elsewhere than the graph does: both are run with other weights, at random inputs.

    Weights are changed a little and a lot, since spikes and saturated activations hide either.

    Raises:
        UnsupportedLayer: outputs that differ.
    """
    generator, double = torch.Generator(torch.get_default_device()).manual_seed(0), copy.deepcopy(network).double()
    points = torch.randn(TRIALS, *graph.input_shape, generator=generator, dtype=torch.float64)
    for size in (0.1, 1.0):
        noise = {p.name: torch.randn(p.centre.shape, generator=generator, dtype=torch.float64) for p in graph.parameters}
        changed = {p.name: p.centre + size * noise[p.name] for p in graph.parameters}
        with torch.no_grad():
            expected, found = torch.func.functional_call(double, changed, (points,)), run(graph, points, changed)
        if not torch.allclose(expected, found, rtol=SAME, atol=SAME, equal_nan=True):
            raise UnsupportedLayer(
                f"not every use of {', '.join(changed)} can be followed",
                "such a weight must be read by its own layer alone; leave out by name those that are not",
            )


def run(graph: Graph, points: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """What the graph computes from float64 ``points`` (B, *shape) with these parameters."""
    values: dict[Value, Tensor] = {graph.input: points, **{p.value: parameters[p.name] for p in graph.parameters}}
    for node in graph.nodes:
        result = apply(node.layer, *(values[value] for value in node.inputs))
        values.update(zip(node.outputs, result if isinstance(result, tuple | list) else (result,), strict=True))
    return values[graph.output]


def _own(node: Node, names: Collection[str]) -> dict[str, Tensor]:
    """The uncertain parameters of a node's layer, by their full names."""
    if not isinstance(node.layer, nn.Module):
        return {}
    full = {f"{node.path}.{name}" if node.path else name: value.detach() for name, value in node.layer.named_parameters()}
    return {name: value for name, value in full.items() if name in names}


def _rewritten(node: Node, own: Collection[str], made: dict[str, Uncertain | UncertainRouting]) -> list[Node]:
    """The node, reading its parameters ``own``; a batch norm is standardised first."""
    layer, prefix = node.layer, f"{node.path}." if node.path else ""
    names = tuple(name.removeprefix(prefix) for name in own)
    parameters = tuple(Value(f"parameter {name}") for name in own)
    if isinstance(layer, MaskRouting):
        return [replace(node, layer=made.setdefault(node.path, UncertainRouting(layer, names)), inputs=(*node.inputs, *parameters))]
    assert isinstance(layer, nn.Module)
    uncertain = made.setdefault(node.path, Uncertain(layer, names))
    if not isinstance(layer, BATCH_NORMS):
        return [replace(node, layer=uncertain, inputs=(*node.inputs, *parameters))]
    standardised = replace(node, name=f"{node.name}_standardised", layer=_standardise(layer))
    return [standardised, replace(node, layer=uncertain, inputs=(*standardised.outputs, *parameters))]


def _standardise(layer: nn.Module) -> nn.Module:
    """The batch norm without its scale and shift."""
    bare = copy.deepcopy(layer)
    bare.affine, bare.weight, bare.bias = False, None, None  # type: ignore[assignment]
    return bare
