"""Capture: a network as a graph of layers, each a leaf that has (or lacks) rules."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.fx.proxy import TraceError

from neurocert.certify.bounds.call import Call, Slot
from neurocert.certify.bounds.compositions import COMPOSITIONS
from neurocert.certify.bounds.recording import Recording, record, require_same
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
class Parameter:
    """A parameter as a value of the graph: the same for every sample and every node that reads it."""

    value: Value
    name: str
    centre: Tensor


@dataclass(frozen=True)
class Graph:
    """A network's layers in the order of evaluation; ``parameters`` are those that are uncertain."""

    input: Value
    input_shape: torch.Size
    nodes: tuple[Node, ...]
    output: Value
    parameters: tuple[Parameter, ...] = ()

    def node(self, value: Value) -> Node | None:
        """The node that computes ``value``; None for the network's input."""
        return next((node for node in self.nodes if node.name == value.node), None)

    def shape(self, value: Value) -> torch.Size:
        for parameter in self.parameters:
            if parameter.value == value:
                return parameter.centre.shape
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
    plain = copy.deepcopy(network).requires_grad_(False)
    double = copy.deepcopy(plain).double()
    tracer = _Tracer()
    if type(double) in COMPOSITIONS or tracer.is_leaf_module(double, ""):
        plain, double = nn.Sequential(plain), nn.Sequential(double)
    before = torch.get_rng_state()
    try:
        traced = fx.GraphModule(double, tracer.trace(double))
        _share_constants(double, plain)
    except (TraceError, TypeError, RuntimeError, NameError, ValueError, AttributeError) as error:
        raise UnsupportedLayer(
            f"the forward pass cannot be captured: {error}",
            "control flow that depends on a tensor's values has no bounds; write it with layers",
        ) from error
    if sum(step.op == "placeholder" for step in traced.graph.nodes) != 1:
        raise UnsupportedLayer("the network takes several inputs, expected one")
    if not torch.equal(before, torch.get_rng_state()):
        raise UnsupportedLayer("the forward pass draws random numbers, expected a deterministic network")
    graph = _graph(traced, _recorded(traced, plain, input_shape), torch.Size(input_shape))
    nodes = [replace(node, problem=tracer.refused.get(node.path) or tracer.refused.get(node.name) or node.problem) for node in graph.nodes]
    if all(node.problem is None for node in nodes):
        require_same(double, traced, input_shape)
    return replace(graph, nodes=tuple(nodes))


def _share_constants(traced: nn.Module, network: nn.Module) -> None:
    """Gives ``network`` the tensors that tracing found written in the forward pass and kept as attributes."""
    for name, value in vars(traced).items():
        if name.startswith("_tensor_constant"):
            setattr(network, name, value)


class _Tracer(fx.Tracer):
    """Stops at layers with rules and at torch.nn, but writes compositions out."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) in COMPOSITIONS:
            return module_qualified_name in self.refused
        return rule_for(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if type(m) in COMPOSITIONS:
            build, refuses = COMPOSITIONS[type(m)]
            forward = partial(build, m)
            if reason := refuses(m, *args, **kwargs):
                self.refused[self.path_of_module(m)] = reason
        elif rule_for(m) is not None and (name := _replaced_method(m)):
            self.refused[self.path_of_module(m)] = f"its method {name} was replaced, and the rule is that of its class"
        return super().call_module(m, forward, args, kwargs)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **others: Any) -> Any:
        if kind != "call_function" or target not in COMPOSITIONS:
            return super().create_proxy(kind, target, args, kwargs, *more, **others)
        build, refuses = COMPOSITIONS[target]
        reason = refuses(*args, **kwargs)
        if reason is None:
            return build(*args, **kwargs)
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **others)
        self.refused[proxy.node.name] = reason
        return proxy


def _replaced_method(layer: nn.Module) -> str | None:
    """Of a layer or its parts: a method that the object has instead of its class's."""
    replaced = (name for part in layer.modules() for name in vars(part) if callable(getattr(type(part), name, None)))
    return next(replaced, None)


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


def _recorded(traced: fx.GraphModule, network: nn.Module, input_shape: tuple[int, ...]) -> Recording:
    try:
        return record(traced, network, input_shape)
    except UnsupportedLayer:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the network rejects inputs of shape {tuple(input_shape)}: {reason}", "check the shape of the data") from error


def _graph(traced: fx.GraphModule, recording: Recording, input_shape: torch.Size) -> Graph:
    values: dict[fx.Node, Any] = {}  # a Value, or a tuple of them
    nodes: list[Node] = []
    constants: dict[fx.Node, Any] = {}
    source: Value | None = None
    for step in traced.graph.nodes:
        if step.op == "placeholder":
            source = values[step] = Value(step.name)
        elif step.name in recording.constants:
            constants[step] = recording.constants[step.name]
        elif step.target is operator.getitem and step.args[0].name in recording.several:
            values[step] = values[step.args[0]][step.args[1]]
        elif step.op == "output":
            if not isinstance(step.args[0], fx.Node):
                raise UnsupportedLayer("the network returns several values, expected one tensor of logits")
            if source is None or not isinstance(values.get(step.args[0]), Value):
                raise UnsupportedLayer("the network's output is not one tensor that depends on its input")
            return Graph(source, input_shape, tuple(nodes), values[step.args[0]])
        else:
            node = _node(traced, step, values, constants, recording.shapes[step.name])
            sources = tuple(_shape_of(value, recording.shapes, input_shape) for value in node.inputs)
            nodes.append(replace(node, problem=recording.problems.get(step.name) or node.problem or _problem(node, sources)))
            values[step] = node.outputs if step.name in recording.several else Value(node.name)
    raise UnsupportedLayer("the network returns nothing")


def _node(
    traced: fx.GraphModule, step: fx.Node, values: dict[fx.Node, Any], constants: dict[fx.Node, Any], shapes: tuple[torch.Size, ...]
) -> Node:
    inputs: list[Value] = []

    def placed(argument: fx.Node) -> Any:
        if argument in constants:
            return constants[argument]
        given = values[argument] if isinstance(values[argument], tuple) else (values[argument],)
        inputs.extend(given)
        slots = tuple(Slot(len(inputs) - len(given) + index) for index in range(len(given)))
        return slots if isinstance(values[argument], tuple) else slots[0]

    arguments = map_arg(step.args, placed)
    keywords = map_arg(step.kwargs, placed)
    if step.op == "call_module":
        path = str(step.target)
        plain = not keywords and all(isinstance(argument, Slot) for argument in arguments)
        problem = None if plain else "is called with constants or by keyword, expected tensors alone"
        return Node(step.name, path, traced.get_submodule(path), tuple(inputs), shapes, problem)
    return Node(step.name, _scope(step), Call(step.target, tuple(arguments), dict(keywords)), tuple(inputs), shapes, None)


def _scope(step: fx.Node) -> str:
    stack = step.meta.get("nn_module_stack") or {}
    scopes = [path for path, *_ in stack.values()]
    return f"{scopes[-1]}.{step.name}" if scopes and scopes[-1] else step.name


def _shape_of(value: Value, shapes: dict[str, tuple[torch.Size, ...]], input_shape: torch.Size) -> torch.Size:
    if value.node not in shapes:
        return input_shape
    return shapes[value.node][value.output] if shapes[value.node] else torch.Size()


def _problem(node: Node, inputs: tuple[torch.Size, ...]) -> str | None:
    rule = rule_for(node.layer)
    return "no rule" if rule is None else rule.refuses(node.layer, inputs, node.shapes[0])
