"""Campaigns on a network whose answers are known: logits (x0, 0), so that the margin of class 0 is x0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.campaign.campaign import Outcome, campaign
from neurocert.certify.errors import NumericalFailure, SandwichBreach, UnsupportedLayer
from neurocert.certify.problem import Problem, make_problem
from neurocert.certify.verifiers import margins
from neurocert.certify.verifiers.margins import METHODS, Method
from neurocert.perturbations.attacks import FGSM, PGD, Attack, AttackResult
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall

INTERVAL, LINEAR = METHODS["interval"], METHODS["linear"]
BOTH, ATTACKS = (INTERVAL, LINEAR), (FGSM(), PGD())
CENTRES = (1.0, 0.25, 0.05, -1.0, 0.0)
RIGHT, FAR, NEAR, WRONG, TIE = range(len(CENTRES))
Found = dict[tuple[int, float], Outcome]
Bound = Callable[[Problem, str, list[int]], Tensor]


class Plane(nn.Sequential):
    """Logits (x0, 0)."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 2))
        with torch.no_grad():
            self[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
            self[0].bias.zero_()
        self.eval()


@dataclass(frozen=True)
class Fixed(Attack):
    """Claims one margin for every sample, at its centre moved by ``move`` in x0; at radii from ``until`` on, it finds nothing."""

    move: float
    claimed: float
    until: float = math.inf
    name: ClassVar[str] = "fixed"

    def describe(self) -> str:
        return "claims"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        if ball.epsilon >= self.until:
            return AttackResult(inputs, inputs[:, 0].double())
        points = inputs + torch.tensor([self.move, 0.0])
        return AttackResult(points, torch.full((len(inputs),), self.claimed, dtype=torch.float64))


def problem(network: nn.Module | None = None) -> Problem:
    inputs = torch.tensor([[centre, 0.0] for centre in CENTRES])
    return make_problem(network or Plane(), inputs, torch.zeros(len(inputs), dtype=torch.int64), LinfBall(1.0))


def found(
    epsilons: tuple[float, ...] = (0.1,),
    methods: tuple[Method, ...] = BOTH,
    attacks: tuple[Attack, ...] = ATTACKS,
    kind: type[Ball] = LinfBall,
) -> Found:
    """The outcomes by sample and radius."""
    outcomes = campaign(problem(), tuple(map(kind, epsilons)), methods, attacks, 0, lambda *step: None)
    assert [(outcome.sample, outcome.epsilon) for outcome in outcomes] == [(i, e) for e in epsilons for i in range(len(CENTRES))]
    return {(outcome.sample, outcome.epsilon): outcome for outcome in outcomes}


def bounded_by(monkeypatch: pytest.MonkeyPatch, bound: Bound) -> None:
    """Lets ``bound`` say what a method proves."""
    monkeypatch.setattr(margins, "_lower_margins", lambda problem, graph, method, batch, deadline: bound(problem, method.name, batch))


def constant(value: float) -> Bound:
    return lambda problem, method, batch: torch.full((len(batch),), value, dtype=torch.float64)


@pytest.mark.parametrize("kind", [LinfBall, L2Ball, L1Ball])
def test_verdicts_bounds_and_margins(kind: type[Ball]) -> None:
    """In every norm the least margin at radius e is x0 - e."""
    outcomes = found((0.1, 0.5), kind=kind)
    verdicts = {epsilon: [outcomes[i, epsilon].verdict for i in range(len(CENTRES))] for epsilon in (0.1, 0.5)}
    assert verdicts[0.1] == ["certified", "certified", "falsified", "misclassified", "misclassified"]
    assert verdicts[0.5] == ["certified", "falsified", "falsified", "misclassified", "misclassified"]
    for (sample, epsilon), outcome in outcomes.items():
        exact = CENTRES[sample] - epsilon
        known = sample in (RIGHT, FAR, NEAR)
        for bound in outcome.bounds.values():
            assert (exact - 1e-5 < bound <= exact) if known and bound is not None else not known and bound is None
        attacked = outcome.attacks["pgd"]
        assert (exact <= attacked < CENTRES[sample]) if known and attacked is not None else not known and attacked is None


def test_a_counterexample_is_stored_and_breaks_the_network() -> None:
    outcome = found()[NEAR, 0.1]
    assert outcome.witness is not None and outcome.reason == f"class 1 reaches the label's logit (margin {outcome.witness.margin:g})"
    assert outcome.witness.margin == float(outcome.witness.point[0]) <= 0
    assert bool(LinfBall(0.1).contains(outcome.witness.point[None], torch.tensor([[CENTRES[NEAR], 0.0]])))
    assert all(other.witness is None for (sample, _), other in found().items() if sample != NEAR)


def test_a_counterexample_is_carried_to_every_larger_radius() -> None:
    outcomes = found((0.2, 0.3, 0.5), methods=(), attacks=(Fixed(-0.1, -0.05, until=0.3),))
    assert {outcomes[NEAR, epsilon].verdict for epsilon in (0.2, 0.3, 0.5)} == {"falsified"}
    assert outcomes[NEAR, 0.2].witness is outcomes[NEAR, 0.3].witness is outcomes[NEAR, 0.5].witness
    assert [outcomes[NEAR, epsilon].attacks["fixed"] for epsilon in (0.2, 0.3)] == [-0.05, -0.05]
    both = found((0.1, 0.5))
    assert both[NEAR, 0.5].witness is both[NEAR, 0.1].witness  # the smaller change, though the larger radius was searched too


def test_a_proof_against_a_carried_counterexample_ends_the_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded_by(monkeypatch, lambda problem, method, batch: constant(-1.0 if problem.ball.epsilon < 0.3 else 0.01)(problem, method, batch))
    with pytest.raises(SandwichBreach, match=rf"sample {NEAR}: an attack reached margin -0.05, .* 0.01 \(L-infinity ball of radius 0.3\)"):
        found((0.2, 0.3), attacks=(Fixed(-0.1, -0.05, until=0.3),))


@pytest.mark.parametrize("methods", [BOTH, BOTH[::-1]])
def test_one_method_that_proves_too_much_ends_the_campaign(monkeypatch: pytest.MonkeyPatch, methods: tuple[Method, ...]) -> None:
    """A bound above what an attack attains is a breach even where neither crosses 0."""
    bounded_by(monkeypatch, lambda problem, method, batch: problem.inputs[batch, 0].double() - (0.1 if method == "interval" else 0.05))
    with pytest.raises(SandwichBreach, match=f"sample {RIGHT}: an attack reached margin 0.9"):
        found(methods=methods)


def test_a_numerical_failure_is_unknown_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_on_the_second(problem: Problem, method: str, batch: list[int]) -> Tensor:
        if FAR in batch and method == "linear":
            raise NumericalFailure("values up to 1e+39 may overflow float32")
        return problem.inputs[batch, 0].double() - (2.0 if method == "interval" else 0.1)

    bounded_by(monkeypatch, fails_on_the_second)
    outcomes = found(attacks=())
    assert (outcomes[FAR, 0.1].verdict, outcomes[FAR, 0.1].reason) == ("unknown", "values up to 1e+39 may overflow float32")
    assert outcomes[FAR, 0.1].bounds == {"interval": -1.75, "linear": None}
    assert outcomes[RIGHT, 0.1].verdict == "certified"


@pytest.mark.parametrize("value", [math.nan, -math.inf, 0.0])
def test_what_is_no_positive_number_is_no_proof(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    bounded_by(monkeypatch, constant(value))
    assert {found(attacks=())[sample, 0.1].verdict for sample in (RIGHT, FAR, NEAR)} == {"unknown"}


def test_a_proof_of_one_method_counts_where_the_other_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded_by(monkeypatch, lambda problem, method, batch: constant(math.nan if method == "linear" else 0.5)(problem, method, batch))
    outcome = found(attacks=())[RIGHT, 0.1]
    assert (outcome.verdict, outcome.bounds) == ("certified", {"interval": 0.5, "linear": None})


def test_wrong_decisions_and_ties_are_neither_bounded_nor_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recorded(problem: Problem, method: str, batch: list[int]) -> Tensor:
        asked.extend(batch)
        return constant(-5.0)(problem, method, batch)

    bounded_by(monkeypatch, recorded)
    outcomes = found(methods=(LINEAR,))
    assert asked == [RIGHT, FAR, NEAR]
    for sample in (WRONG, TIE):
        outcome = outcomes[sample, 0.1]
        assert (outcome.bounds, outcome.attacks, outcome.witness) == ({"linear": None}, {"fgsm": None, "pgd": None}, None)
        assert outcome.reason == f"the margin on the unperturbed input is {CENTRES[sample]:g}"


def test_without_attacks_or_without_methods() -> None:
    proofs, breaks = found(attacks=()), found(methods=())
    assert proofs[NEAR, 0.1].verdict == "unknown" and proofs[NEAR, 0.1].attacks == {}
    assert "the interval and linear lower bound of the margin is -0.05" in str(proofs[NEAR, 0.1].reason)
    assert breaks[NEAR, 0.1].verdict == "falsified" and breaks[NEAR, 0.1].bounds == {}
    assert breaks[RIGHT, 0.1].reason == "no attack succeeded, and no bound was asked for"


def test_a_break_that_the_network_does_not_show_is_not_claimed() -> None:
    """The margin of the replay is reported in place of the attack's claim."""
    outcome = found(methods=(), attacks=(Fixed(-0.04, -1.0),))[NEAR, 0.1]
    assert (outcome.verdict, outcome.witness) == ("unknown", None)
    assert outcome.attacks["fixed"] == pytest.approx(0.01)


def test_nothing_is_left_to_chance() -> None:
    given, balls = problem(), (LinfBall(0.1), LinfBall(0.3))
    state, weights = torch.get_rng_state(), [parameter.clone() for parameter in given.network.parameters()]
    first, second = (campaign(given, balls, BOTH, (PGD(),), 7, lambda *step: None) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and torch.equal(p, w) for p, w in zip(given.network.parameters(), weights, strict=True))
    for a, b in zip(first, second, strict=True):
        assert (a.bounds, a.attacks, a.verdict, a.reason) == (b.bounds, b.attacks, b.verdict, b.reason)


def test_progress_names_every_step() -> None:
    steps: list[tuple[str, int, int]] = []
    campaign(problem(), (LinfBall(0.1), LinfBall(0.2)), (LINEAR,), (PGD(),), 0, lambda *step: steps.append(step))
    words = ["linear bounds, epsilon 0.1", "pgd, epsilon 0.1", "linear bounds, epsilon 0.2", "pgd, epsilon 0.2", "done"]
    assert steps == [(text, done, 4) for done, text in enumerate(words)]


def test_an_unsupported_layer_is_refused_before_the_first_step() -> None:
    steps: list[tuple[str, int, int]] = []
    given = problem(nn.Sequential(Plane(), nn.Softsign()).eval())
    with pytest.raises(UnsupportedLayer, match="Softsign"):
        campaign(given, (LinfBall(0.1),), (LINEAR,), (), 0, lambda *step: steps.append(step))
    assert steps == []
