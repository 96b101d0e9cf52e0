"""Lower bounds of classification margins, by method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import Graph, capture
from neurocert.certify.bounds.optimise import optimised_lower
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.weights import with_uncertain_weights
from neurocert.certify.errors import ConfigError, NumericalFailure
from neurocert.certify.problem import Problem

BATCH = 16
"""Samples bounded together; keeps the working set small on a laptop."""


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
        second_opinion: bounds that are no proofs; where given, the method's bound is the lesser of ours and these.
    """

    name: str
    refine: bool
    affine_only: bool
    description: str
    optimise: bool = False
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
    return graph if problem.weights is None else with_uncertain_weights(graph, problem.weights.parameters(problem.network))


def margin_bounds(problem: Problem, graph: Graph, method: Method, indices: list[int]) -> MarginBounds:
    """Bounds the margins of the samples ``indices``, all others stay NaN. A numerical failure concerns one sample alone."""
    lower = torch.full((len(problem.inputs),), torch.nan, dtype=torch.float64)
    failures: dict[int, str] = {}
    confirmed = None if method.second_opinion is None else method.second_opinion(problem, indices)
    for start in range(0, len(indices), BATCH):
        _bound(problem, graph, method, indices[start : start + BATCH], lower, failures)
    if confirmed is None:
        return MarginBounds(lower, failures)
    return MarginBounds(torch.minimum(lower, confirmed.lower), confirmed.failures | failures)


def _bound(problem: Problem, graph: Graph, method: Method, batch: list[int], lower: Tensor, failures: dict[int, str]) -> None:
    try:
        with torch.no_grad():
            lower[batch] = _lower_margins(problem, graph, method, batch)
    except NumericalFailure as failure:
        if len(batch) == 1:
            failures[batch[0]] = str(failure)
            return
        for index in batch:
            _bound(problem, graph, method, [index], lower, failures)


def _lower_margins(problem: Problem, graph: Graph, method: Method, batch: list[int]) -> Tensor:
    inputs = InputSet(problem.ball, problem.inputs[batch], problem.weights)
    propagation = Propagation(graph, inputs, problem.arithmetic, refine=method.refine)
    differences = margin_coefficients(problem.labels[batch], graph.shape(graph.output)[0])
    bound = propagation.lower(graph.output, differences, affine_only=True)
    if method.optimise:
        bound = torch.maximum(bound, optimised_lower(propagation, graph.output, differences))
    elif not method.affine_only:
        bound = torch.maximum(bound, propagation.lower(graph.output, differences))
    return bound.amin(0)


def margin_coefficients(labels: Tensor, classes: int) -> Tensor:
    """The rows e_y - e_j, j != y, for each label y: float64 (classes - 1, B, classes)."""
    identity = torch.eye(classes, dtype=torch.float64)
    rows = [identity[y] - identity[[j for j in range(classes) if j != y]] for y in labels.tolist()]
    return torch.stack(rows, 1)
