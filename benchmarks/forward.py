"""Would linear bounds that are carried forward pay, beside those that go backward? Widths and times on networks of both kinds.

    OMP_NUM_THREADS=1 python benchmarks/forward.py

Forward: every value has a linear function of the input below it and one above it, pushed through layer after layer (Zhang et
al. 2018 in reverse; the forward mode of Xu et al. 2020). A value of n elements carries 2 n n0 coefficients, n0 the input's
elements, so few inputs and many outputs are its best case. It is written here in plain float64 for affine layers and ReLUs,
without a charge for rounding, which favours it. Writes results/forward.json.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from measuring import surroundings, timed
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.arithmetic import REAL
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import Graph, Node, capture
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.relaxations.piecewise import piecewise_linear_lines
from neurocert.perturbations.balls import LinfBall

RESULTS = Path(__file__).parent / "results" / "forward.json"
SAMPLES, REPEATS = 4, 3
Pair = tuple[Tensor, Tensor]
"""Coefficients (B, n0, *shape) and constants (B, *shape)."""


def dense(*widths: int) -> nn.Module:
    """Linear layers with ReLUs between them."""
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def convolutional(side: int, channels: int, outputs: int) -> nn.Module:
    """Three convolutions and a linear layer, with ReLUs between them."""
    return nn.Sequential(
        *(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(channels * side**2, outputs)),
    )


CASES: dict[str, tuple[Any, tuple[int, ...], float]] = {
    "8 inputs, 1000 outputs: 8-256-256-1000": (lambda: dense(8, 256, 256, 1000), (8,), 0.05),
    "the same, wider set": (lambda: dense(8, 256, 256, 1000), (8,), 0.5),
    "8 inputs, deep: 8-256-256-256-256-1000": (lambda: dense(8, 256, 256, 256, 256, 1000), (8,), 0.2),
    "64 inputs, 10 outputs: 64-256-256-10": (lambda: dense(64, 256, 256, 10), (64,), 0.05),
    "3 convolutions of 4x4 inputs, 100 outputs": (lambda: convolutional(4, 16, 100), (1, 4, 4), 0.1),
    "3 convolutions of 8x8 inputs, 10 outputs": (lambda: convolutional(8, 16, 10), (1, 8, 8), 0.02),
}


def push(layer: nn.Module, below: Pair, above: Pair, bounds: Interval) -> tuple[Pair, Pair]:
    """Through one layer; ``bounds`` are those of its input."""
    if isinstance(layer, nn.ReLU):
        lines = piecewise_linear_lines(torch.relu, (0.0,), bounds.lower, bounds.upper)
        low, high = lines.below.at_centre, lines.above.at_centre
        return (
            (low.slope[:, None] * below[0], low.slope * below[1] + low.offset),
            (high.slope[:, None] * above[0], high.slope * above[1] + high.offset),
        )
    if isinstance(layer, nn.Flatten):
        return (below[0].flatten(2), below[1].flatten(1)), (above[0].flatten(2), above[1].flatten(1))
    sides = []
    for one, other in ((below, above), (above, below)):
        coefficients = affine(layer, one[0].flatten(0, 1), 1, None) + affine(layer, other[0].flatten(0, 1), -1, None)
        constant = affine(layer, one[1], 1, layer.bias) + affine(layer, other[1], -1, None)  # type: ignore[arg-type]
        sides.append((coefficients.unflatten(0, one[0].shape[:2]), constant))
    return sides[0], sides[1]


def affine(layer: nn.Module, x: Tensor, sign: int, bias: Any) -> Tensor:
    """By the weights of one sign."""
    weight: Tensor = layer.weight.clamp(min=0) if sign > 0 else layer.weight.clamp(max=0)  # type: ignore[union-attr, operator, assignment]
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight, bias, layer.stride, layer.padding)  # type: ignore[arg-type]


def concretised(side: Pair, box: Interval, sign: int) -> Tensor:
    """The least (sign 1) or greatest (-1) value of a linear function over the box."""
    a = side[0].flatten(2)
    centre, radius = box.centre.flatten(1)[:, None], box.radius.flatten(1)[:, None]
    return side[1] + (centre @ a.flatten(2) - sign * radius @ a.abs())[:, 0].unflatten(1, side[1].shape[1:])


class Carried(Propagation):
    """Intervals that are also intersected with linear bounds carried forward, which here read the intervals as refined so far."""

    def __init__(self, graph: Graph, inputs: InputSet, *, refine: bool) -> None:
        box = Interval(*inputs.ball.box(inputs.centres))
        numel = box.lower[0].numel()
        identity = torch.eye(numel, dtype=torch.float64).expand(len(box.lower), numel, numel).unflatten(2, box.lower.shape[1:])
        self.box, self.below, self.above = box, (identity, torch.zeros_like(box.lower)), (identity, torch.zeros_like(box.lower))
        super().__init__(graph, inputs, REAL, refine=refine)

    def _forward(self, node: Node) -> None:
        super()._forward(node)
        self.below, self.above = push(node.layer, self.below, self.above, self.bounds[node.inputs[0]])  # type: ignore[arg-type]
        lower, upper = concretised(self.below, self.box, 1), concretised(self.above, self.box, -1)
        self.bounds[node.outputs[0]] = self.bounds[node.outputs[0]].intersected(lower, upper)


def undecided(propagation: Propagation) -> int:
    """Inputs of ReLUs that may have either sign, in all samples."""
    ends = [propagation.bounds[node.inputs[0]] for node in propagation.graph.nodes if isinstance(node.layer, nn.ReLU)]
    return sum(int(((bounds.lower < 0) & (bounds.upper > 0)).sum()) for bounds in ends)


def outputs(propagation: Propagation, graph: Graph) -> Interval:
    """Of every output, by backward passes over the bounds there are, intersected with these."""
    known = propagation.bounds[graph.output]
    unit = torch.eye(graph.shape(graph.output)[0], dtype=torch.float64)[:, None]
    lower, upper = (sign * propagation.lower(graph.output, sign * unit).T for sign in (1, -1))
    return known.intersected(lower, upper)


@torch.no_grad()
def measure(name: str) -> dict[str, Any]:
    """Width, undecided ReLUs and seconds of every way."""
    make, shape, epsilon = CASES[name]
    torch.manual_seed(0)
    network = make().eval()
    graph, inputs = capture(network, shape), InputSet(LinfBall(epsilon), torch.rand(SAMPLES, *shape))

    def engine(*, refine: bool) -> Propagation:
        return Propagation(graph, inputs, REAL, refine=refine)

    ways = {
        "intervals": lambda: (engine(refine=False), False),
        "forward": lambda: (Carried(graph, inputs, refine=False), False),
        "backward over intervals": lambda: (engine(refine=False), True),
        "backward over forward": lambda: (Carried(graph, inputs, refine=False), True),
        "backward over backward": lambda: (engine(refine=True), True),
        "backward over both": lambda: (Carried(graph, inputs, refine=True), True),
    }
    return {way: row(*timed(lambda make=make: bounded(*make()), REPEATS)) for way, make in ways.items()}


def bounded(propagation: Propagation, backward: bool) -> tuple[Interval, int]:
    """(bounds of the outputs, undecided ReLUs)."""
    return outputs(propagation, propagation.graph) if backward else propagation.bounds[propagation.graph.output], undecided(propagation)


def row(found: tuple[Interval, int], seconds: float) -> dict[str, Any]:
    """As stored."""
    bounds, count = found
    return {"width": float((bounds.upper - bounds.lower).mean()), "undecided": count, "seconds": seconds}


def main() -> None:
    """Runs all cases."""
    result = {"surroundings": surroundings(), "samples": SAMPLES, "cases": {name: measure(name) for name in CASES}}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, ways in result["cases"].items():  # type: ignore[union-attr]
        sys.stdout.write(f"{name}\n")
        for way, found in ways.items():
            sys.stdout.write(f"  {way:26} width {found['width']:9.4f}  {found['undecided']:6} undecided {found['seconds']:8.4f} s\n")


if __name__ == "__main__":
    main()
