"""Descent on a softened network: where a spike's margin is a staircase, the sigmoid's has a slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.surrogate import softened
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Worst, downward, spread
from neurocert.perturbations.balls import Ball

WIDEST, NARROWEST = 0.2, 0.02
"""Of the sigmoids, at the first and at the last step; see ``models.layers.surrogate.softened``."""
MOMENTUM = 0.75
LAST_STEP = 0.02
"""As a share of epsilon."""


@dataclass(frozen=True)
class Softened(Attack):
    """Descent of the margin through spikes that are sigmoids forward and backward, ever narrower; the network itself judges each point.

    Surrogate gradients are those of no function: each step looks at the landing it stands on. A softened network is a function,
    whose descent sees where a landing leads. Binary masks are softened like spikes; a network with neither is descended as it is.
    Source: graduated optimisation (Blake and Zisserman, Visual Reconstruction, 1987), with the momentum of Dong et al., CVPR 2018.

    Attributes:
        steps: of a descent, from a random point of the set.
        restarts: descents; each searches what is not broken yet.
        step_ratio: first step size as a share of epsilon; it falls linearly.
    """

    steps: int = 60
    restarts: int = 4
    step_ratio: float = 0.5
    name: ClassVar[str] = "softened"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1 or not self.step_ratio > 0:
            got = f"steps {self.steps}, restarts {self.restarts}, step_ratio {self.step_ratio}"
            raise InputError(f"softened: got {got}, expected all positive")

    def describe(self) -> str:
        return (
            f"softened: descent of the logit margin with spikes as sigmoids, ever narrower, {self.steps} steps with momentum, "
            f"{self.restarts} random starts; judged by the network itself"
        )

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        for _ in range(self.restarts):
            rows = worst.unbroken()
            if not len(rows):
                break
            part = Worst(worst.network, inputs[rows], labels[rows])
            self._descend(part, inputs[rows], ball, generator)
            worst.merge(rows, part.points)
        return worst.result()

    def _descend(self, worst: Worst, centre: Tensor, ball: Ball, generator: torch.Generator) -> None:
        points, direction = ball.sample(centre, generator), torch.zeros_like(centre)
        worst.offer(points)
        for step in range(self.steps):
            passed = step / max(1, self.steps - 1)
            with softened(WIDEST * (NARROWEST / WIDEST) ** passed):
                gradient = worst.gradient(points)
            direction = MOMENTUM * direction + gradient / spread(gradient.abs().flatten(1).mean(1).clamp(min=1e-30), gradient)
            size = ball.epsilon * max(self.step_ratio * (1 - passed), LAST_STEP)
            points = ball.project(points + downward(direction, points, ball, size), centre)
            worst.offer(points)
