"""Projected descent on gradients that are estimated from logits alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Sight, Worst, downward, margins
from neurocert.perturbations.balls import Ball


@dataclass(frozen=True)
class SPGD(Attack):
    """Projected descent along an estimate of the margin's gradient, which needs no derivative of the network.

    With random sign vectors u_k and the margin m: (1/K) sum_k (m(x + delta u_k) - m(x - delta u_k)) / (2 delta) u_k.
    Points x +- delta u_k may leave the ball, but not the input range.
    Source: Eq. 4.5 of the PlasticFlex thesis, with the margin in place of the loss; Spall, IEEE TAC 37 (1992).

    Attributes:
        steps: of the descent.
        directions: K.
        reach: delta, as a share of epsilon; wide, since a spike's margin is flat nearby.
        step_ratio: first step size as a share of epsilon; it falls linearly to a tenth of that.
    """

    steps: int = 20
    directions: int = 16
    reach: float = 0.5
    step_ratio: float = 0.5
    name: ClassVar[str] = "spgd"
    sees: ClassVar[Sight] = "logits"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.directions < 1 or not self.reach > 0 or not self.step_ratio > 0:
            got = f"steps {self.steps}, directions {self.directions}, reach {self.reach}, step_ratio {self.step_ratio}"
            raise InputError(f"SPGD: got {got}, expected all positive")

    def describe(self) -> str:
        return (
            f"SPGD: {self.steps} steps along gradients of the logit margin estimated from {self.directions} random directions, "
            f"{self.reach:g} epsilon both ways; only logits are used"
        )

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        points = inputs
        for step in range(self.steps):
            size = ball.epsilon * self.step_ratio * (1 - 0.9 * step / max(1, self.steps - 1))
            gradient = self._estimate(worst.network, points, labels, ball, generator)
            points = ball.project(points + downward(gradient, points, ball, size), inputs)
            worst.offer(points)
        return worst.result()

    def _estimate(self, network: nn.Module, points: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> Tensor:
        """Eq. 4.5 at every point; zero for a ball without extent. All points in the directions of one k are one batch."""
        total, delta = torch.zeros_like(points), self.reach * ball.epsilon
        for _ in range(self.directions if delta else 0):
            signs = torch.randint(0, 2, points.shape, generator=generator).to(points.dtype) * 2 - 1
            both = torch.cat([points + delta * signs, points - delta * signs]).clamp(ball.low, ball.high)
            with torch.no_grad():
                above, below = margins(network(both), labels.repeat(2)).chunk(2)
            total += (((above - below) / (2 * delta)).to(points.dtype)).reshape(-1, *[1] * (points.dim() - 1)) * signs
        return total / self.directions
