"""Accuracy under attack over growing radii, and the area below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import Attack
from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.balls import Ball


@dataclass(frozen=True)
class AttackCurve:
    """How many of ``n`` samples are still decided rightly at each radius.

    A sample that broke at a smaller radius counts as broken at every larger one, whose set contains the smaller set.

    Attributes:
        attack: its name.
        epsilons: radii in input units, increasing.
        correct: not misclassified and not broken, one count for each radius.
    """

    attack: str
    epsilons: tuple[float, ...]
    correct: tuple[int, ...]
    n: int

    @property
    def auc(self) -> float:
        """Mean accuracy over the range of radii: the trapezoids' area divided by its width; in [0, 1]."""
        steps = pairwise(zip(self.epsilons, self.correct, strict=True))
        area = math.fsum((b - a) * (left + right) / 2 for (a, left), (b, right) in steps)
        return area / (self.epsilons[-1] - self.epsilons[0]) / self.n


def attack_curves(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    attacks: Sequence[Attack],
    balls: Sequence[Ball],
    seed: int,
    progress: Callable[[str, int, int], None] = lambda text, done, steps: None,
) -> tuple[AttackCurve, ...]:
    """One curve for each attack, and "worst" for all of them together if there is more than one.

    Args:
        network: in evaluation mode.
        inputs, labels: (B, *shape) and (B,).
        balls: of one norm, radii increasing, at least two.
        seed: of each search's random starts.
        progress: told before each search.

    Raises:
        InputError: fewer than two balls, or radii that do not increase.
    """
    epsilons = tuple(float(ball.epsilon) for ball in balls)
    if len(epsilons) < 2 or any(a >= b for a, b in pairwise(epsilons)):
        raise InputError(f"radii are {list(epsilons)}, expected at least two, increasing")
    with torch.no_grad():
        clean = margins(network(inputs), labels) > 0
    survivors: dict[str, list[Tensor]] = {}
    for number, attack in enumerate(attacks):
        standing, found = clean, []
        for step, ball in enumerate(balls):
            progress(f"{attack.name} at {ball.epsilon:g}", number * len(balls) + step, len(attacks) * len(balls))
            standing = _standing(network, inputs, labels, standing, attack, ball, seed)
            found.append(standing)
        survivors[attack.name] = found
    if len(survivors) > 1:
        survivors["worst"] = [torch.stack(together).all(0) for together in zip(*survivors.values(), strict=True)]
    return tuple(AttackCurve(name, epsilons, tuple(int(s.sum()) for s in found), len(inputs)) for name, found in survivors.items())


def _standing(network: nn.Module, inputs: Tensor, labels: Tensor, standing: Tensor, attack: Attack, ball: Ball, seed: int) -> Tensor:
    """Bool (B,): which of the samples that still stand are not broken in ``ball``. A break counts if it is one alone, too."""
    chosen = standing.nonzero()[:, 0]
    if len(chosen) == 0 or ball.epsilon == 0:
        return standing
    result = attack.search(network, inputs[chosen], labels[chosen], ball, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        broken = [
            index
            for index, point, hit in zip(chosen.tolist(), result.points, result.broken.tolist(), strict=True)
            if hit and float(margins(network(point[None]), labels[index : index + 1])) <= 0
        ]
    return standing.index_fill(0, torch.tensor(broken, dtype=torch.int64), False)
