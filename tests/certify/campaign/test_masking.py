"""Gradients that lead nowhere are noticed; those that do are not accused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.campaign.campaign import campaign
from neurocert.certify.campaign.masking import Saturation, saturation, whole_range
from neurocert.certify.problem import Problem, make_problem
from neurocert.perturbations.attacks import FGSM, PGD, Attack, Square
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall
from neurocert.perturbations.boxes import WeightedLinfBall

BALL = LinfBall(0.2, 0.0, 1.0)


class Classes(nn.Module):
    """Two classes by the mean of the input, through a step that is as steep as asked; flat in float32 where it is steep."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = nn.Parameter(torch.tensor(steepness))

    def forward(self, inputs: Tensor) -> Tensor:
        score = torch.tanh(self.steepness * (inputs.flatten(1).mean(1) - 0.5))
        return torch.stack([score, -score], 1)


class Constant(nn.Module):
    """Decides for the first class whatever it sees."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([1 + 0 * inputs.sum((1, 2, 3)), 0 * inputs.sum((1, 2, 3))], 1)


def problem(network: nn.Module, ball: Ball = BALL) -> Problem:
    inputs = torch.tensor([0.65, 0.75, 0.9]).reshape(3, 1, 1, 1).repeat(1, 1, 3, 3)
    return make_problem(network, inputs, torch.zeros(3, dtype=torch.int64), ball)


def reached(network: nn.Module, attacks: tuple[Attack, ...] = (FGSM(), PGD(steps=5, restarts=1)), ball: Ball = BALL) -> Saturation | None:
    question = problem(network, ball)
    return saturation(question, attacks, campaign(question, (ball,), (), attacks, 0, lambda *step: None), 0)


def test_honest_gradients_reach_everything() -> None:
    assert reached(Classes(2.0)) == Saturation(1.0, 0, 3)
    assert reached(Classes(2.0), ball=L2Ball(0.2, 0.0, 1.0)) == Saturation(3.0, 0, 3)
    assert reached(Classes(2.0), ball=L1Ball(0.2, 0.0, 1.0)) == Saturation(9.0, 0, 3)


@pytest.mark.parametrize("network", [Classes(1e4), Constant()], ids=["saturated", "constant"])
def test_flat_networks_are_left_unbroken(network: nn.Module) -> None:
    assert reached(network) == Saturation(1.0, 3, 3)


def test_where_there_is_nothing_to_ask() -> None:
    assert reached(Classes(2.0), attacks=(Square(queries=5),)) is None
    assert reached(Classes(2.0), ball=LinfBall(0.2)) is None
    assert reached(Classes(-2.0)) is None


def test_what_was_broken_at_a_radius_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the samples that are left are attacked again."""
    asked: list[int] = []
    true = FGSM.search

    def watched(self: FGSM, network: nn.Module, inputs: Tensor, *rest: object) -> object:
        asked.append(len(inputs))
        return true(self, network, inputs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FGSM, "search", watched)
    assert reached(Classes(2.0), attacks=(FGSM(),)) == Saturation(1.0, 0, 3)
    assert asked == [3, 2]


def test_the_whole_range() -> None:
    assert whole_range(LinfBall(0.1, -1.0, 3.0), 9) == LinfBall(4.0, -1.0, 3.0)
    assert whole_range(L2Ball(0.1), 9) is None
    assert whole_range(WeightedLinfBall(0.1, 0.0, 1.0, scales=torch.tensor([0.0, 1.0])), 2) is None
