"""Our rules as operators of auto_LiRPA.

One operator class serves every layer that has a rule here: intervals forward by the rule's ``interval``, linear bounds
backward by its ``relax`` and ``linear``. auto_LiRPA gives each output of an operator a node of its own, which would tear
a spike from the potential it leaves behind; so a layer with several outputs returns them stacked along dimension 1, and
the joint relaxation sees the coefficients on all of them at once.
"""

from __future__ import annotations

import copy
import importlib
from functools import cache, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.backends.compatibility import library
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.registry import Coefficients, rule_for

DOMAIN = "neurocert"
SHARED_AXIS = 1
"""Along which the outputs of a layer are stacked."""


def with_operators(network: nn.Module, layers: tuple[type[nn.Module], ...]) -> tuple[nn.Module, dict[str, Any]]:
    """A float64 copy of ``network`` whose modules of exactly these classes are operators, and the table of the operators.

    Returns:
        (network, operator name -> what builds its node: the ``custom_ops`` of a ``BoundedModule``).

    Raises:
        InputError: auto_LiRPA is missing.
    """
    double = copy.deepcopy(network).double().requires_grad_(False)
    places = [(path, module) for path, module in double.named_modules() if type(module) in layers]
    operators: dict[str, Any] = {}
    for index, (path, layer) in enumerate(places):
        name = f"{DOMAIN}::Layer{index}"
        parent, _, child = path.rpartition(".")
        setattr(double.get_submodule(parent), child, _Layer(name, layer))
        operators[name] = partial(_node_class(), layer=layer)
    return double, operators


class _Layer(nn.Module):
    """A layer that a trace shows as one operator."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__()
        self.name, self.layer = name, layer
        self.traced = torch.empty(0)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        packed = _Operator.apply(self, *inputs)
        assert isinstance(packed, Tensor)
        return tuple(packed[:, index] for index in range(packed.shape[SHARED_AXIS])) if self.several else packed

    def compute(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The layer's outputs, stacked where there are several; the last result tells the exporter shape and type."""
        outputs = self.layer(*inputs)
        self.several = isinstance(outputs, tuple)
        self.traced = _pack(outputs).detach()
        return self.traced.clone()


class _Operator(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, leaf: _Layer, *inputs: Tensor) -> Tensor:
        return leaf.compute(inputs)

    @staticmethod
    def symbolic(g: Any, leaf: _Layer, *inputs: Any) -> Any:
        return g.op(leaf.name, *inputs).setType(torch._C.TensorType.create_from_tensor(leaf.traced))


@cache
def _node_class() -> type:
    """``LayerBounds`` as one of auto_LiRPA's nodes, whose base class exists only where it is installed."""
    library()
    return type("BoundLayer", (LayerBounds, importlib.import_module("auto_LiRPA.bound_ops").Bound), {})


class LayerBounds:
    """What a node of auto_LiRPA's graph does for one of our layers, by its rule.

    Args:
        arguments: (attributes, input nodes, output index, options), as auto_LiRPA calls its operators.
        layer: with parameters in float64.
    """

    layer: nn.Module

    def __init__(self, *arguments: Any, layer: nn.Module) -> None:
        super().__init__(*arguments)
        rule = rule_for(layer)
        assert rule is not None, "only layers with rules become operators"
        self.rule = rule
        object.__setattr__(self, "layer", layer)  # not a submodule: the 0.7 line would miss its weights in the network's state
        self.requires_input_bounds = [] if rule.affine else list(range(len(arguments[1])))
        self._relaxed: tuple[tuple[tuple[Tensor, Tensor], ...], Any] = ((), None)

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs = self.layer(*inputs)
        self._outputs = len(outputs) if isinstance(outputs, tuple) else 1
        return _pack(outputs)

    def interval_propagate(self, *inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        boxes = self.rule.interval(self.layer, tuple(Interval(lower, upper) for lower, upper in inputs))
        lower, upper = zip(*boxes, strict=True)
        return _pack(lower if len(boxes) > 1 else lower[0]), _pack(upper if len(boxes) > 1 else upper[0])

    def bound_backward(self, last_lA: Tensor | None, last_uA: Tensor | None, *inputs: Any, **_: Any) -> tuple[Any, Any, Any]:  # noqa: N803
        lower, lower_constant = self._below(last_lA, inputs)
        upper, upper_constant = self._below(None if last_uA is None else -last_uA, inputs)
        both = [(a, None if minus is None else -minus) for a, minus in zip(lower, upper, strict=True)]
        return both, lower_constant, -upper_constant

    def _below(self, a: Tensor | None, inputs: Any) -> tuple[Coefficients, Any]:
        """Coefficients on each input and a constant that bound ``a`` times the outputs from below."""
        if a is None:
            return (None,) * len(inputs), 0
        coefficients = a.unbind(1 + SHARED_AXIS) if self._outputs > 1 else (a,)
        return self.rule.linear(self.layer, self._relaxation(inputs), tuple(coefficients))

    def _relaxation(self, inputs: Any) -> Any:
        ends = tuple(self._bounds(node) for node in inputs)
        if len(ends) != len(self._relaxed[0]) or any(a is not b for a, b in zip(chain(*ends), chain(*self._relaxed[0]), strict=True)):
            self._relaxed = ends, self.rule.relax(self.layer, tuple(Interval(lower, upper) for lower, upper in ends))
        return self._relaxed[1]

    def _bounds(self, node: Any) -> tuple[Tensor, Tensor]:
        """Of an input; an affine rule reads nothing of them but the shape."""
        if self.rule.affine:
            zero = torch.zeros(node.output_shape)
            return zero, zero
        return node.lower, node.upper


def _pack(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return torch.stack(outputs, SHARED_AXIS) if isinstance(outputs, tuple) else outputs
