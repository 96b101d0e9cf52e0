from __future__ import annotations

from collections.abc import Callable

import pytest

from neurocert.analysis.statistics import Proportion
from neurocert.certify.reports.parts import Perturbation, WeightTolerance
from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.words import change, claim, headline, percent

MakeReport = Callable[..., Report]


def test_claim_counts_every_sample_once(make_report: MakeReport) -> None:
    report = make_report(n=50)
    assert claim(report, report.summaries[1]) == (
        "Of 50 held-out digits, 32 (64 %, 95 % interval 49.2 to 77.1 %) are proved to keep their class "
        "under every change of up to 0.01 per pixel; for 14 an attack found a change that breaks the decision; "
        "3 are undecided; 1 is misclassified without any change."
    )
    summary = report.summaries[1]
    assert summary.certified.count + summary.falsified.count + summary.unknown.count + 1 == 50


def test_claim_without_attack_or_success(make_report: MakeReport) -> None:
    silent = make_report(attacks=False)
    assert "; no attack was run; " in claim(silent, silent.summaries[0])
    harmless = make_report(n=2, epsilons=(0.0001,))
    assert harmless.summaries[0].falsified.count == 0
    assert "; no attack found a change that breaks a decision; " in claim(harmless, harmless.summaries[0])


def test_claim_of_one_and_of_none(make_report: MakeReport) -> None:
    one = make_report(n=1, epsilons=(0.0001,))
    assert "1 (100 %, 95 % interval 2.5 to 100 %) is proved to keep its class" in claim(one, one.summaries[0])
    assert claim(one, one.summaries[0]).endswith("none is undecided; none is misclassified without any change.")
    none = make_report(n=1, epsilons=(5.0,))
    assert "none (0 %, 95 % interval 0 to 97.5 %) is proved to keep its class" in claim(none, none.summaries[0])


def test_headline_is_the_largest_radius_with_half_certified(make_report: MakeReport) -> None:
    report = make_report(n=50)
    assert [summary.certified.count for summary in report.summaries] == [42, 32, 7]
    assert headline(report).epsilon == 0.01
    assert headline(make_report(epsilons=(1.0, 2.0))).epsilon == 1.0
    assert headline(make_report(epsilons=(0.0, 1.0, 2.0))).epsilon == 1.0  # no change at all is nothing to speak of
    assert headline(make_report(epsilons=(0.0,))).epsilon == 0.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linf", "change of up to 0.01 per pixel"),
        ("l2", "change of Euclidean length up to 0.01"),
        ("flips", "flip of up to 0.01 pixels"),
        ("drift", "change of size up to 0.01 (drift)"),
    ],
)
def test_change_in_words(name: str, words: str) -> None:
    assert change(Perturbation(name=name, epsilons=(0.01,), low=None, high=None), 0.01) == words


def test_percent_keeps_one_decimal_where_there_is_one() -> None:
    assert percent(Proportion(32, 50)) == "64 %, 95 % interval 49.2 to 77.1 %"


def test_claim_names_the_weights(make_report: MakeReport) -> None:
    report = make_report()
    weights = WeightTolerance(relative=0.01, absolute=0.0, names=("*",), description="every weight off by up to 1 % of itself")
    perturbation = report.perturbation.model_copy(update={"weights": weights})
    said = claim(report.model_copy(update={"perturbation": perturbation}), report.summaries[1])
    assert "under every change of up to 0.01 per pixel, with every weight off by up to 1 % of itself; for " in said
