"""The verdict on each sample: a proof, a counterexample, or why there is neither."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

from neurocert.certify.certificate import Certificate, Verdict, Witness
from neurocert.certify.deadline import require_time_limit
from neurocert.certify.errors import SandwichBreach
from neurocert.certify.problem import Problem, make_problem, on
from neurocert.certify.verifiers.margins import MarginBounds, Method, capture_problem, margin_bounds
from neurocert.certify.verifiers.margins import method as method_named
from neurocert.perturbations.attacks import Attack, AttackResult, completed
from neurocert.perturbations.attacks import attack as attack_named
from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.attacks.weights import descend
from neurocert.perturbations.balls import Ball
from neurocert.perturbations.weights import Weights, WeightSet


def verify(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    perturbation: Ball,
    method: str = "linear",
    *,
    attack: str | None = "pgd",
    arithmetic: str | None = None,
    weights: WeightSet | None = None,
    time_limit: float | None = None,
    seed: int = 0,
) -> list[Certificate]:
    """Decides, for each sample, whether the network keeps its decision on the whole perturbation set.

    Args:
        network: in evaluation mode; any module whose layers have rules (``certify ls rules``).
        inputs: (B, *shape), in the network's dtype and input range.
        labels: (B,) integers.
        perturbation: such as ``LinfBall(0.01)``; clipped to the network's input range if it declares one.
        method: "interval", "linear", "optimised" (tighter, slower), "enumeration" (of few flips; exact), or "auto-lirpa" (linear,
            confirmed by auto_LiRPA).
        attack: searches for a counterexample where the proof failed, followed for flips by "flips"; None to skip.
        arithmetic: "real", "float32" or "float64"; by default that of the network's weights.
        weights: the weights, too, may be any of these, such as ``WeightBox(relative=0.01)``; one choice for a whole pass.
        time_limit: seconds in which each sample must be bounded, else it is unknown (unless an attack breaks it); None for any.
        seed: of the attack's random starts.

    Returns:
        One certificate for each sample, in order.

    Raises:
        UnsupportedLayer: a layer without a rule, before anything is computed.
        InputError: inputs, labels or options that cannot be used.
    """
    require_time_limit(time_limit)
    problem = make_problem(network, inputs, labels, perturbation, arithmetic, weights)
    chosen, searchers = method_named(method), completed((attack_named(attack),) if attack else (), problem.ball)
    with on(problem.inputs.device):
        return _certificates(problem, chosen, searchers, time_limit, seed)


def _certificates(
    problem: Problem, chosen: Method, searchers: tuple[Attack, ...], time_limit: float | None, seed: int
) -> list[Certificate]:
    graph = capture_problem(problem)
    clean = problem.margins(problem.inputs)
    correct = (clean > 0).nonzero()[:, 0].tolist()
    begun = time.perf_counter()
    bounds = margin_bounds(problem, graph, chosen, correct, time_limit)
    seconds = (time.perf_counter() - begun) / max(1, len(correct))
    witnesses = _witnesses(problem, bounds, correct, searchers, seed)
    return [certificate(problem, index, chosen.name, clean, bounds, witnesses.get(index), seconds) for index in range(len(clean))]


def _witnesses(problem: Problem, bounds: MarginBounds, correct: list[int], attacks: tuple[Attack, ...], seed: int) -> dict[int, Witness]:
    """Counterexamples to the samples that have no proof."""
    witnesses: dict[int, Witness] = {}
    unproved = [index for index in correct if not float(bounds.lower[index]) > 0]
    for attack in attacks:
        if unbroken := [index for index in unproved if index not in witnesses]:
            result = search(problem, attack, unbroken, seed)
            found = {index: replay(problem, index, point) for index, point in zip(unbroken, result.points, strict=True)}
            witnesses |= {index: witness for index, witness in found.items() if witness is not None}
    if attacks and problem.weights is not None:
        found = {index: search_weights(problem, index, seed)[1] for index in unproved if index not in witnesses}
        witnesses |= {index: witness for index, witness in found.items() if witness is not None}
    return witnesses


def search_weights(problem: Problem, index: int, seed: int) -> tuple[float | None, Witness | None]:
    """(least margin found for sample ``index`` over weights and input at once, that as a counterexample if it is one).

    Replayed alone; (None, None) if what was found is not certainly in the sets.
    """
    found = least_through_weights(problem, index, seed)
    if found is None:
        return None, None
    margin, point, changed = found
    if not margin <= 0:
        return margin, None
    with torch.no_grad():
        logits = torch.func.functional_call(problem.network, changed, (point[None],))[0]
    others = logits.index_fill(0, problem.labels[index], -torch.inf)
    return margin, Witness(point.clone(), margin, int(others.argmax()), changed)


def least_through_weights(problem: Problem, index: int, seed: int) -> tuple[float, Tensor, Weights] | None:
    """(margin, point (*shape), changed parameters by name): the worst found for sample ``index``, run alone; None if it is not
    certainly in the sets."""
    assert problem.weights is not None
    centre, label = problem.inputs[index : index + 1], problem.labels[index : index + 1]
    generator = torch.Generator(centre.device).manual_seed(seed)
    point, changed = descend(problem.network, centre, label, problem.ball, problem.weights, generator)
    if not (problem.weights.contains(changed, problem.network) and bool(problem.ball.contains(point, centre))):
        return None
    with torch.no_grad():
        logits = torch.func.functional_call(problem.network, changed, (point,))
    return float(margins(logits, label)[0]), point[0], changed


def search(problem: Problem, attack: Attack, samples: list[int], seed: int) -> AttackResult:
    """Attacks the samples ``samples`` of a problem. A set without extent holds nothing but the inputs."""
    generator = torch.Generator(problem.inputs.device).manual_seed(seed)
    inputs, labels = problem.inputs[samples], problem.labels[samples]
    if problem.ball.epsilon == 0:
        return AttackResult(inputs, margins(problem.logits(inputs), labels))
    return attack.search(problem.network, inputs, labels, problem.ball, generator)


def replay(problem: Problem, index: int, point: Tensor) -> Witness | None:
    """The point as a counterexample to sample ``index``, if it lies in the set and the network, run on it alone, fails."""
    if not bool(problem.ball.contains(point[None], problem.inputs[index : index + 1])[0]):
        return None
    margin = problem.margin_at(index, point)
    if not margin <= 0:
        return None
    others = problem.logits(point[None])[0].index_fill(0, problem.labels[index], -torch.inf)
    return Witness(point.detach().clone(), margin, int(others.argmax()))


def certificate(
    problem: Problem, index: int, method: str, clean: Tensor, bounds: MarginBounds, witness: Witness | None, seconds: float
) -> Certificate:
    """Puts the verdict on sample ``index`` together.

    Raises:
        SandwichBreach: a witness against a proof.
    """
    bound, margin, label = float(bounds.lower[index]), float(clean[index]), int(problem.labels[index])
    verdict, reason = decide(margin, bound, witness, bounds.failures.get(index), method)
    if witness is not None and witness.margin < bound:
        raise SandwichBreach(
            f"sample {index}: margin {witness.margin:g} was attained, below its certified lower bound {bound:g} "
            f"({method}, {problem.perturbation})",
            "this is a defect of neurocert; please report it with the checkpoint and the command",
        )
    logits = problem.logits(problem.inputs[index : index + 1])[0]
    return Certificate(
        verdict=verdict,
        label=label,
        predicted=int(logits.argmax()),
        clean_margin=margin,
        lower_bound=None if math.isnan(bound) else bound,
        method=method,
        perturbation=problem.perturbation,
        semantics=problem.semantics,
        arithmetic=problem.arithmetic.name,
        reason=reason,
        witness=witness if verdict is Verdict.FALSIFIED else None,
        seconds=seconds,
    )


def decide(clean_margin: float, bound: float, witness: Witness | None, failure: str | None, method: str) -> tuple[Verdict, str | None]:
    """(verdict, reason); nothing but a positive bound is a proof."""
    if not clean_margin > 0:
        return Verdict.MISCLASSIFIED, f"the margin on the unperturbed input is {clean_margin:g}"
    if bound > 0:
        return Verdict.CERTIFIED, None
    if witness is not None:
        return Verdict.FALSIFIED, f"class {witness.predicted} reaches the label's logit (margin {witness.margin:g})"
    if failure is not None:
        return Verdict.UNKNOWN, failure
    if math.isnan(bound):
        return Verdict.UNKNOWN, "no attack succeeded, and no bound was asked for"
    return Verdict.UNKNOWN, f"the {method} lower bound of the margin is {bound:g}, not above 0, and no attack succeeded"
