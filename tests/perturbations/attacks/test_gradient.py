"""Attacks: inside the set, honest about margins, repeatable, and strong where the truth is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import attack, attacks
from neurocert.perturbations.attacks.gradient import FGSM, PGD, margins
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall

BALLS = (LinfBall(0.05, 0.0, 1.0), L2Ball(0.5, 0.0, 1.0), L1Ball(2.0, 0.0, 1.0))
DATA = digits("test").take(range(8))


def searched(searcher: FGSM | PGD, network: nn.Module, ball: Ball, seed: int = 0) -> tuple[Tensor, Tensor]:
    found = searcher.search(network, DATA.inputs, DATA.labels, ball, torch.Generator().manual_seed(seed))
    return found.points, found.margins


@pytest.mark.parametrize("name", ["digits-flex-ann", "digits-flex-snn"])
@pytest.mark.parametrize("ball", BALLS, ids=["linf", "l2", "l1"])
@pytest.mark.parametrize("searcher", [FGSM(), PGD(steps=4, restarts=2)], ids=["fgsm", "pgd"])
def test_what_an_attack_returns(searcher: FGSM | PGD, ball: Ball, name: str) -> None:
    network = load(name).network
    points, found = searched(searcher, network, ball)
    clean = margins(network(DATA.inputs), DATA.labels)
    assert bool(ball.contains(points, DATA.inputs).all())
    assert torch.equal(found, margins(network(points), DATA.labels))
    assert bool((found <= clean).all()) and bool((found < clean).any())
    again_points, again = searched(searcher, network, ball)
    assert torch.equal(points, again_points) and torch.equal(found, again)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_margins_are_float64_and_a_tie_is_zero() -> None:
    found = margins(torch.tensor([[1.0, 1.0, 0.0], [3.0, 1.0, 2.0]]), torch.tensor([0, 0]))
    assert found.dtype == torch.float64 and found.tolist() == [0.0, 1.0]


def test_pgd_finds_the_minimum_of_a_linear_network() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    ball = LinfBall(0.03)
    weight = (network[1].weight[0] - network[1].weight[1]).detach().double()
    inputs, labels = DATA.inputs, DATA.labels % 2
    found = PGD().search(network, inputs, labels, ball, torch.Generator().manual_seed(0)).margins
    sign = 1.0 - 2.0 * labels.double()
    offset = (network[1].bias[0] - network[1].bias[1]).detach().double()
    exact = sign * (inputs.flatten(1).double() @ weight + offset) - 0.03 * weight.abs().sum()
    assert torch.allclose(found, exact, atol=1e-5)


def test_everything_breaks_as_the_radius_grows() -> None:
    """Gradients pass through the spikes: an attack that cannot break anything would look like robustness."""
    for name in ("digits-flex-ann", "digits-flex-snn"):
        _, found = searched(PGD(), load(name).network, LinfBall(1.0, 0.0, 1.0))
        assert bool((found <= 0).all())


def test_a_random_start_helps_or_does_no_harm() -> None:
    network = load("digits-flex-snn").network
    one, three = (searched(PGD(steps=5, restarts=n), network, LinfBall(0.1, 0.0, 1.0))[1] for n in (1, 3))
    assert bool((three <= one).all())


def test_the_global_generator_is_not_used() -> None:
    state = torch.get_rng_state()
    searched(PGD(steps=2, restarts=2), load("digits-flex-ann").network, BALLS[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"restarts": 0}, {"step_ratio": 0.0}, {"step_ratio": float("nan")}])
def test_bad_parameters(parameters: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected all positive"):
        PGD(**parameters)  # type: ignore[arg-type]


def test_attacks_by_name() -> None:
    assert [attack(known.name) for known in attacks()] == list(attacks())
    assert all(word in PGD().describe() for word in ("20 steps", "3 restarts", "0.5 epsilon"))
    with pytest.raises(InputError, match="attack is 'cw', expected one of fgsm, pgd"):
        attack("cw")
