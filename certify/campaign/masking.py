"""Do gradients lead an attack anywhere? At a radius at which every decision can be changed, they should change all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from neurocert.certify.campaign.campaign import Outcome
from neurocert.certify.problem import Problem
from neurocert.certify.verifiers.verify import replay, search
from neurocert.perturbations.attacks import Attack
from neurocert.perturbations.balls import BALLS, Ball, NormBall


@dataclass(frozen=True)
class Saturation:
    """What gradients reach where nothing limits them but the input range.

    Attributes:
        epsilon: the radius at which the set around any input is the whole range.
        left: samples, decided rightly at first, that no attack by gradients broke there.
        n: samples decided rightly at first.
    """

    epsilon: float
    left: int
    n: int


def saturation(problem: Problem, attacks: Sequence[Attack], outcomes: Sequence[Outcome], seed: int) -> Saturation | None:
    """Attacks by gradients, on the whole input range, what they have not broken at any radius of a campaign.

    Returns:
        None where there is nothing to ask: no attack by gradients, no sample decided rightly, or a set whose radius has no such limit.
    """
    gradients = [attack for attack in attacks if attack.sees == "gradients"]
    ball = whole_range(problem.ball, problem.inputs[0].numel())
    correct = (problem.margins(problem.inputs) > 0).nonzero()[:, 0].tolist()
    if ball is None or not gradients or not correct:
        return None
    names = {attack.name for attack in gradients}
    broken = {o.sample for o in outcomes for name, margin in o.attacks.items() if name in names and margin is not None and margin <= 0}
    here, left = problem.with_ball(ball), [index for index in correct if index not in broken]
    for attack in gradients:
        if left:
            points = search(here, attack, left, seed).points
            left = [index for index, point in zip(left, points, strict=True) if replay(here, index, point) is None]
    return Saturation(ball.epsilon, len(left), len(correct))


def whole_range(ball: Ball, elements: int) -> Ball | None:
    """The ball of this norm that holds every input of the range, around each of them; None for an infinite range or another set."""
    if not isinstance(ball, NormBall) or type(ball) is not BALLS[ball.norm] or not math.isfinite(ball.high - ball.low):
        return None
    span = ball.high - ball.low
    radii = {"linf": span, "l2": span * math.sqrt(elements), "l1": span * elements}
    return replace(ball, epsilon=radii[ball.norm])
