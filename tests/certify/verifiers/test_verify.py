"""Verdicts: what counts as a proof, as a counterexample, and as neither."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from neurocert import certify
from neurocert.certify.bounds.graph import Graph
from neurocert.certify.campaign.campaign import campaign
from neurocert.certify.certificate import Certificate, Verdict, Witness
from neurocert.certify.deadline import Deadline
from neurocert.certify.errors import ConfigError, InputError, NumericalFailure, SandwichBreach, UnsupportedLayer
from neurocert.certify.problem import Problem, make_problem
from neurocert.certify.verifiers import margins
from neurocert.certify.verifiers.margins import METHODS, Method, capture_problem, margin_bounds, method
from neurocert.certify.verifiers.verify import decide, replay

WITNESS = Witness(torch.zeros(2), -0.5, 1)
LABELS = torch.tensor([0, 0, 0, 0])


class Plane(nn.Sequential):
    """Logits (x0, 0): the margin of class 0 is x0."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 2))
        with torch.no_grad():
            self[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
            self[0].bias.zero_()
        self.eval()


INPUTS = torch.tensor([[1.0, 0.0], [0.05, 0.0], [-1.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.enumerate])
def test_the_four_verdicts(name: str) -> None:
    found = certify.verify(Plane(), INPUTS, LABELS, certify.LinfBall(0.1), method=name)
    assert [c.verdict for c in found] == ["certified", "falsified", "misclassified", "misclassified"]
    certified, falsified, wrong, tie = found
    assert certified.lower_bound is not None and 0.8999 < certified.lower_bound <= 0.9 and certified.reason is None
    assert falsified.witness is not None and falsified.witness.margin <= 0 and "reaches the label's logit" in str(falsified.reason)
    assert wrong.lower_bound is None and tie.reason == "the margin on the unperturbed input is 0"
    assert {c.arithmetic for c in found} == {"float32"} and certified.perturbation == "L-infinity ball of radius 0.1"


def test_without_an_attack_nothing_is_falsified() -> None:
    found = certify.verify(Plane(), INPUTS[:2], LABELS[:2], certify.L2Ball(0.1), attack=None)
    assert [c.verdict for c in found] == ["certified", "unknown"]
    assert "not above 0" in str(found[1].reason)


def test_a_bound_of_exactly_zero_is_no_proof() -> None:
    (found,) = certify.verify(Plane(), torch.tensor([[0.1, 0.0]]), LABELS[:1], certify.LinfBall(0.1), attack=None)
    assert found.verdict == "unknown"


@pytest.mark.parametrize(
    ("clean", "bound", "witness", "failure", "verdict"),
    [
        (1.0, 0.5, None, None, "certified"),
        (1.0, 0.0, None, None, "unknown"),
        (1.0, math.nan, None, None, "unknown"),
        (1.0, math.nan, None, "overflow", "unknown"),
        (1.0, -math.inf, None, None, "unknown"),
        (1.0, -1.0, WITNESS, None, "falsified"),
        (1.0, math.nan, WITNESS, "overflow", "falsified"),
        (0.0, 0.5, None, None, "misclassified"),
        (-1.0, math.nan, None, None, "misclassified"),
        (math.nan, 0.5, None, None, "misclassified"),
    ],
)
def test_decide(clean: float, bound: float, witness: Witness | None, failure: str | None, verdict: str) -> None:
    found, reason = decide(clean, bound, witness, failure, "linear")
    assert found == verdict and (reason is None) == (verdict == "certified")


def test_a_witness_outside_the_set_or_without_effect_does_not_count() -> None:
    problem = make_problem(Plane(), INPUTS[:2], LABELS[:2], certify.LinfBall(0.1))
    assert replay(problem, 1, torch.tensor([-0.04, 0.0])) is not None
    assert replay(problem, 1, torch.tensor([-0.2, 0.0])) is None
    assert replay(problem, 1, torch.tensor([0.01, 0.0])) is None


def test_a_proof_that_an_attack_breaks_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margins.Propagation, "lower", lambda self, value, rows, **options: torch.zeros(rows.shape[:2]).double() - 0.01)
    with pytest.raises(SandwichBreach, match="sample 1: margin -"):
        certify.verify(Plane(), INPUTS[:2], LABELS[:2], certify.LinfBall(0.1))


def test_a_numerical_failure_concerns_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(Plane(), INPUTS[:2], LABELS[:2], certify.LinfBall(0.01))
    true = margins._lower_margins

    def fails_on_the_second(problem, graph, method, batch, deadline):
        if 1 in batch:
            raise NumericalFailure("an infinite bound")
        return true(problem, graph, method, batch, deadline)

    monkeypatch.setattr(margins, "_lower_margins", fails_on_the_second)
    bounds = margin_bounds(problem, capture_problem(problem), METHODS["interval"], [0, 1])
    assert float(bounds.lower[0]) > 0 and math.isnan(float(bounds.lower[1])) and bounds.failures == {1: "an infinite bound"}
    verdicts = [c.verdict for c in certify.verify(Plane(), INPUTS[:2], LABELS[:2], certify.LinfBall(0.01), method="interval")]
    assert verdicts == ["certified", "unknown"]


def test_float64_networks_are_certified_in_float64() -> None:
    (found,) = certify.verify(Plane().double(), INPUTS[:1].double(), LABELS[:1], certify.LinfBall(0.1))
    assert (found.verdict, found.arithmetic) == ("certified", "float64")


@pytest.mark.parametrize(
    ("inputs", "labels", "words"),
    [
        (INPUTS[:, :1], LABELS, "rejects inputs of shape"),
        (INPUTS.double() + 1e-12, LABELS, "cannot be given exactly"),
        (INPUTS.long(), LABELS, "expected floating point"),
        (INPUTS[:0], LABELS[:0], "with B >= 1"),
        (INPUTS * torch.nan, LABELS, "NaN or infinity"),
        (INPUTS, LABELS + 2, r"labels lie in 2\.\.2, the network has classes 0\.\.1"),
        (INPUTS, LABELS - 1, "labels lie in -1"),
        (INPUTS, LABELS[:2], "expected 4 integers"),
        (INPUTS, LABELS.float(), "expected 4 integers"),
    ],
)
def test_bad_inputs(inputs: Tensor, labels: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        certify.verify(Plane(), inputs, labels, certify.LinfBall(0.1))


def test_bad_networks_and_names() -> None:
    broken = Plane()
    broken[0].weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        certify.verify(broken, INPUTS, LABELS, certify.LinfBall(0.1))
    with pytest.raises(InputError, match="expected all float32 or all float64"):
        certify.verify(Plane().half(), INPUTS, LABELS, certify.LinfBall(0.1))
    with pytest.raises(InputError, match="training mode"):
        certify.verify(Plane().train(), INPUTS, LABELS, certify.LinfBall(0.1))
    with pytest.raises(UnsupportedLayer, match="Softsign"):
        certify.verify(nn.Sequential(Plane(), nn.Softsign()).eval(), INPUTS, LABELS, certify.LinfBall(0.1))
    with pytest.raises(InputError, match="expected a Ball"):
        certify.verify(Plane(), INPUTS, LABELS, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected one of interval, linear, optimised"):
        method("crown")


def test_a_certificate_agrees_with_itself() -> None:
    given = {
        "label": 0,
        "predicted": 0,
        "clean_margin": 1.0,
        "method": "linear",
        "perturbation": "p",
        "semantics": "s",
        "arithmetic": "real",
    }
    rest = {**given, "reason": None, "seconds": 0.0}
    with pytest.raises(ValueError, match="positive lower bound"):
        Certificate(verdict=Verdict.CERTIFIED, lower_bound=0.0, witness=None, **rest)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="if and only if"):
        Certificate(verdict=Verdict.FALSIFIED, lower_bound=None, witness=None, **rest)  # type: ignore[arg-type]
    assert all(verdict.meaning for verdict in Verdict)


@pytest.mark.parametrize("name", ["interval", "linear", "optimised"])
def test_what_is_not_bounded_in_time_is_unknown(name: str) -> None:
    found = certify.verify(Plane(), INPUTS, LABELS, certify.LinfBall(0.1), name, time_limit=1e-9)
    assert [c.verdict for c in found] == ["unknown", "falsified", "misclassified", "misclassified"]
    assert found[0].reason == f"no {name} bound within 1e-09 s" and found[0].lower_bound is None


def test_enough_time_changes_nothing() -> None:
    hurried, free = (certify.verify(Plane(), INPUTS, LABELS, certify.LinfBall(0.1), time_limit=limit) for limit in (1e6, None))
    assert [(c.verdict, c.lower_bound) for c in hurried] == [(c.verdict, c.lower_bound) for c in free]


def test_one_method_out_of_time_leaves_the_others_their_proofs() -> None:
    """Every sample and radius has the time anew: what an interval proves is proved, however long the rest would take."""
    slow = dataclasses.replace(METHODS["linear"], name="slow")
    problem, bound = make_problem(Plane(), INPUTS[:1], LABELS[:1], certify.LinfBall(0.1)), margins._lower_margins

    def late(problem: Problem, graph: Graph, method: Method, batch: list[int], deadline: Deadline) -> Tensor:
        return bound(problem, graph, method, batch, Deadline(-math.inf) if method is slow else deadline)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(margins, "_lower_margins", late)
        (outcome,) = campaign(problem, (problem.ball,), (METHODS["interval"], slow), (), 0, lambda *step: None, time_limit=60.0)
    assert outcome.verdict is Verdict.CERTIFIED and outcome.bounds["slow"] is None and outcome.bounds["interval"] is not None


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf, math.nan, True])
def test_a_time_limit_that_is_none(limit: float) -> None:
    with pytest.raises(ConfigError, match=r"time limit is .*, expected a number of seconds above 0"):
        certify.verify(Plane(), INPUTS, LABELS, certify.LinfBall(0.1), time_limit=limit)
