"""Lower bounds of classification margins, by method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import Graph, capture
from neurocert.certify.bounds.optimise import optimised_lower
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.weights import require_weights_followed, with_uncertain_weights
from neurocert.certify.deadline import NEVER, Deadline
from neurocert.certify.errors import ConfigError, NumericalFailure, OutOfTime
from neurocert.certify.problem import Problem
from neurocert.perturbations.balls import LinfBall
from neurocert.perturbations.flips import LARGEST_ENUMERATION

BATCH = 16
"""Samples bounded together; keeps the working set small on a laptop."""
POINTS_AT_ONCE = 64
"""Of a set that is enumerated."""


@dataclass(frozen=True)
class MarginBounds:
    """Result of a method on a batch.

    Attributes:
        lower: (B,) float64 lower bounds of min_{j != y} f_y - f_j over the set; NaN where the method failed.
        failures: for each failed sample, why.
    """

    lower: Tensor
    failures: dict[int, str]


SecondOpinion = Callable[[Problem, list[int]], MarginBounds]


@dataclass(frozen=True)
class Method:
    """How margins are bounded.

    Attributes:
        name: as given on the command line.
        refine: tighten intermediate intervals by linear bounds.
        affine_only: go back from the margin through the last affine layers only, then use intervals.
        description: one line.
        optimise: improve the margins' slopes by gradient ascent, for each sample and class.
        enumerate: bound every point of the set alone, where there are few.
        second_opinion: bounds that are no proofs; where given, the method's bound is the lesser of ours and these.
    """

    name: str
    refine: bool
    affine_only: bool
    description: str
    optimise: bool = False
    enumerate: bool = False
    second_opinion: SecondOpinion | None = None


def _auto_lirpa(problem: Problem, indices: list[int]) -> MarginBounds:
    from neurocert.certify.backends.auto_lirpa import lower_margins

    return lower_margins(problem, indices)


METHODS = {
    method.name: method
    for method in (
        Method("interval", False, True, "interval bounds forward; the margin is merged with the last affine layers"),
        Method("linear", True, False, "backward linear bounds, with linearly refined intermediate intervals"),
        Method("optimised", True, False, "linear bounds, slopes improved by gradient ascent for each sample and class", optimise=True),
        Method("enumeration", False, True, "every point of a finite set bounded alone: exact but for rounding", enumerate=True),
        Method(
            "auto-lirpa",
            True,
            False,
            "the lesser of the linear bound and auto_LiRPA's CROWN bound: a proof that another tool confirms",
            second_opinion=_auto_lirpa,
        ),
    )
}


def method(name: str) -> Method:
    """The method of this name.

    Raises:
        ConfigError: unknown name.
    """
    if name not in METHODS:
        raise ConfigError(f"method is {name!r}, expected one of {', '.join(METHODS)}")
    return METHODS[name]


def capture_problem(problem: Problem) -> Graph:
    """The graph of the problem's network.

    Raises:
        UnsupportedLayer: before anything is computed, naming every layer without a rule.
    """
    graph = simplify(capture(problem.network, tuple(problem.inputs.shape[1:])), problem.arithmetic)
    if problem.weights is None:
        return graph
    graph = with_uncertain_weights(graph, problem.weights.parameters(problem.network))
    require_weights_followed(problem.network, graph)
    return graph


def margin_bounds(problem: Problem, graph: Graph, method: Method, indices: list[int], time_limit: float | None = None) -> MarginBounds:
    """Bounds the margins of the samples ``indices``, all others stay NaN. A numerical failure concerns one sample alone.

    Args:
        time_limit: seconds for each sample; a batch of several shares theirs. A second opinion takes its own time.
    """
    lower = torch.full((len(problem.inputs),), torch.nan, dtype=torch.float64, device="cpu")
    failures: dict[int, str] = {}
    confirmed = None if method.second_opinion is None else method.second_opinion(problem, indices)
    for start in range(0, len(indices), BATCH):
        _bound(problem, graph, method, indices[start : start + BATCH], time_limit, lower, failures)
    if confirmed is None:
        return MarginBounds(lower, failures)
    return MarginBounds(torch.minimum(lower, confirmed.lower), confirmed.failures | failures)


def _bound(
    problem: Problem, graph: Graph, method: Method, batch: list[int], time_limit: float | None, lower: Tensor, failures: dict[int, str]
) -> None:
    deadline = NEVER if time_limit is None else Deadline.after(time_limit * len(batch))
    try:
        with torch.no_grad():
            lower[batch] = _lower_margins(problem, graph, method, batch, deadline).cpu()
    except OutOfTime:
        failures |= dict.fromkeys(batch, f"no {method.name} bound within {time_limit:g} s")
    except NumericalFailure as failure:
        if len(batch) == 1:
            failures[batch[0]] = str(failure)
            return
        for index in batch:
            _bound(problem, graph, method, [index], time_limit, lower, failures)


def _lower_margins(problem: Problem, graph: Graph, method: Method, batch: list[int], deadline: Deadline) -> Tensor:
    if method.enumerate:
        return torch.stack([_least_over_points(problem, graph, index, deadline) for index in batch])
    inputs = InputSet(problem.ball, problem.inputs[batch], problem.weights)
    propagation = Propagation(graph, inputs, problem.arithmetic, refine=method.refine, deadline=deadline)
    differences = margin_coefficients(problem.labels[batch], graph.shape(graph.output)[0])
    bound = propagation.lower(graph.output, differences, affine_only=True)
    if method.optimise:
        bound = torch.maximum(bound, optimised_lower(propagation, graph.output, differences))
    elif not method.affine_only:
        bound = torch.maximum(bound, propagation.lower(graph.output, differences))
    return bound.amin(0)


def _least_over_points(problem: Problem, graph: Graph, index: int, deadline: Deadline) -> Tensor:
    """The least of the bounds of all points of a sample's set, each with a set of its own.

    Raises:
        NumericalFailure: too many points.
    """
    number = problem.ball.size(problem.inputs[index].numel())
    if LARGEST_ENUMERATION < number < math.inf:
        raise NumericalFailure(f"{problem.ball.describe()} give {number} points, more than are enumerated ({LARGEST_ENUMERATION})")
    points, least = problem.ball.enumerate(problem.inputs[index]), torch.tensor(torch.inf, dtype=torch.float64)
    uncertain = problem.weights is not None
    while chunk := list(islice(points, POINTS_AT_ONCE)):
        inputs = InputSet(LinfBall(0.0), torch.stack(chunk), problem.weights)
        propagation = Propagation(graph, inputs, problem.arithmetic, refine=uncertain, deadline=deadline)
        differences = margin_coefficients(problem.labels[[index] * len(chunk)], graph.shape(graph.output)[0])
        bound = propagation.lower(graph.output, differences, affine_only=not uncertain)
        least = torch.minimum(least, bound.min())
    return least


def margin_coefficients(labels: Tensor, classes: int) -> Tensor:
    """The rows e_y - e_j, j != y, for each label y: float64 (classes - 1, B, classes)."""
    identity = torch.eye(classes, dtype=torch.float64)
    rows = [identity[y] - identity[[j for j in range(classes) if j != y]] for y in labels.tolist()]
    return torch.stack(rows, 1)
