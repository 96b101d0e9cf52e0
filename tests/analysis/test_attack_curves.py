from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from neurocert.analysis.attack_curves import AttackCurve, attack_curves
from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import FGSM, PGD, AttackResult
from neurocert.perturbations.attacks.gradient import Attack, margins
from neurocert.perturbations.balls import Ball, LinfBall


@dataclass(frozen=True)
class Weak(Attack):
    """Finds what the smallest of its radii allows, and nothing at a larger one."""

    name: ClassVar[str] = "weak"

    def describe(self) -> str:
        return self.name

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        if ball.epsilon > 0.15:
            return AttackResult(inputs, margins(network(inputs), labels))
        return FGSM().search(network, inputs, labels, ball, generator)


class Threshold(nn.Module):
    """Logits (x, -x) of a number x: the decision breaks once the radius reaches |x|."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, -inputs], dim=1)


NETWORK = Threshold().eval()
INPUTS, LABELS = torch.tensor([[0.1], [0.25], [-0.3], [0.5], [-0.2]]), torch.tensor([0, 0, 1, 0, 0])
BALLS = [LinfBall(epsilon) for epsilon in (0.0, 0.12, 0.26, 0.4)]


def test_samples_fall_where_the_radius_reaches_them() -> None:
    (curve,) = attack_curves(NETWORK, INPUTS, LABELS, [FGSM()], BALLS, seed=0)
    assert curve == AttackCurve("fgsm", (0.0, 0.12, 0.26, 0.4), (4, 3, 2, 1), 5)
    area = 0.12 * 3.5 + 0.14 * 2.5 + 0.14 * 1.5
    assert curve.auc == pytest.approx(area / 0.4 / 5)


def test_what_broke_once_stays_broken_and_the_worst_is_of_each_sample() -> None:
    curves = {curve.attack: curve.correct for curve in attack_curves(NETWORK, INPUTS, LABELS, [Weak(), PGD()], BALLS, seed=0)}
    assert curves["weak"] == (4, 3, 3, 3)
    assert curves["worst"] == curves["pgd"] == (4, 3, 2, 1)


def test_progress_is_told_of_every_search() -> None:
    told: list[tuple[str, int, int]] = []
    attack_curves(NETWORK, INPUTS, LABELS, [FGSM()], BALLS[:2], 0, lambda *step: told.append(step))
    assert told == [("fgsm at 0", 0, 2), ("fgsm at 0.12", 1, 2)]


@pytest.mark.parametrize("balls", [[], BALLS[:1], [BALLS[1], BALLS[0]], [BALLS[1], BALLS[1]]])
def test_radii_that_make_no_curve_are_refused(balls: list[Ball]) -> None:
    with pytest.raises(InputError, match="expected at least two, increasing"):
        attack_curves(NETWORK, INPUTS, LABELS, [FGSM()], balls, seed=0)
