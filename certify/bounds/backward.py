"""Linear lower bounds by going backward through a graph, for some samples and for all or a window of each value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import Arithmetic, own_radius
from neurocert.certify.bounds.graph import Graph, Node, Value
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.registry import Inputs, Rounding, Rule, rule_for
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.window import Window, whole
from neurocert.certify.deadline import NEVER, Deadline
from neurocert.certify.errors import NumericalFailure
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall
from neurocert.perturbations.weights import WeightBox, WeightSet

CONSTANT_SLACK = 1e-12
"""Relative slack on a sum of constants, one of each node: far above its float64 rounding for any graph that fits in memory."""
ALIKE_EVERYWHERE = (LinfBall, L2Ball, L1Ball)
"""Balls that treat all elements alike, so that a part of an input has the ball of the same radius."""

Part = tuple[Window | None, Tensor]
"""Coefficients (R, B or 1, *shape) on a window of a value, or on all of it."""


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

    def of(self, samples: slice) -> InputSet:
        return replace(self, centres=self.centres[samples])

    def minimise_linear(self, window: Window | None, a: Tensor) -> Tensor:
        """A lower bound (R, B) of a . x over the ball, where ``a`` holds the coefficients of a window."""
        if window is None:
            return self.ball.minimise_linear(a, self.centres)
        inside = whole(self.centres.shape[1:])
        if type(self.ball) in ALIKE_EVERYWHERE:
            return self.ball.minimise_linear(a, window.take(self.centres, inside))
        return self.ball.minimise_linear(inside.take(a, window), self.centres)


@dataclass
class Mixes:
    """The mixes of one backward pass, by node; each is made, at 0, when its node is first met."""

    values: dict[str, Tensor] = field(default_factory=dict)

    def of(self, node: Node, rows: int, batch: int) -> Tensor:
        """(rows, batch, *shape of the node's first output)."""
        if node.name not in self.values:
            self.values[node.name] = torch.zeros(rows, batch, *node.shapes[0], dtype=torch.float64, requires_grad=True)
        return self.values[node.name]


class Backward:
    """Backward passes over one set of samples. Relaxations and charges are kept from pass to pass.

    Args:
        bounds: of the values that come before those asked about; read when first needed.
        deadline: no pass begins after it.
    """

    def __init__(
        self, graph: Graph, inputs: InputSet, arithmetic: Arithmetic, bounds: Mapping[Value, Interval], deadline: Deadline = NEVER
    ) -> None:
        self.graph, self.inputs, self.arithmetic, self.bounds, self.deadline = graph, inputs, arithmetic, bounds, deadline
        self._positions = {node.name: index for index, node in enumerate(graph.nodes)}
        self._charges: dict[Value, Tensor] = {}
        self._relaxations: dict[tuple[str, Window | tuple[int, int] | None], Any] = {}

    def of(self, samples: slice) -> Backward:
        """The same for some of the samples."""
        return Backward(self.graph, self.inputs.of(samples), self.arithmetic, _Slices(self.bounds, samples), self.deadline)

    def forget_windows(self) -> None:
        """Drops what was kept for single windows."""
        self._relaxations = {key: kept for key, kept in self._relaxations.items() if not isinstance(key[1], Window)}

    def __call__(
        self,
        value: Value,
        coefficients: Tensor,
        mixes: Mixes | None = None,
        *,
        window: Window | None = None,
        affine_only: bool = False,
    ) -> Tensor:
        """A lower bound (R, B), rounded down, of ``coefficients . value`` over the input set.

        Args:
            coefficients: float64 (R, B or 1, *shape), or those of a window of the value.
            mixes: leans the relaxations' slopes; see ``Rule.mixes``.
            affine_only: go back through affine layers only and use the intervals there (interval method).

        Raises:
            OutOfTime: the deadline has passed.
            NumericalFailure: a bound that is not a number.
        """
        self.deadline.check()
        pending: dict[Value, Part] = {value: (window, coefficients)}
        terms: list[Tensor] = []
        for node in reversed(self.graph.nodes[: self._positions.get(value.node, -1) + 1]):
            parts = [pending.pop(output, None) for output in node.outputs]
            if all(part is None for part in parts):
                continue
            if affine_only and not _rule(node).affine:
                terms += [self._over_interval(output, part[1]) for output, part in zip(node.outputs, parts, strict=True) if part]
            else:
                terms += self._through(node, parts, pending, mixes)
        if self.graph.input in pending:
            terms += [self.inputs.minimise_linear(*pending[self.graph.input]), self._charged(self.graph.input, *pending[self.graph.input])]
        if read := [parameter for parameter in self.graph.parameters if parameter.value in pending]:
            on_weights = {parameter.name: pending[parameter.value][1] for parameter in read}
            terms.append(self.inputs.weight_set.minimise_linear(on_weights, {parameter.name: parameter.centre for parameter in read}))
            terms += [self._charged(parameter.value, *pending[parameter.value]) for parameter in read]
        return _sum(terms, (coefficients.shape[0], len(self.inputs.centres)))

    def _through(self, node: Node, parts: list[Part | None], pending: dict[Value, Part], mixes: Mixes | None) -> list[Tensor]:
        """Moves coefficients from a node's outputs to its inputs; returns what that adds to the bound."""
        rule, shapes = _rule(node), tuple(self.graph.shape(source) for source in node.inputs)
        window, coefficients = _common(parts, node.shapes)
        found = None if window is None or rule.local is None or mixes is not None else rule.local(node.layer, window, shapes)
        if window is not None and found is None:
            coefficients = [None if a is None else whole(shape).take(a, window) for a, shape in zip(coefficients, node.shapes, strict=True)]
            window = None
        layer, seen = found or (node.layer, None)
        terms = [self._charged(output, window, a) for output, a in zip(node.outputs, coefficients, strict=True) if a is not None]
        lean = ()
        if mixes is not None and rule.mixes:
            lean = (mixes.of(node, next(len(a) for a in coefficients if a is not None), len(self.inputs.centres)),)
        back, constant = rule.linear(layer, self._relaxation(node, layer, window, seen), tuple(coefficients), *lean)
        for source, a in zip(node.inputs, back, strict=True):
            if a is not None:
                _add(pending, source, self.graph.shape(source), seen, a)
        return [*terms, constant]

    def _relaxation(self, node: Node, layer: Any, window: Window | None, seen: Window | None) -> Any:
        """An affine layer's depends on the sizes alone, so one serves all windows of a size."""
        rule = _rule(node)
        key = node.name, window.size if window and rule.affine else window
        if key not in self._relaxations:
            inputs = tuple(self.bounds[source] if seen is None else _seen(self.bounds[source], seen) for source in node.inputs)
            self._relaxations[key] = rule.relax(layer, inputs)
        return self._relaxations[key]

    def _charged(self, value: Value, window: Window | None, a: Tensor) -> Tensor:
        """What rounding may take from a bound by coefficients ``a``, negative: the network's, and ours of what was done to it."""
        charge = self._charge(value)
        return -dot(a.abs(), charge if window is None else window.take(charge, whole(self.graph.shape(value))))

    def _charge(self, value: Value) -> Tensor:
        """(B, *shape), for a coefficient of 1."""
        if value not in self._charges:
            node = self.graph.node(value)
            if node is None:
                self._charges[value] = self._own_charge(value)
                return self._charges[value]
            longest = max(shape.numel() for shape in (*node.shapes, *(self.graph.shape(source) for source in node.inputs)))
            roundings = _rule(node).rounding(node.layer, self._inputs(node))
            for output, declared in zip(node.outputs, roundings, strict=True):
                rounding = declared or Rounding(0, self.bounds[output].magnitude)
                charge = self.arithmetic.radius(rounding.operations, rounding.magnitude, rounding.operations + longest + 8)
                self._charges[output] = charge + self._own_charge(output)
        return self._charges[value]

    def _own_charge(self, value: Value) -> Tensor:
        """For adding up coefficients on a value."""
        bounds = self.bounds[value]
        return own_radius(bounds.lower[0].numel() + 8, bounds.magnitude)

    def _over_interval(self, value: Value, a: Tensor) -> Tensor:
        """A lower bound of a . value over its interval."""
        bounds = self.bounds[value]
        linear = dot(a.clamp(min=0), bounds.lower) + dot(a.clamp(max=0), bounds.upper)
        return linear - dot(a.abs(), self._own_charge(value))

    def _inputs(self, node: Node) -> Inputs:
        return tuple(self.bounds[source] for source in node.inputs)

    def reach(self, value: Value, window: Window | None) -> list[int]:
        """How many coefficients a row has, in turn, on the values that a backward pass from this window meets."""
        windows: dict[Value, Window | None] = {value: window}
        sizes = []
        for node in reversed(self.graph.nodes[: self._positions.get(value.node, -1) + 1]):
            met = [output for output in node.outputs if output in windows]
            if not met:
                continue
            sizes += [_numel(shape, windows[output]) for output, shape in zip(node.outputs, node.shapes, strict=True) if output in windows]
            shapes = tuple(self.graph.shape(source) for source in node.inputs)
            rule, seen = _rule(node), _hull([windows[output] for output in met])
            found = rule.local(node.layer, seen, shapes) if seen is not None and rule.local is not None else None
            for source, shape in zip(node.inputs, shapes, strict=True):
                reached = None if found is None else found[1].within(shape)
                if reached is not None and reached.empty:
                    continue
                windows[source] = _hull([windows[source], reached]) if source in windows else reached
        sizes += [parameter.centre.numel() for parameter in self.graph.parameters]
        return [*sizes, _numel(self.graph.input_shape, windows.get(self.graph.input))]


class _Slices(Mapping[Value, Interval]):
    """Bounds of some samples, cut from those of all when first read."""

    def __init__(self, bounds: Mapping[Value, Interval], samples: slice) -> None:
        self._bounds, self._samples = bounds, samples
        self._cut: dict[Value, tuple[Interval, Interval]] = {}

    def __getitem__(self, value: Value) -> Interval:
        current = self._bounds[value]
        if value not in self._cut or self._cut[value][0] is not current:
            self._cut[value] = current, Interval(current.lower[self._samples], current.upper[self._samples])
        return self._cut[value][1]

    def __iter__(self) -> Iterator[Value]:
        return iter(self._bounds)

    def __len__(self) -> int:
        return len(self._bounds)


def _rule(node: Node) -> Rule:
    rule = rule_for(node.layer)
    assert rule is not None, "capture refuses layers without a rule"
    return rule


def _sum(terms: list[Tensor], shape: tuple[int, int]) -> Tensor:
    total = torch.zeros(shape, dtype=torch.float64)
    size = total.clone()
    for term in terms:
        total, size = total + term, size + term.abs()
    result = total - CONSTANT_SLACK * size
    if bool(torch.isnan(result).any()) or bool(torch.isposinf(result).any()):
        raise NumericalFailure("a linear bound is not a number")
    return result


def _hull(windows: list[Window | None]) -> Window | None:
    """The smallest window around all; None, which is everything, if one of them is."""
    first, *others = windows
    for other in others:
        first = None if first is None or other is None else first.joined(other)
    return first


def _common(parts: list[Part | None], shapes: tuple[torch.Size, ...]) -> tuple[Window | None, list[Tensor | None]]:
    """The coefficients of several outputs on one window."""
    hull = _hull([part[0] for part in parts if part])
    return hull, [part and _on(hull, part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _on(window: Window | None, part: Part, shape: torch.Size) -> Tensor:
    inside, a = part
    return a if inside is None else (window or whole(shape)).take(a, inside)


def _add(pending: dict[Value, Part], source: Value, shape: torch.Size, seen: Window | None, a: Tensor) -> None:
    """Adds coefficients; those on padding are dropped, since it is 0."""
    if seen is not None and seen.within(shape).empty:
        return
    part: Part = (None, a) if seen is None else (seen.within(shape), seen.within(shape).take(a, seen))
    if source in pending:
        hull = _hull([pending[source][0], part[0]])
        part = hull, _on(hull, pending[source], shape) + _on(hull, part, shape)
    pending[source] = part


def _seen(bounds: Interval, window: Window) -> Interval:
    inside = whole(bounds.lower.shape[1:])
    return Interval(window.take(bounds.lower, inside), window.take(bounds.upper, inside))


def _numel(shape: torch.Size, window: Window | None) -> int:
    return shape.numel() if window is None else window.numel(shape)
