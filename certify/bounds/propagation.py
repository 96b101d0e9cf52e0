"""The two traversals over a captured graph: intervals forward, linear lower bounds backward."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import Arithmetic, own_radius
from neurocert.certify.bounds.graph import Graph, Node, Value
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.registry import Rounding, Rule, rule_for
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.errors import NumericalFailure
from neurocert.perturbations.sets import Ball
from neurocert.perturbations.weights import WeightBox, WeightSet

MEMORY_BUDGET = 8 * 2**20
"""Bytes that the largest coefficient tensor of a backward pass may take; more rows are processed in turn. What fits into a
processor's cache is twice as fast as what does not (benchmarks/peers.py, the convolution net)."""
CONSTANT_SLACK = 1e-12
"""Relative slack on a sum of constants, one of each node: far above its float64 rounding for any graph that fits in memory."""


@dataclass(frozen=True)
class InputSet:
    """The set of inputs that a propagation covers: one ball for each sample, and a set of weights for all of them."""

    ball: Ball
    centres: Tensor
    weights: WeightSet | None = None

    @property
    def weight_set(self) -> WeightSet:
        """The set of weights; that of none that move, where none is given."""
        return WeightBox() if self.weights is None else self.weights


@dataclass
class Mixes:
    """The mixes of one backward pass, by node; each is made, at 0, when its node is first met."""

    values: dict[str, Tensor] = field(default_factory=dict)

    def of(self, node: Node, rows: int, batch: int) -> Tensor:
        """(rows, batch, *shape of the node's first output)."""
        if node.name not in self.values:
            self.values[node.name] = torch.zeros(rows, batch, *node.shapes[0], dtype=torch.float64, requires_grad=True)
        return self.values[node.name]


class Propagation:
    """Bounds of every value of a graph over an input set.

    Args:
        graph: the captured network.
        inputs: what the input ranges over.
        arithmetic: whose rounding the bounds must cover.
        refine: tighten intervals by linear bounds wherever a linear rule depends on them.

    Raises:
        NumericalFailure: a bound that is not finite or not ordered.
    """

    def __init__(self, graph: Graph, inputs: InputSet, arithmetic: Arithmetic, *, refine: bool) -> None:
        self.graph, self.inputs, self.arithmetic = graph, inputs, arithmetic
        self.bounds: dict[Value, Interval] = {graph.input: Interval(*inputs.ball.box(inputs.centres))}
        for parameter in graph.parameters:
            ends = inputs.weight_set.box(parameter.name, parameter.centre)
            self.bounds[parameter.value] = Interval(*(end.expand(len(inputs.centres), *end.shape) for end in ends))
        self._charges: dict[Value, Tensor] = {}
        self._relaxations: dict[str, Any] = {}
        self._largest = max([graph.input_shape.numel(), *(sum(shape.numel() for shape in node.shapes) for node in graph.nodes)])
        self._largest = max([self._largest, *(parameter.centre.numel() for parameter in graph.parameters)])
        for index, node in enumerate(graph.nodes):
            if refine:
                self._refine(node, index)
            self._forward(node)

    def lower(self, value: Value, coefficients: Tensor, *, affine_only: bool = False) -> Tensor:
        """A lower bound of ``coefficients . value`` over the input set.

        Args:
            value: which.
            coefficients: float64 (R, B or 1, *shape).
            affine_only: go back through affine layers only and use the intervals there (interval method).

        Returns:
            Float64 (R, B), rounded down.
        """
        chunks = [self.backward(value, chunk, affine_only=affine_only) for chunk in coefficients.split(self.rows_at_once)]
        return torch.cat(chunks)

    @property
    def rows_at_once(self) -> int:
        """How many rows of coefficients a backward pass may take within the memory budget."""
        return max(1, MEMORY_BUDGET // (8 * len(self.inputs.centres) * self._largest))

    def _forward(self, node: Node) -> None:
        rule = _rule(node)
        inputs = tuple(self.bounds[value] for value in node.inputs)
        boxes, roundings = rule.interval(node.layer, inputs), rule.rounding(node.layer, inputs)
        for value, (lower, upper), rounding in zip(node.outputs, boxes, roundings, strict=True):
            network, own = self._radii(rounding, 0)
            radius = network + own
            self.bounds[value] = Interval(lower - radius, upper + radius)

    def _charge(self, node: Node, value: Value) -> Tensor:
        """What the rounding of a node's output, and ours of its relaxation, may take from a bound, for a coefficient of 1."""
        if value not in self._charges:
            roundings = _rule(node).rounding(node.layer, tuple(self.bounds[source] for source in node.inputs))
            longest = max(shape.numel() for shape in (*node.shapes, *(self.graph.shape(source) for source in node.inputs)))
            for output, rounding in zip(node.outputs, roundings, strict=True):
                self._charges[output] = sum(self._radii(rounding, longest + 8), start=torch.zeros((), dtype=torch.float64))
        return self._charges[value]

    def _radii(self, rounding: Rounding, extra: int) -> tuple[Tensor, Tensor]:
        """(the network's, our own) rounding of a value; ``extra`` counts our own further operations on it."""
        operations = rounding.operations + extra
        return self.arithmetic.radius(rounding.operations, rounding.magnitude), own_radius(operations, rounding.magnitude)

    def _refine(self, node: Node, index: int) -> None:
        rule = _rule(node)
        if rule.refine is None:
            return
        wanted = rule.refine(node.layer, tuple(self.bounds[value] for value in node.inputs))
        for value, mask in zip(node.inputs, wanted, strict=True):
            if mask is not None and self._refinable(value):
                self._tighten(value, mask)

    def _refinable(self, value: Value) -> bool:
        """Whether linear bounds can beat this value's interval: some layer before it has lost how its inputs depend on one another."""
        node = self.graph.node(value)
        if node is None:
            return False
        rule = _rule(node)
        if rule.loses:
            return not (len(node.inputs) == 1 and self._independent(node.inputs[0]))
        return any(self._refinable(source) for source in node.inputs)

    def _independent(self, value: Value) -> bool:
        """Whether the elements of this value range over exactly its box, each on its own."""
        node = self.graph.node(value)
        if node is None:
            return value == self.graph.input and self.inputs.ball.independent
        return len(node.inputs) == 1 and not _rule(node).loses and len(node.shapes) == 1 and self._independent(node.inputs[0])

    def _tighten(self, value: Value, mask: Tensor) -> None:
        """Intersects the interval of the elements of ``mask`` (B, *shape) with linear bounds."""
        elements = mask.flatten(1).any(0).nonzero()[:, 0]
        if not len(elements):
            return
        shape = self.graph.shape(value)
        unit = torch.zeros(len(elements), 1, shape.numel(), dtype=torch.float64)
        unit[torch.arange(len(elements)), 0, elements] = 1.0
        both = torch.cat([unit, -unit]).unflatten(2, shape)
        below, above = self.lower(value, both).chunk(2)
        current = self.bounds[value]
        lower, upper = current.lower.flatten(1).clone(), current.upper.flatten(1).clone()
        lower[:, elements] = torch.maximum(lower[:, elements], below.T)
        upper[:, elements] = torch.minimum(upper[:, elements], -above.T)
        self.bounds[value] = Interval(lower.reshape(current.lower.shape), upper.reshape(current.upper.shape))

    def backward(self, value: Value, coefficients: Tensor, mixes: Mixes | None = None, *, affine_only: bool = False) -> Tensor:
        """One backward pass over all rows; see ``lower``.

        Args:
            mixes: leans the relaxations' slopes; see ``Rule.mixes``.
        """
        position = next((index for index, node in enumerate(self.graph.nodes) if node.name == value.node), -1)
        pending: dict[Value, Tensor] = {value: coefficients}
        total = torch.zeros(coefficients.shape[0], len(self.inputs.centres), dtype=torch.float64)
        size = total.clone()
        for node in reversed(self.graph.nodes[: position + 1]):
            outputs = tuple(pending.pop(output, None) for output in node.outputs)
            if all(a is None for a in outputs):
                continue
            rule = _rule(node)
            if affine_only and not rule.affine:
                terms = [self._over_interval(output, a) for output, a in zip(node.outputs, outputs, strict=True) if a is not None]
            else:
                terms = self._through(node, rule, outputs, pending, mixes)
            for term in terms:
                total, size = total + term, size + term.abs()
        if self.graph.input in pending:
            term = self.inputs.ball.minimise_linear(pending[self.graph.input], self.inputs.centres)
            total, size = total + term, size + term.abs()
        used = [parameter for parameter in self.graph.parameters if parameter.value in pending]
        if used:
            on_weights = {parameter.name: pending[parameter.value] for parameter in used}
            term = self.inputs.weight_set.minimise_linear(on_weights, {parameter.name: parameter.centre for parameter in used})
            total, size = total + term, size + term.abs()
        result = total - CONSTANT_SLACK * size
        if bool(torch.isnan(result).any()) or bool(torch.isposinf(result).any()):
            raise NumericalFailure("a linear bound is not a number")
        return result

    def _through(
        self, node: Node, rule: Rule, outputs: tuple[Tensor | None, ...], pending: dict[Value, Tensor], mixes: Mixes | None
    ) -> list[Tensor]:
        """Moves coefficients from a node's outputs to its inputs; returns what that adds to the bound."""
        if node.name not in self._relaxations:
            self._relaxations[node.name] = rule.relax(node.layer, tuple(self.bounds[source] for source in node.inputs))
        lean = ()
        if mixes is not None and rule.mixes:
            rows = next(len(a) for a in outputs if a is not None)
            lean = (mixes.of(node, rows, len(self.inputs.centres)),)
        back, constant = rule.linear(node.layer, self._relaxations[node.name], outputs, *lean)
        terms = [constant]
        terms += [-dot(a.abs(), self._charge(node, output)) for output, a in zip(node.outputs, outputs, strict=True) if a is not None]
        for source, a in zip(node.inputs, back, strict=True):
            if a is None:
                continue
            summed = source in pending
            pending[source] = pending[source] + a if summed else a
            if summed or not rule.affine:
                terms.append(-dot(pending[source].abs(), self._own_charge(source)))
        return terms

    def _over_interval(self, value: Value, a: Tensor) -> Tensor:
        """A lower bound of a . value over its interval."""
        bounds = self.bounds[value]
        linear = dot(a.clamp(min=0), bounds.lower) + dot(a.clamp(max=0), bounds.upper)
        return linear - dot(a.abs(), self._own_charge(value))

    def _own_charge(self, value: Value) -> Tensor:
        bounds = self.bounds[value]
        return own_radius(bounds.lower[0].numel() + 8, bounds.magnitude)


def _rule(node: Node) -> Rule:
    rule = rule_for(node.layer)
    assert rule is not None, "capture refuses layers without a rule"
    return rule
