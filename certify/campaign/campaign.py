"""Every sample at every radius: all methods' bounds, all attacks, one verdict, and the sandwich checked throughout."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.certificate import Verdict, Witness
from neurocert.certify.errors import SandwichBreach
from neurocert.certify.problem import Problem
from neurocert.certify.verifiers.margins import MarginBounds, Method, capture_problem, margin_bounds
from neurocert.certify.verifiers.verify import decide, replay, search, search_weights
from neurocert.perturbations.attacks import Attack
from neurocert.perturbations.attacks.weights import NAME
from neurocert.perturbations.balls import Ball

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all)."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found for one sample at one radius.

    Attributes:
        sample: position in the problem's batch.
        epsilon: the radius.
        verdict: see ``Verdict``.
        reason: why it is no proof; None for a certified sample.
        bounds: method -> lower bound of the margin; None where none was found.
        attacks: attack -> least margin found; None where it was not run.
        witness: the counterexample of a falsified sample.
        seconds: the sample's share of the time spent at this radius.
    """

    sample: int
    epsilon: float
    verdict: Verdict
    reason: str | None
    bounds: dict[str, float | None]
    attacks: dict[str, float | None]
    witness: Witness | None
    seconds: float


def campaign(
    problem: Problem,
    balls: tuple[Ball, ...],
    methods: tuple[Method, ...],
    attacks: tuple[Attack, ...],
    seed: int,
    progress: Progress,
    time_limit: float | None = None,
) -> list[Outcome]:
    """Runs every method and attack on every correctly classified sample, radius after radius; where weights are uncertain, attacks
    are followed by a search over weights and inputs at once.

    A counterexample at one radius is one at every larger radius; it is carried along, and what an attack has broken it does
    not attack again.

    Args:
        problem: network and samples; its own ball is not used.
        balls: the perturbation sets, of one kind, with increasing radii.
        time_limit: seconds for each sample, radius and method.

    Raises:
        SandwichBreach: an attack went below a certified bound.
        UnsupportedLayer: before anything is computed.
    """
    graph = capture_problem(problem) if methods else None
    clean = problem.margins(problem.inputs)
    correct = (clean > 0).nonzero()[:, 0].tolist()
    through_weights = bool(attacks) and problem.weights is not None
    steps, done = len(balls) * (len(methods) + len(attacks) + through_weights), 0
    outcomes: list[Outcome] = []
    carried: dict[int, Witness] = {}
    found: dict[str, dict[int, float]] = {attack.name: {} for attack in attacks}
    for ball in balls:
        here, begun = problem.with_ball(ball), time.perf_counter()
        bounds: dict[str, MarginBounds] = {}
        for method in methods:
            progress(f"{method.name} bounds, epsilon {ball.epsilon:g}", done, steps)
            assert graph is not None
            bounds[method.name] = margin_bounds(here, graph, method, correct, time_limit)
            done += 1
        for attack in attacks:
            progress(f"{attack.name}, epsilon {ball.epsilon:g}", done, steps)
            found[attack.name] = _attack(here, attack, correct, seed, carried, found[attack.name])
            done += 1
        if through_weights:
            progress(f"search over weights, epsilon {ball.epsilon:g}", done, steps)
            found[NAME] = _attack_weights(here, correct, seed, carried)
            done += 1
        seconds = (time.perf_counter() - begun) / len(clean)
        outcomes += [_outcome(here, index, clean, bounds, found, carried.get(index), seconds) for index in range(len(clean))]
    progress("done", steps, steps)
    return outcomes


def _attack(
    problem: Problem, attack: Attack, correct: list[int], seed: int, witnesses: dict[int, Witness], before: dict[int, float]
) -> dict[int, float]:
    """Least margins by sample, at this radius or one before; new counterexamples are added to ``witnesses``.

    Each break is replayed alone: another order of summation in a batch may turn a near tie, and then no break is claimed.
    """
    unbroken = [index for index in correct if not before.get(index, math.inf) <= 0]
    if not unbroken:
        return before
    result = search(problem, attack, unbroken, seed)
    margins = dict(zip(unbroken, result.margins.tolist(), strict=True))
    for position, index in enumerate(unbroken):
        if not result.broken[position]:
            continue
        witness = replay(problem, index, result.points[position])
        if witness is None:
            margins[index] = problem.margin_at(index, result.points[position])
        else:
            witnesses.setdefault(index, witness)
    return before | {index: min(margin, before.get(index, math.inf)) for index, margin in margins.items()}


def _attack_weights(problem: Problem, correct: list[int], seed: int, witnesses: dict[int, Witness]) -> dict[int, float]:
    """Least margins by sample, over weights and inputs at once; new counterexamples are added to ``witnesses``."""
    margins: dict[int, float] = {}
    for index in correct:
        margin, witness = search_weights(problem, index, seed)
        if margin is not None:
            margins[index] = margin
        if witness is not None:
            witnesses.setdefault(index, witness)
    return margins


def _outcome(
    problem: Problem,
    index: int,
    clean: Tensor,
    bounds: dict[str, MarginBounds],
    found: dict[str, dict[int, float]],
    witness: Witness | None,
    seconds: float,
) -> Outcome:
    lowers = {name: _number(result.lower[index]) for name, result in bounds.items()}
    margins = {name: result.get(index) for name, result in found.items()}
    best = max((bound for bound in lowers.values() if bound is not None), default=float("nan"))
    least = min([m for m in margins.values() if m is not None] + ([witness.margin] if witness else []), default=float("inf"))
    if least < best:
        raise SandwichBreach(
            f"sample {index}: an attack reached margin {least:g}, below its certified lower bound {best:g} ({problem.perturbation})",
            "this is a defect of neurocert; please report it with the checkpoint and the command",
        )
    failure = next((result.failures[index] for result in bounds.values() if index in result.failures), None)
    verdict, reason = decide(float(clean[index]), best, witness, failure, " and ".join(bounds))
    kept = witness if verdict is Verdict.FALSIFIED else None
    return Outcome(index, problem.ball.epsilon, verdict, reason, lowers, margins, kept, seconds)


def _number(value: Tensor) -> float | None:
    return None if bool(torch.isnan(value)) else float(value)
