"""How much the outputs of PlasticFlex layers can hang on their masks, over whole sets of inputs."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import Call, Slot
from neurocert.certify.bounds.graph import Graph, Node
from neurocert.certify.bounds.propagation import InputSet, Propagation
from neurocert.certify.errors import ConfigError, InputError
from neurocert.certify.problem import make_problem
from neurocert.certify.verifiers.margins import capture_problem
from neurocert.models.layers.plastic_flex import MaskRouting, Mixture
from neurocert.models.masks import flex_layers
from neurocert.perturbations.balls import Ball

METHODS = ("interval", "linear")


@dataclass(frozen=True, eq=False)
class SensitivityBound:
    """What the mask sensitivity S = |C - P| of one layer cannot exceed, whatever the input in the set.

    Attributes:
        layer: the layer's path in the network.
        scores: (B, C, H, W) float64, upper bounds of each S_i, over all calls of a forward pass.
    """

    layer: str
    scores: Tensor

    @property
    def greatest(self) -> Tensor:
        """(B,): sup over the set of the largest S_i."""
        return self.scores.flatten(1).amax(1)

    @property
    def mean(self) -> Tensor:
        """(B,): what the mean of S over the layer cannot exceed. Eq. 3.23 of the PlasticFlex thesis."""
        return self.scores.flatten(1).mean(1)


def sensitivity_bounds(network: nn.Module, inputs: Tensor, perturbation: Ball, method: str = "linear") -> tuple[SensitivityBound, ...]:
    """The certified supremum of the mask sensitivity of every PlasticFlex layer over a ball around each input.

    By Eq. A.28 of the PlasticFlex thesis a mask that is off by delta moves the layer's output by at most delta S.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), in the network's dtype and input range.
        perturbation: such as ``LinfBall(0.01)``; clipped to the network's input range if it declares one.
        method: "interval", or "linear", which is tighter and slower.

    Raises:
        InputError: inputs or options that cannot be used, or a network without PlasticFlex layers.
        UnsupportedLayer: a layer that has no rule.
    """
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    if not flex_layers(network):
        raise InputError("network has no PlasticFlex layers, so there is no mask to be sensitive to")
    problem = make_problem(network, inputs, torch.zeros(len(inputs), dtype=torch.int64), perturbation)
    graph, differences = _with_differences(capture_problem(problem), tuple(flex_layers(network)))
    with torch.no_grad():
        found = Propagation(graph, InputSet(problem.ball, problem.inputs), problem.arithmetic, refine=method == "linear")
        bounds: dict[str, Tensor] = {}
        for node, layer in differences:
            scores = _greatest(found, node, linear=method == "linear")
            bounds[layer] = torch.maximum(bounds[layer], scores) if layer in bounds else scores
    return tuple(SensitivityBound(layer, scores) for layer, scores in bounds.items())


def _with_differences(graph: Graph, layers: tuple[str, ...]) -> tuple[Graph, list[tuple[Node, str]]]:
    """The graph with a node C - P before each node that mixes the two, and those nodes with their layers' paths."""
    nodes: list[Node] = []
    differences: list[tuple[Node, str]] = []
    for node in graph.nodes:
        layer = next((layer for layer in layers if node.path.startswith(f"{layer}.") and _mixes(node)), None)
        if layer is not None:
            subtract = Call(operator.sub, (Slot(0), Slot(1)), {})
            difference = Node(f"{node.name}_difference", f"{layer}.difference", subtract, node.inputs[-2:], node.shapes, None)
            nodes.append(difference)
            differences.append((difference, layer))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), differences


def _mixes(node: Node) -> bool:
    """Whether a node's last two inputs are a layer's branches C and P."""
    if isinstance(node.layer, Call):
        return node.layer.target is torch.maximum
    return isinstance(node.layer, MaskRouting | Mixture)


def _greatest(found: Propagation, node: Node, *, linear: bool) -> Tensor:
    """(B, C, H, W): upper bounds of the absolute value of a node's output."""
    (value,), (shape,) = node.outputs, node.shapes
    bounds = found.bounds[value]
    lower, upper = bounds.lower, bounds.upper
    if linear:
        unit = torch.eye(shape.numel(), dtype=torch.float64)[:, None].unflatten(2, shape)
        below, above = (found.lower(value, sign * unit).T.unflatten(1, shape) for sign in (1, -1))
        lower, upper = torch.maximum(lower, below), torch.minimum(upper, -above)
    return torch.maximum(lower.abs(), upper.abs())
