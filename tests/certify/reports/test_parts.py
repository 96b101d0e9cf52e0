from __future__ import annotations

import pytest
from pydantic import ValidationError

from neurocert.analysis.statistics import clopper_pearson
from neurocert.certify.reports.parts import Outcome, Perturbation, Sample, Share, Verdict, clean_share, summarise, verdict_of


def outcome(verdict: Verdict, bounds: dict[str, float | None], epsilon: float = 0.1) -> Outcome:
    attacked = {"pgd": -1.0 if verdict == "falsified" else None}
    witness = 0 if verdict == "falsified" else None
    return Outcome(sample=0, epsilon=epsilon, verdict=verdict, reason="", bounds=bounds, attacks=attacked, witness=witness, seconds=0.0)


def test_share_carries_the_exact_interval() -> None:
    share = Share.of(37, 50)
    assert (share.lower, share.upper) == clopper_pearson(37, 50)
    assert str(share.proportion) == "37/50 = 74.0 % [59.7, 85.4]"


@pytest.mark.parametrize("change", [{"lower": 0.6}, {"upper": 0.86}, {"count": 38}, {"count": 51}, {"n": 0}, {"lower": float("nan")}])
def test_share_with_another_interval_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Share.model_validate(Share.of(37, 50).model_dump() | change)


@pytest.mark.parametrize(
    ("correct", "broken", "bound", "verdict"),
    [
        (True, False, 0.1, "certified"),
        (True, False, 0.0, "unknown"),
        (True, False, -0.1, "unknown"),
        (True, False, None, "unknown"),
        (True, True, 0.0, "falsified"),
        (True, True, None, "falsified"),
        (False, False, None, "misclassified"),
        (False, True, -1.0, "misclassified"),
    ],
)
def test_verdict_follows(correct: bool, broken: bool, bound: float | None, verdict: Verdict) -> None:
    assert verdict_of(correct, broken, bound) == verdict


@pytest.mark.parametrize(("correct", "broken"), [(True, True), (False, False)])
def test_nothing_is_proved_and_broken(correct: bool, broken: bool) -> None:
    with pytest.raises(ValueError, match=r"proved by a bound of 0\.25 and broken"):
        verdict_of(correct, broken, 0.25)


def test_best_bound_and_worst_attack() -> None:
    found = outcome("certified", {"interval": -2.0, "linear": 0.5, "other": None})
    assert found.bound == 0.5
    assert (found.proved_by("linear"), found.proved_by("interval"), found.proved_by("other")) == (True, False, False)
    assert found.attacked is None and not found.broken
    assert outcome("unknown", {"interval": None}).bound is None
    assert found.model_copy(update={"attacks": {"fgsm": 0.3, "pgd": 0.0}}).attacked == 0.0
    assert found.model_copy(update={"attacks": {"fgsm": 0.3, "pgd": 0.0}}).broken


def test_summary_counts_its_own_radius_only() -> None:
    rows = [
        outcome("certified", {"interval": 0.1, "linear": 0.2}),
        outcome("certified", {"interval": -0.1, "linear": 0.2}),
        outcome("unknown", {"interval": -0.1, "linear": 0.0}),
        outcome("falsified", {"interval": None, "linear": -1.0}),
        outcome("misclassified", {"interval": None, "linear": None}),
        outcome("certified", {"interval": 9.0, "linear": 9.0}, epsilon=0.05),
    ]
    summary = summarise(rows, 0.1, ("interval", "linear"))
    counts = {name: (share.count, share.n) for name, share in summary.proportions().items()}
    assert counts == {
        "certified": (2, 5),
        "unknown": (1, 5),
        "falsified": (1, 5),
        "unbroken": (3, 5),
        "certified_by.interval": (1, 5),
        "certified_by.linear": (2, 5),
    }


def sample(label: int, predicted: int, margin: float) -> Sample:
    return Sample(index=0, label=label, predicted=predicted, clean_margin=margin, input=None)


def test_a_tie_is_not_a_decision() -> None:
    assert not sample(1, 1, 0.0).correct
    assert clean_share([sample(1, 1, 0.5), sample(1, 1, 0.0), sample(1, 2, -0.5)]).count == 1


@pytest.mark.parametrize(("predicted", "margin"), [(1, -0.5), (2, 0.5)])
def test_prediction_and_margin_must_agree(predicted: int, margin: float) -> None:
    with pytest.raises(ValidationError, match="sample 0: label 1"):
        sample(1, predicted, margin)


@pytest.mark.parametrize("epsilons", [(0.2, 0.1), (0.1, 0.1), (), (-0.1,), (float("inf"),)])
def test_radii_increase_and_are_finite(epsilons: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Perturbation(name="linf", epsilons=epsilons, low=0.0, high=1.0)


def test_text_that_is_no_text_can_still_be_written() -> None:
    assert Perturbation(name="f\udce9.npz", epsilons=(0.1,), low=None, high=None).name == "f?.npz"
