"""Bounds against what the network computes: any point inside the set that leaves them is a violation. No tolerance.

A network of float32 weights is checked under "float32", one of float64 weights under "float64", so the comparison is
between what is claimed and what is computed, rounding included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import Arithmetic, arithmetic
from neurocert.certify.bounds.backward import InputSet, Mixes
from neurocert.certify.bounds.graph import Graph, capture
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import OVERHEAD, Propagation
from neurocert.certify.bounds.weights import with_uncertain_weights
from neurocert.perturbations.balls import Ball, NormBall
from neurocert.perturbations.weights import Weights, WeightSet

POINTS = 12
CHOICES = 2
DESCENTS = 3
NAMES = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True)
class Violation:
    """A computed output outside a bound.

    Attributes:
        bounds: which, such as "linear, refined".
        output: flat index of the output.
        sample: position in the batch.
        computed: what the network computes.
        bound: what was claimed.
    """

    bounds: str
    output: int
    sample: int
    computed: float
    bound: float

    def __str__(self) -> str:
        return f"{self.bounds}: output {self.output} of sample {self.sample} is {self.computed!r}, claimed bound {self.bound!r}"


def violations(network: nn.Module, centres: Tensor, ball: Ball, *, weights: WeightSet | None = None, seed: int = 0) -> list[Violation]:
    """Every bound of every output that a tried point breaks; none for sound rules.

    Bounds: interval; linear on interval and on refined bounds; linear with random mixes; each of the graph as captured
    and as simplified. Points: the centre, random points, corners, and those found by descent on each output. Where weights
    are uncertain, all of these with each of several weights of the set.

    Args:
        network: in evaluation mode, one tensor in, one out.
        centres: (B, *shape), in the network's dtype.
        ball: the perturbation set.
        weights: what the weights may be; None for those that the network has.
        seed: of the points.
    """
    with torch.no_grad():
        lowest, highest = extremes(network, centres, ball, seed, weights)
        return [
            Violation(name, output, sample, float(computed), float(bound))
            for name, lower, upper in all_bounds(network, centres, ball, seed, weights)
            for computed, bound, broken in ((lowest, lower, lowest < lower), (highest, upper, highest > upper))
            for sample, output, computed, bound in _where(broken, computed, bound)
        ]


def conforms(network: nn.Module, centres: Tensor, ball: Ball, *, seed: int = 0) -> None:
    """Checks containment, inclusion, points and batching.

    Raises:
        AssertionError: with everything that is wrong.
    """
    problems = [str(violation) for violation in violations(network, centres, ball, seed=seed)]
    problems += _ill_behaved(network, centres, ball)
    if problems:
        raise AssertionError(f"{len(problems)} violations, first: " + "; ".join(problems[:5]))


def extremes(network: nn.Module, centres: Tensor, ball: Ball, seed: int, weights: WeightSet | None = None) -> tuple[Tensor, Tensor]:
    """(least, greatest) of each output over all points tried: float64 (B, outputs)."""
    lowest = highest = network(centres).flatten(1).double()
    for changed, point in product(_weights(network, centres, weights, seed), (centres, *_points(network, centres, ball, seed))):
        outputs = torch.func.functional_call(network, changed, (point,)).flatten(1).double()
        lowest, highest = torch.minimum(lowest, outputs), torch.maximum(highest, outputs)
    return lowest, highest


def all_bounds(
    network: nn.Module, centres: Tensor, ball: Ball, seed: int, weights: WeightSet | None = None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name, lower, upper) of every way to bound the outputs: float64 (B, outputs)."""
    meant = arithmetic_of(network, centres)
    captured = capture(network, tuple(centres.shape[1:]))
    uncertain = () if weights is None else weights.parameters(network)
    for form, known, overhead in (("captured", captured, 0), ("simplified", simplify(captured, meant), OVERHEAD)):
        graph = with_uncertain_weights(known, uncertain)
        for refine in (False, True):
            bounds = Propagation(graph, InputSet(ball, centres, weights), meant, refine=refine, overhead=overhead)
            how = f"refined{' in small windows' * (not overhead)}" if refine else "plain"
            box, name = bounds.bounds[graph.output], f"{form} graph, {how}"
            yield f"interval, {name}", box.lower.flatten(1), box.upper.flatten(1)
            yield f"linear, {name}", *_both(bounds, graph, None)
            yield f"linear with random mixes, {name}", *_both(bounds, graph, seed)


def arithmetic_of(network: nn.Module, centres: Tensor) -> Arithmetic:
    """The arithmetic in which the network runs."""
    dtypes = {parameter.dtype for parameter in network.parameters()} or {centres.dtype}
    return arithmetic(NAMES[next(iter(dtypes))])


def _both(bounds: Propagation, graph: Graph, seed: int | None) -> tuple[Tensor, Tensor]:
    shape = graph.shape(graph.output)
    unit = torch.eye(shape.numel(), dtype=torch.float64)[:, None].unflatten(2, shape)
    mixes = [None if seed is None else _random_mixes(bounds, graph, unit, seed) for _ in range(2)]
    lower, upper = bounds.backward(graph.output, unit, mixes[0]), -bounds.backward(graph.output, -unit, mixes[1])
    return lower.T, upper.T


def _random_mixes(bounds: Propagation, graph: Graph, unit: Tensor, seed: int) -> Mixes:
    mixes, generator = Mixes(), torch.Generator().manual_seed(seed)
    bounds.backward(graph.output, unit, mixes)
    for mix in mixes.values.values():
        mix.copy_(torch.rand(mix.shape, generator=generator, dtype=mix.dtype) * 2 - 1)
    return mixes


def _weights(network: nn.Module, centres: Tensor, weights: WeightSet | None, seed: int) -> list[Weights]:
    """Weights to try: the network's own, extreme and other random ones of the set, and those against the first output's gradient."""
    if weights is None:
        return [{}]
    generator = torch.Generator().manual_seed(seed)
    found = [{}, *(choose(network, generator) for _ in range(CHOICES) for choose in (weights.extreme, weights.sample))]
    leaves = {name: value.detach().clone().requires_grad_() for name, value in weights.parameters(network).items()}
    with torch.enable_grad():
        value = torch.func.functional_call(network, leaves, (centres[:1],)).flatten()[0]
        given = torch.autograd.grad(value, list(leaves.values()), allow_unused=True) if value.requires_grad else [None] * len(leaves)
    along = {name: torch.zeros_like(leaf) if g is None else g for (name, leaf), g in zip(leaves.items(), given, strict=True)}
    return [*found, *(weights.corner({name: sign * g for name, g in along.items()}, network) for sign in (1, -1))]


def _points(network: nn.Module, centres: Tensor, ball: Ball, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(POINTS):
        yield ball.sample(centres, generator)
        signs = torch.randint(0, 2, centres.shape, generator=generator).to(centres.dtype) * 2 - 1
        yield ball.project(centres + ball.epsilon * signs, centres)
    with torch.enable_grad():
        outputs = network(centres[:1]).numel()
    for output in range(min(outputs, DESCENTS)):
        for sign in (1, -1):
            yield from _descent(network, centres, ball, output, sign)


def _descent(network: nn.Module, centres: Tensor, ball: Ball, output: int, sign: int) -> Iterator[Tensor]:
    """A few steps along the gradient of one output, where it has one."""
    point = centres
    for _ in range(3):
        with torch.enable_grad():
            start = point.detach().clone().requires_grad_()
            value = sign * network(start).flatten(1)[:, output].sum()
            if not value.requires_grad:
                return
            (gradient,) = torch.autograd.grad(value, start, allow_unused=True)
        if gradient is None:
            return
        point = ball.project(point + ball.step(gradient, ball.epsilon), centres)
        yield point


def _where(broken: Tensor, computed: Tensor, bound: Tensor) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    for sample, output in broken.nonzero().tolist():
        yield sample, output, computed[sample, output], bound[sample, output]


def _interval(graph: Graph, centres: Tensor, ball: Ball, meant: Arithmetic) -> Tensor:
    """(2, B, outputs)."""
    with torch.no_grad():
        box = Propagation(graph, InputSet(ball, centres), meant, refine=False).bounds[graph.output]
    return torch.stack([box.lower.flatten(1), box.upper.flatten(1)])


def _ill_behaved(network: nn.Module, centres: Tensor, ball: Ball) -> Iterator[str]:
    """Interval bounds of a smaller set lie within those of a larger one, and a sample's do not depend on its company, but for rounding."""
    meant = arithmetic_of(network, centres)
    graph = simplify(capture(network, tuple(centres.shape[1:])), meant)
    together = _interval(graph, centres, ball, meant)
    if isinstance(ball, NormBall):
        (inner_lower, inner_upper), (lower, upper) = _interval(graph, centres, replace(ball, epsilon=ball.epsilon / 2), meant), together
        slack = 1e-9 * (1 + lower.abs() + upper.abs())  # the larger set's own rounding may be rounded the other way
        if bool((inner_lower < lower - slack).any()) or bool((inner_upper > upper + slack).any()):
            yield "interval bounds of a smaller set leave those of a larger one"
    alone = torch.cat([_interval(graph, centre[None], ball, meant) for centre in centres], 1)
    if not torch.allclose(together, alone, rtol=1e-6, atol=1e-9):
        yield "bounds of a batch differ from those of its samples"
