"""What holds for every attack: inside the set, honest, repeatable, and right where the worst case is known."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import (
    APGDCE,
    APGDDLR,
    FGSM,
    PGD,
    SPGD,
    APGDTargeted,
    Attack,
    Refined,
    Softened,
    Square,
    Surrogates,
    attack,
    attacks,
)
from neurocert.perturbations.attacks.gradient import Expected, margins, steady
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall

QUICK = (
    FGSM(),
    PGD(steps=4, restarts=2),
    SPGD(steps=4, directions=4),
    APGDCE(steps=6, restarts=2),
    APGDDLR(steps=6, restarts=2),
    APGDTargeted(steps=4, targets_tried=3),
    Square(queries=30),
    Surrogates(PGD(steps=2, restarts=1)),
    Softened(steps=4, restarts=2),
    Refined(Softened(steps=3, restarts=1), 2, 2, Square(queries=10, area=0.1)),
)
KINDS = (LinfBall, L2Ball, L1Ball)
BALLS = (LinfBall(0.05, 0.0, 1.0), L2Ball(0.5, 0.0, 1.0), L1Ball(2.0, 0.0, 1.0))
DATA = digits("test").take(range(6))

every_attack = pytest.mark.parametrize("searcher", QUICK, ids=[searcher.name for searcher in QUICK])


def searched(
    searcher: Attack, network: nn.Module, ball: Ball, inputs: Tensor = DATA.inputs, labels: Tensor = DATA.labels
) -> tuple[Tensor, Tensor]:
    found = searcher.search(network, inputs, labels, ball, torch.Generator().manual_seed(0))
    return found.points, found.margins


def distance(point: Tensor, centre: Tensor, norm: str) -> Fraction:
    """In exact arithmetic; squared for L2."""
    moves = [abs(Fraction(a) - Fraction(b)) for a, b in zip(point.flatten().tolist(), centre.flatten().tolist(), strict=True)]
    return {"linf": max(moves), "l1": sum(moves, Fraction(0)), "l2": sum((move**2 for move in moves), Fraction(0))}[norm]


@every_attack
@pytest.mark.parametrize("ball", BALLS, ids=["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["digits-flex-ann", "digits-flex-snn"])
def test_points_lie_in_the_set_and_margins_are_theirs(searcher: Attack, ball: Ball, name: str) -> None:
    network = load(name).network
    state = torch.get_rng_state()
    points, found = searched(searcher, network, ball)
    radius = Fraction(ball.epsilon) ** (2 if ball.norm == "l2" else 1)
    for point, centre in zip(points, DATA.inputs, strict=True):
        assert distance(point, centre, ball.norm) <= radius
    assert float(points.min()) >= 0 and float(points.max()) <= 1
    assert torch.equal(found, margins(network(points), DATA.labels).detach())
    assert bool((found <= margins(network(DATA.inputs), DATA.labels)).all())
    again_points, again = searched(searcher, network, ball)
    assert torch.equal(points, again_points) and torch.equal(found, again)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@every_attack
def test_every_attack_gets_somewhere(searcher: Attack) -> None:
    for name, ball in (("digits-flex-ann", BALLS[0]), ("digits-flex-snn", BALLS[1])):
        network = load(name).network
        _, found = searched(searcher, network, ball)
        assert bool((found < margins(network(DATA.inputs), DATA.labels)).any())


@every_attack
@pytest.mark.parametrize("kind", KINDS)
def test_at_radius_zero_there_is_nothing_to_find(searcher: Attack, kind: type[Ball]) -> None:
    network = load("digits-flex-snn").network
    points, found = searched(searcher, network, kind(0.0, 0.0, 1.0))  # type: ignore[call-arg]
    assert torch.equal(points, DATA.inputs) and torch.equal(found, margins(network(DATA.inputs), DATA.labels).detach())


class Linear(nn.Module):
    """Logits that are linear in the input, so that the worst case of a ball without a range is known."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(classes)
        self.weight = nn.Parameter(torch.randn(classes, 16, generator=generator))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.weight.T

    def critical(self, inputs: Tensor, labels: Tensor, norm: str) -> Tensor:
        """The radius at which a sample breaks: the least margin over the dual norm of its gradient, float64 (B,)."""
        dual = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
        weight, logits = self.weight.detach().double(), inputs.flatten(1).double() @ self.weight.detach().double().T
        own = logits.gather(1, labels[:, None])
        lengths = (weight[labels][:, None] - weight[None]).norm(dual, dim=2)
        return ((own - logits) / lengths).nan_to_num(nan=torch.inf).amin(1)


LINEAR = {
    "pgd": PGD(),
    "spgd": SPGD(steps=30, directions=32),
    "apgd-ce": APGDCE(),
    "apgd-dlr": APGDDLR(),
    "apgd-t": APGDTargeted(),
    "square": Square(queries=300),
    "surrogates": Surrogates(),
    "softened": Softened(),
    "refined": Refined(Softened(steps=20, restarts=1), 1, 1, Square(queries=20)),
}
SLACK = {"spgd": 1.1, "square": 1.3}


CASES = [(name, 2) for name in LINEAR] + [("apgd-t", 3), ("apgd-t", 10)]


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("kind", [LinfBall, L2Ball])
def test_the_worst_case_of_a_linear_network(name: str, kind: Callable[[float], Ball], classes: int) -> None:
    """Nothing breaks below the radius at which it can, and everything just above it."""
    network, inputs = Linear(classes), torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = network(inputs).argmax(1)
    critical = network.critical(inputs, labels, kind(1.0).norm)
    for index, radius in enumerate(critical.tolist()):
        sample, label = inputs[index : index + 1], labels[index : index + 1]
        below, above = (searched(LINEAR[name], network, kind(radius * share), sample, label)[1] for share in (0.99, SLACK.get(name, 1.01)))
        assert float(below) > 0 >= float(above)


@pytest.mark.parametrize("name", ["digits-flex-ann", "digits-flex-snn", "digits-flex-ann-robust", "digits-flex-snn-robust"])
@pytest.mark.parametrize("ball", [LinfBall(0.1, 0.0, 1.0), L2Ball(0.5, 0.0, 1.0)], ids=["linf", "l2"])
def test_auto_pgd_is_at_least_as_strong_as_pgd(name: str, ball: Ball) -> None:
    """At an equal budget of 180 passes: PGD's 60 steps take two forward and one backward pass, auto-PGD's 88 one of each."""
    network, data = load(name).network, digits("test").take(range(50))
    clean = network(data.inputs).argmax(1) == data.labels
    pgd, ce, dlr = (
        searched(searcher, network, ball, data.inputs, data.labels)[1] <= 0
        for searcher in (PGD(steps=20, restarts=3), APGDCE(steps=22, restarts=2), APGDDLR(steps=22, restarts=2))
    )
    assert bool(clean.any()) and int((ce | dlr).sum()) >= int(pgd.sum())


class Saturated(nn.Module):
    """A network whose logits pass through a tanh that is flat in float32: no gradient, but a decision that moves."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear(2)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(1e4 * self.linear(inputs))


def test_logits_break_what_gradients_cannot() -> None:
    network, inputs = Saturated(), torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = network(inputs).argmax(1)
    ball = LinfBall(3 * float(network.linear.critical(inputs, labels, "linf").max()))
    broken = {searcher.name: int((searched(searcher, network, ball, inputs, labels)[1] <= 0).sum()) for searcher in (FGSM(), Square())}
    assert broken == {"fgsm": 0, "square": 8}
    assert [searcher.name for searcher in attacks() if searcher.sees == "logits"] == ["spgd", "square"]


class Noisy(nn.Module):
    """Draws random numbers at every pass, as a rate encoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear(3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear((torch.rand(inputs.shape) < inputs).to(inputs.dtype) + inputs - inputs.detach())


def test_a_network_that_draws_is_attacked_in_expectation() -> None:
    network, inputs = Noisy(), torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    expected = steady(network, inputs)
    assert isinstance(expected, Expected) and steady(expected, inputs) is expected
    state = torch.get_rng_state()
    logits = expected(inputs)
    assert torch.equal(logits, expected(inputs)) and torch.equal(torch.get_rng_state(), state)
    labels = logits.argmax(1)
    points, found = searched(PGD(steps=5, restarts=1), network, LinfBall(0.3, 0.0, 1.0), inputs, labels)
    assert torch.equal(found, margins(expected(points), labels).detach())
    assert bool((found < margins(logits, labels)).all())
    assert steady(network.linear, inputs) is network.linear


def test_names() -> None:
    assert [known.name for known in attacks()] == [searcher.name for searcher in QUICK]
    assert [attack(known.name) for known in attacks()] == list(attacks())
    assert all(known.describe().count("\n") == 0 for known in attacks())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SPGD(directions=0), "SPGD: got .* expected all positive"),
        (lambda: APGDCE(steps=0), "APGD: got steps 0"),
        (lambda: APGDTargeted(targets_tried=0), "APGD-T: got targets_tried 0"),
        (lambda: Square(queries=0), "Square: got queries 0"),
        (lambda: Square(area=1.5), "area 1.5"),
        (lambda: Softened(restarts=0), "softened: got steps 60, restarts 0"),
        (lambda: Refined(walkers=0), "refined: got walkers 0"),
    ],
)
def test_bad_parameters(make: Callable[[], Attack], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
