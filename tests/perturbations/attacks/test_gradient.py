"""Attacks: inside the set, honest about margins, repeatable, and strong where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.errors import InputError
from neurocert.models.layers.lif import Fire
from neurocert.perturbations.attacks import attack, attacks
from neurocert.perturbations.attacks.gradient import FGSM, PGD, margins
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall

BALLS = (LinfBall(0.05, 0.0, 1.0), L2Ball(0.5, 0.0, 1.0), L1Ball(2.0, 0.0, 1.0))
DATA = digits("test").take(range(8))


def searched(searcher: FGSM | PGD, network: nn.Module, ball: Ball, seed: int = 0) -> tuple[Tensor, Tensor]:
    found = searcher.search(network, DATA.inputs, DATA.labels, ball, torch.Generator().manual_seed(seed))
    return found.points, found.margins


class Comparing(nn.Module):
    """Spikes without a surrogate: no gradient reaches the input."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout((inputs.flatten(1) > 0.5).to(inputs.dtype))


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


@pytest.mark.parametrize(("ball", "dual"), [(LinfBall(0.03), 1), (L2Ball(0.2), 2)], ids=["linf", "l2"])
def test_pgd_finds_the_minimum_of_a_linear_network(ball: Ball, dual: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 2)
    inputs, labels = DATA.inputs, DATA.labels % 2
    found = PGD().search(nn.Sequential(nn.Flatten(), layer), inputs, labels, ball, torch.Generator().manual_seed(0)).margins
    weight, offset = ((row[0] - row[1]).detach().double() for row in (layer.weight, layer.bias))
    sign = 1.0 - 2.0 * labels.double()
    exact = sign * (inputs.flatten(1).double() @ weight + offset) - ball.epsilon * weight.norm(dual)
    assert torch.allclose(found, exact, atol=1e-5)


def test_pgd_breaks_spiking_samples_that_one_step_does_not() -> None:
    network, data, ball = load("digits-flex-snn").network, digits("test").take(range(30)), LinfBall(0.1, 0.0, 1.0)
    once, many = (attack(name).search(network, data.inputs, data.labels, ball, torch.Generator()).broken for name in ("fgsm", "pgd"))
    assert bool((many & ~once).any()) and int(many.sum()) > int(once.sum())


def test_gradients_pass_through_spikes_that_stay_exact() -> None:
    network, spikes = load("digits-flex-snn").network, []
    for module in network.modules():
        if isinstance(module, Fire):
            module.register_forward_hook(lambda layer, inputs, outputs: spikes.append(outputs[1]))
    points = DATA.inputs.clone().requires_grad_()
    logits = network(points)
    (gradient,) = torch.autograd.grad(margins(logits, DATA.labels).sum(), points)
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
    assert {value for train in spikes for value in train.detach().unique().tolist()} == {0.0, 1.0}
    with torch.no_grad():
        assert torch.equal(network(DATA.inputs), logits)


@pytest.mark.parametrize("searcher", [FGSM(), PGD(steps=3, restarts=2)], ids=["fgsm", "pgd"])
def test_a_network_that_passes_no_gradient_is_still_searched(searcher: FGSM | PGD) -> None:
    torch.manual_seed(0)
    network = Comparing()
    points, found = searched(searcher, network, BALLS[0])
    assert bool(BALLS[0].contains(points, DATA.inputs).all())
    assert torch.equal(found, margins(network(points), DATA.labels).detach())


@pytest.mark.parametrize("searcher", [FGSM(), PGD(steps=3, restarts=2)], ids=["fgsm", "pgd"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_attack_needs_no_gradient_mode_of_its_caller(searcher: FGSM | PGD, mode: Callable[[], AbstractContextManager[None]]) -> None:
    network = load("digits-flex-ann").network
    expected = searched(searcher, network, BALLS[0])
    with mode():
        points, found = searched(searcher, network, BALLS[0])
    assert torch.equal(points, expected[0]) and torch.equal(found, expected[1])
    assert not points.requires_grad and not found.requires_grad


@pytest.mark.parametrize("searcher", [FGSM(), PGD(steps=3, restarts=2)], ids=["fgsm", "pgd"])
@pytest.mark.parametrize("kind", [LinfBall, L2Ball, L1Ball])
def test_at_radius_zero_there_is_nothing_to_find(kind: type[Ball], searcher: FGSM | PGD) -> None:
    network = load("digits-flex-snn").network
    points, found = searched(searcher, network, kind(0.0, 0.0, 1.0))
    assert torch.equal(points, DATA.inputs) and torch.equal(found, margins(network(DATA.inputs), DATA.labels).detach())


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
