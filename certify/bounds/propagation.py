"""The two traversals over a captured graph: intervals forward, tightened by linear bounds where that helps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import Arithmetic
from neurocert.certify.bounds.backward import Backward, InputSet
from neurocert.certify.bounds.graph import Graph, Node, Value
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Rounding, Rule, rule_for
from neurocert.certify.bounds.window import Window, tiles
from neurocert.certify.deadline import NEVER, Deadline

MEMORY_BUDGET = 8 * 2**20
"""Bytes that the largest coefficient tensor of a backward pass may take; more rows are processed in turn. What fits into a
processor's cache is twice as fast as what does not (benchmarks/peers.py, the convolution net)."""
ROWS_AT_LEAST = 256
"""Rows that a backward pass may take at least before samples are processed in turn: what one sample needs no other pays for."""
TILE_SIZES = (1, 2, 4, 8)
OVERHEAD = 30_000


@dataclass(frozen=True)
class Plan:
    """How the elements of a value are tightened: tile by tile, some samples at a time.

    Attributes:
        windows: one pass or more for each; None is everything.
        largest: coefficients of a row on the value that has most.
    """

    windows: tuple[Window | None, ...]
    largest: int


class Propagation:
    """Bounds of every value of a graph over an input set.

    Args:
        graph: the captured network.
        inputs: what the input ranges over.
        arithmetic: whose rounding the bounds must cover.
        refine: tighten intervals by linear bounds wherever a linear rule depends on them.
        overhead: what meeting a node costs in a backward pass, in coefficients that could have been computed in that time; 0
            takes the smallest windows.
        deadline: of all that is asked of it.

    Raises:
        OutOfTime: the deadline has passed.
        NumericalFailure: a bound that is not finite or not ordered.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: InputSet,
        arithmetic: Arithmetic,
        *,
        refine: bool,
        overhead: int = OVERHEAD,
        deadline: Deadline = NEVER,
    ) -> None:
        self.graph, self.inputs, self.arithmetic, self._overhead = graph, inputs, arithmetic, overhead
        self.bounds: dict[Value, Interval] = {graph.input: Interval(*inputs.ball.box(inputs.centres))}
        for parameter in graph.parameters:
            ends = inputs.weight_set.box(parameter.name, parameter.centre)
            self.bounds[parameter.value] = Interval(*(end.expand(len(inputs.centres), *end.shape) for end in ends))
        self.backward = Backward(graph, inputs, arithmetic, self.bounds, deadline)
        self._some: dict[tuple[int, int], Backward] = {}
        self._tightened: dict[Value, Tensor] = {}
        self._largest = max([graph.input_shape.numel(), *(sum(shape.numel() for shape in node.shapes) for node in graph.nodes)])
        self._largest = max([self._largest, *(parameter.centre.numel() for parameter in graph.parameters)])
        for node in graph.nodes:
            deadline.check()
            if refine:
                self._refine(node)
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
        return _rows(len(self.inputs.centres), self._largest)

    def _forward(self, node: Node) -> None:
        rule = _rule(node)
        inputs = tuple(self.bounds[value] for value in node.inputs)
        boxes, roundings = rule.interval(node.layer, inputs), rule.rounding(node.layer, inputs)
        for value, box, rounding in zip(node.outputs, boxes, roundings, strict=True):
            self.bounds[value] = self._widened(box, rounding)

    def _widened(self, box: Box, rounding: Rounding | None) -> Interval:
        """By the network's rounding and by ours."""
        if rounding is None or not rounding.operations:
            return Interval(*box)
        radius = self.arithmetic.radius(rounding.operations, rounding.magnitude, rounding.operations)
        return Interval(box[0] - radius, box[1] + radius)

    def _refine(self, node: Node) -> None:
        rule = _rule(node)
        if rule.refine is None:
            return
        wanted = rule.refine(node.layer, tuple(self.bounds[value] for value in node.inputs))
        for value, mask in zip(node.inputs, wanted, strict=True):
            if mask is None or not self._refinable(value):
                continue
            done = self._tightened.get(value)
            if bool((missing := mask if done is None else mask & ~done).any()):  # what comes before has not changed since
                self._tighten(value, missing)
                self._tightened[value] = missing if done is None else missing | done

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
        current, batch = self.bounds[value], len(mask)
        lower, upper = current.lower.clone(), current.upper.clone()
        plan = self._plan(value, mask)
        together = max(1, min(batch, MEMORY_BUDGET // (8 * plan.largest * min(ROWS_AT_LEAST, 2 * _union(mask)))))
        for start in range(0, batch, together):
            samples = slice(start, min(start + together, batch))
            for window in plan.windows:
                self._tighten_part(value, mask[samples], samples, window, plan.largest, (lower[samples], upper[samples]))
        self.bounds[value] = Interval(lower, upper)

    def _tighten_part(
        self, value: Value, mask: Tensor, samples: slice, window: Window | None, largest: int, ends: tuple[Tensor, Tensor]
    ) -> None:
        """Tightens ``ends`` (samples, *shape) in place, in one window."""
        lower, upper = ends if window is None else (_view(end, window) for end in ends)
        wanted = mask if window is None else _view(mask, window)
        chosen = wanted.flatten(1).any(0).nonzero()[:, 0]
        if not len(chosen):
            return
        unit = torch.zeros(len(chosen), 1, wanted[0].numel(), dtype=torch.float64)
        unit[torch.arange(len(chosen)), 0, chosen] = 1.0
        rows = torch.cat([unit, -unit]).unflatten(2, wanted.shape[1:]).split(_rows(len(mask), largest))
        backward = self._for(samples)
        below, above = torch.cat([backward(value, chunk, window=window) for chunk in rows]).chunk(2)
        backward.forget_windows()
        places = torch.unravel_index(chosen, wanted.shape[1:])
        lower[:, *places] = torch.maximum(lower[:, *places], below.T)
        upper[:, *places] = torch.minimum(upper[:, *places], -above.T)

    def _for(self, samples: slice) -> Backward:
        if samples == slice(0, len(self.inputs.centres)):
            return self.backward
        return self._some.setdefault((samples.start, samples.stop), self.backward.of(samples))

    def _plan(self, value: Value, mask: Tensor) -> Plan:
        """The cheapest way: small windows have few coefficients in a row, but each is a pass of its own."""
        shape, rows = self.graph.shape(value), 2 * _union(mask) * len(mask)
        sizes = self.backward.reach(value, None)
        best, least = Plan((None,), max(sizes)), self._overhead * len(sizes) + rows * sum(sizes)
        if len(shape) != 3:
            return best
        for size in TILE_SIZES:
            windows = tuple(tiles(shape, size))
            sizes = self.backward.reach(value, windows[len(windows) // 2])
            cost = self._overhead * len(sizes) * len(windows) + rows * sum(sizes)
            if len(windows) > 1 and cost < least:
                best, least = Plan(windows, max(sizes)), cost
        return best


def _rows(batch: int, largest: int) -> int:
    return max(1, MEMORY_BUDGET // (8 * batch * largest))


def _union(mask: Tensor) -> int:
    """How many elements some sample needs."""
    return int(mask.flatten(1).any(0).sum())


def _view(x: Tensor, window: Window) -> Tensor:
    return x[..., window.top : window.bottom, window.left : window.right]


def _rule(node: Node) -> Rule:
    rule = rule_for(node.layer)
    assert rule is not None, "capture refuses layers without a rule"
    return rule
