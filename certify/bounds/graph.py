"""Capture: a network as a graph of layers, each a leaf that has (or lacks) rules."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.fx.proxy import TraceError

from neurocert.certify.bounds.call import Call, Slot
from neurocert.certify.bounds.registry import layer_name, rule_for
from neurocert.certify.errors import InputError, UnsupportedLayer


@dataclass(frozen=True)
class Value:
    """One output of one node."""

    node: str
    output: int = 0


@dataclass(frozen=True)
class Node:
    """One application of a layer.

    Attributes:
        name: unique in the graph.
        path: where the layer sits in the network, such as "synapses.0.0.convolution".
        layer: the module (a float64 copy) or ``Call``.
        inputs: the values it reads.
        shapes: of its outputs, without the batch.
        problem: why it cannot be bounded; None where it can.
    """

    name: str
    path: str
    layer: nn.Module | Call
    inputs: tuple[Value, ...]
    shapes: tuple[torch.Size, ...]
    problem: str | None

    @property
    def outputs(self) -> tuple[Value, ...]:
        return tuple(Value(self.name, index) for index in range(len(self.shapes)))


@dataclass(frozen=True)
class Graph:
    """A network's layers in the order of evaluation."""

    input: Value
    input_shape: torch.Size
    nodes: tuple[Node, ...]
    output: Value

    def node(self, value: Value) -> Node | None:
        """The node that computes ``value``; None for the network's input."""
        return next((node for node in self.nodes if node.name == value.node), None)

    def shape(self, value: Value) -> torch.Size:
        node = self.node(value)
        return self.input_shape if node is None else node.shapes[value.output]


def capture(network: nn.Module, input_shape: tuple[int, ...]) -> Graph:
    """The graph of a float64 copy of ``network``, every layer of which can be bounded.

    Raises:
        UnsupportedLayer: layers without a rule (all of them named), or a forward pass that cannot be traced.
        InputError: a network in training mode, or one that rejects inputs of ``input_shape``.
    """
    graph = trace(network, input_shape)
    problems = [f"{node.path} ({layer_name(node.layer)}): {node.problem}" for node in graph.nodes if node.problem]
    if problems:
        unique = list(dict.fromkeys(problems))
        raise UnsupportedLayer(
            f"{len(unique)} layer{'s' * (len(unique) > 1)} cannot be bounded: {'; '.join(unique)}",
            "see `certify ls rules` for the layers with rules, and CONTRIBUTING.md for adding one",
        )
    return graph


def trace(network: nn.Module, input_shape: tuple[int, ...]) -> Graph:
    """The graph of a float64 copy of ``network``; layers without a rule say so in ``Node.problem``.

    A module is a leaf if a rule is registered for exactly its class, or if it belongs to torch.nn; every other module
    is traced into.

    Raises:
        UnsupportedLayer: a forward pass that cannot be traced.
        InputError: a network in training mode, or one that rejects inputs of ``input_shape``.
    """
    _require_plain(network)
    double = copy.deepcopy(network).double().requires_grad_(False)
    tracer = _Tracer()
    try:
        traced = fx.GraphModule(double, tracer.trace(double))
    except (TraceError, TypeError, RuntimeError) as error:
        raise UnsupportedLayer(
            f"the forward pass cannot be captured: {error}",
            "control flow that depends on a tensor's values has no bounds; write it with layers",
        ) from error
    if sum(step.op == "placeholder" for step in traced.graph.nodes) != 1:
        raise UnsupportedLayer("the network takes several inputs, expected one")
    shapes = _shapes(traced, input_shape)
    return _graph(traced, shapes, torch.Size(input_shape))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return rule_for(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _require_plain(network: nn.Module) -> None:
    for path, module in network.named_modules():
        if module.training:
            raise InputError(
                f"{path or 'the network'} ({layer_name(module)}) is in training mode, expected evaluation mode", "call network.eval()"
            )
        if module._forward_hooks or module._forward_pre_hooks:
            raise UnsupportedLayer(
                f"{path or 'the network'} ({layer_name(module)}) has forward hooks, which bounds cannot follow", "remove them"
            )


class _ShapeRecorder(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.shapes: dict[str, tuple[torch.Size, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        outputs = result if isinstance(result, tuple) else (result,)
        self.shapes[n.name] = tuple(output.shape[1:] for output in outputs if isinstance(output, Tensor))
        return result


def _shapes(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[str, tuple[torch.Size, ...]]:
    recorder = _ShapeRecorder(traced)
    try:
        with torch.no_grad():
            recorder.run(torch.zeros(2, *input_shape, dtype=torch.float64))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the network rejects inputs of shape {tuple(input_shape)}: {reason}", "check the shape of the data") from error
    return recorder.shapes


def _graph(traced: fx.GraphModule, shapes: dict[str, tuple[torch.Size, ...]], input_shape: torch.Size) -> Graph:
    values: dict[fx.Node, Value] = {}
    nodes: list[Node] = []
    constants: dict[fx.Node, Tensor] = {}
    source: Value | None = None
    for step in traced.graph.nodes:
        if step.op == "placeholder":
            source = values[step] = Value(step.name)
        elif step.op == "get_attr":
            constants[step] = operator.attrgetter(step.target)(traced)
        elif step.op == "call_function" and step.target is operator.getitem and _is_pick(step, shapes):
            values[step] = Value(values[step.args[0]].node, step.args[1])
        elif step.op == "output":
            if not isinstance(step.args[0], fx.Node):
                raise UnsupportedLayer("the network returns several values, expected one tensor of logits")
            assert source is not None
            return Graph(source, input_shape, tuple(nodes), values[step.args[0]])
        else:
            node = _node(traced, step, values, constants, shapes[step.name])
            sources = tuple(_shape_of(value, shapes, input_shape) for value in node.inputs)
            nodes.append(replace(node, problem=_problem(node, sources)))
            values[step] = node.outputs[0]
    raise UnsupportedLayer("the network returns nothing")


def _is_pick(step: fx.Node, shapes: dict[str, tuple[torch.Size, ...]]) -> bool:
    return isinstance(step.args[0], fx.Node) and len(shapes[step.args[0].name]) > 1


def _node(
    traced: fx.GraphModule, step: fx.Node, values: dict[fx.Node, Value], constants: dict[fx.Node, Tensor], shapes: tuple[torch.Size, ...]
) -> Node:
    inputs: list[Value] = []

    def placed(argument: fx.Node) -> Any:
        if argument in constants:
            return constants[argument]
        inputs.append(values[argument])
        return Slot(len(inputs) - 1)

    arguments = map_arg(step.args, placed)
    keywords = map_arg(step.kwargs, placed)
    if step.op == "call_module":
        path = str(step.target)
        return Node(step.name, path, traced.get_submodule(path), tuple(inputs), shapes, None)
    return Node(step.name, _scope(step), Call(step.target, tuple(arguments), dict(keywords)), tuple(inputs), shapes, None)


def _scope(step: fx.Node) -> str:
    stack = step.meta.get("nn_module_stack") or {}
    scopes = [path for path, *_ in stack.values()]
    return f"{scopes[-1]}.{step.name}" if scopes and scopes[-1] else step.name


def _shape_of(value: Value, shapes: dict[str, tuple[torch.Size, ...]], input_shape: torch.Size) -> torch.Size:
    return shapes[value.node][value.output] if value.node in shapes else input_shape


def _problem(node: Node, inputs: tuple[torch.Size, ...]) -> str | None:
    rule = rule_for(node.layer)
    return "no rule" if rule is None else rule.refuses(node.layer, inputs, node.shapes[0])
