"""One run of a traced network on zeros: the shapes of its values, and which of them do not depend on the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from neurocert.certify.bounds.call import BatchSize, Repeated
from neurocert.certify.errors import UnsupportedLayer

BATCHES = (2, 3)
SAME = 1e-6
"""How far a captured network may be from the network: rounding alone stays far below."""
QUERIES = ("size", "dim", "ndimension", "new_zeros", "new_ones", "new_full", torch.zeros_like, torch.ones_like, torch.full_like)
"""Methods and functions that ask for a tensor's shape or type only."""
QUERIED = ("shape", "dtype", "device", "ndim")


@dataclass(frozen=True)
class Recording:
    """What a run showed, by the names of the traced steps.

    Attributes:
        shapes: of each step's tensors, without the batch.
        several: steps that return a tuple of tensors.
        constants: values of the steps that do not depend on the input's elements, as the network itself computes them.
        problems: steps that cannot be followed, and why.
    """

    shapes: dict[str, tuple[torch.Size, ...]]
    several: frozenset[str]
    constants: dict[str, Any]
    problems: dict[str, str]


def record(traced: fx.GraphModule, network: nn.Module, input_shape: tuple[int, ...]) -> Recording:
    """Runs the network on two batches of zeros (one, where it asks for no shape).

    Args:
        traced: its float64 copy.
        network: as it is; what it computes from its parameters alone is computed in their own type, with their own rounding.

    Raises:
        UnsupportedLayer: an intermediate result that is neither a tensor nor a constant.
    """
    fixed = _fixed(traced.graph)
    first = _Recorder(traced, network, input_shape, BATCHES[0])
    calls = [step for step in traced.graph.nodes if step in fixed and step.op != "get_attr"]
    if changed := [step.name for step in calls if step in first.changed]:
        raise UnsupportedLayer(f"{', '.join(changed)} changes a constant or the network's own state in place")
    second = _Recorder(traced, network, input_shape, BATCHES[1]) if calls else first
    constants = {step.name: _settled(step, first.env[step], second.env[step]) for step in traced.graph.nodes if step in fixed}
    steps = [step for step in traced.graph.nodes if step not in fixed and step.op != "output"]
    shapes = {step.name: tuple(value.shape[1:] for value in _tensors(first.env[step])) for step in steps}
    several = frozenset(step.name for step in steps if isinstance(first.env[step], tuple | list))
    return Recording(shapes, several, constants, _problems(steps, first))


def require_same(network: nn.Module, traced: fx.GraphModule, input_shape: tuple[int, ...]) -> None:
    """Refuses a trace that computes something else than the network: a trace sees ``x += 1`` as a new tensor, the network changes x.

    Raises:
        UnsupportedLayer: outputs that differ at a random input, or a network that changes itself.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    point = torch.randn(2, *input_shape, generator=generator, dtype=torch.float64, device="cpu").to(torch.get_default_device())
    state = [*network.parameters(), *network.buffers()]
    versions = [tensor._version for tensor in state]
    with torch.no_grad():
        computed, followed = network(point.clone()), traced(point.clone())
    if versions != [tensor._version for tensor in state]:
        raise UnsupportedLayer("the forward pass changes the network's own state in place")
    if not isinstance(computed, Tensor) or computed.shape != followed.shape:
        raise UnsupportedLayer("the network returns something else than one tensor")
    if not torch.allclose(computed.double(), followed.double(), rtol=SAME, atol=SAME, equal_nan=True):
        raise UnsupportedLayer(
            "what was captured computes something else than the network",
            "operations in place, such as `x += y`, on a tensor that is read again elsewhere cannot be followed",
        )


class _Recorder(fx.Interpreter):
    """Runs at once; ``env`` keeps every step's result in float64, ``own`` those of the constant steps in the network's type."""

    def __init__(self, traced: fx.GraphModule, network: nn.Module, input_shape: tuple[int, ...], batch: int) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.batch, self.network = batch, fx.Interpreter(network, graph=traced.graph)
        floats = (tensor.dtype for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point())
        self.type = next(floats, torch.get_default_dtype())
        self.fixed = _fixed(traced.graph)
        self.own: dict[fx.Node, Any] = {}
        self.changed: dict[fx.Node, int] = {}
        self.narrowed: set[fx.Node] = set()
        with torch.no_grad():
            self.run(torch.zeros(batch, *input_shape, dtype=torch.float64))

    def run_node(self, n: fx.Node) -> Any:
        read = [tensor for source in n.all_input_nodes for tensor in _tensors(self.own.get(source, self.env[source]))]
        versions = [tensor._version for tensor in read]
        if n in self.fixed:
            self.own[n] = self._own(n)
        result = _double(self.own[n]) if n in self.fixed and n.op != "get_attr" else super().run_node(n)
        for tensor, version in zip(read, versions, strict=True):
            if tensor._version != version:
                self.changed[n] = _storage(tensor)
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        if result.dtype != torch.float64 and any(tensor.dtype == torch.float64 for tensor in read):
            self.narrowed.add(n)
        return _double(result)

    def _own(self, n: fx.Node) -> Any:
        """A constant step, computed by the network's own layers in its own type."""
        arguments, keywords = (map_arg(given, lambda source: self.own.get(source, self.env[source])) for given in (n.args, n.kwargs))
        result = getattr(self.network, n.op)(n.target, arguments, keywords)
        asks_input = not self.fixed.issuperset(n.all_input_nodes)
        return result.to(self.type) if asks_input and isinstance(result, Tensor) and result.dtype == torch.float64 else result


def _double(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(_double, value))
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _tensors(value: Any) -> list[Tensor]:
    values = value if isinstance(value, tuple | list) else (value,)
    return [one for one in values if isinstance(one, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _fixed(graph: fx.Graph) -> set[fx.Node]:
    """Steps that depend on the input's shape at most."""
    fixed: set[fx.Node] = set()
    for step in graph.nodes:
        asks = step.target in QUERIES or (step.target is getattr and step.args[1] in QUERIED)
        if step.op == "get_attr" or (step.op.startswith("call") and (asks or fixed.issuperset(step.all_input_nodes))):
            fixed.add(step)
    return fixed


def _settled(step: fx.Node, first: Any, second: Any) -> Any:
    """A constant from its values at both batch sizes."""
    if first is second:
        return first
    if isinstance(first, tuple | list):
        return tuple(_settled(step, *pair) for pair in zip(first, second, strict=True))
    if isinstance(first, Tensor):
        return _settled_tensor(step, first, second)
    if first == second:
        return first
    if (first, second) == BATCHES:
        return BatchSize()
    raise UnsupportedLayer(
        f"{step.name} is {first!r} for {BATCHES[0]} samples and {second!r} for {BATCHES[1]}, expected a constant or the number of samples"
    )


def _settled_tensor(step: fx.Node, first: Tensor, second: Tensor) -> Any:
    if first.shape == second.shape and torch.equal(first, second):
        return first
    per_sample = first.dim() > 0 and first.shape[1:] == second.shape[1:] and (len(first), len(second)) == BATCHES
    if per_sample and all(torch.equal(value, first[:1].expand_as(value)) for value in (first, second)):
        return Repeated(first[:1])
    raise UnsupportedLayer(f"{step.name} is not the same at every evaluation or for every sample, expected a constant")


def _problems(steps: list[fx.Node], recorder: _Recorder) -> dict[str, str]:
    problems: dict[str, str] = {}
    for step in steps:
        tensors = _tensors(recorder.env[step])
        if not tensors:
            problems[step.name] = f"returns {type(recorder.env[step]).__name__}, expected tensors"
        elif any(tensor.dim() == 0 or len(tensor) != recorder.batch for tensor in tensors):
            problems[step.name] = f"returns shape {tuple(tensors[0].shape)} for {recorder.batch} samples, expected the samples first"
        elif step in recorder.narrowed:
            problems[step.name] = "rounds to a narrower type within the network, expected one arithmetic, declared with the problem"
        elif step in recorder.changed and _read_again(step, recorder):
            problems[step.name] = "changes its input in place, and that input is a parameter or is read again later"
    return problems


def _read_again(step: fx.Node, recorder: _Recorder) -> bool:
    """Whether what this step changed in place is seen under another name afterwards."""
    order = {node: position for position, node in enumerate(step.graph.nodes)}
    earlier = list(order)[: order[step]]
    names = [node for node in earlier if recorder.changed[step] in map(_storage, _tensors(recorder.env[node]))]
    return any(node.op == "get_attr" or any(order[user] > order[step] for user in node.users) for node in names)
