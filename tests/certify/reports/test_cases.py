from __future__ import annotations

from collections.abc import Callable

from neurocert.certify.reports.cases import worst_cases
from neurocert.certify.reports.images import picture
from neurocert.certify.reports.schema import Report

MakeReport = Callable[..., Report]


def test_each_sample_once_at_the_radius_where_it_first_breaks(make_report: MakeReport) -> None:
    report = make_report(n=50)
    cases = worst_cases(report, most=1000)
    broken = {outcome.sample for outcome in report.outcomes if outcome.verdict == "falsified"}
    assert sorted(case.sample.index for case in cases) == sorted(broken)
    for case in cases:
        radii = [o.epsilon for o in report.outcomes if o.sample == case.sample.index and o.verdict == "falsified"]
        assert case.outcome.epsilon == min(radii)
    order = [(case.outcome.epsilon, case.witness.margin) for case in cases]
    assert order == sorted(order)
    assert worst_cases(report, most=3) == cases[:3]


def test_case_shows_its_own_images(make_report: MakeReport) -> None:
    case = worst_cases(make_report(n=50))[0]
    assert case.sample.input is not None
    assert case.original == picture(case.sample.input, 0.0, 1.0)
    assert case.perturbed == picture(case.witness.input, 0.0, 1.0)
    assert case.original != case.perturbed
    assert 0 < case.change <= case.outcome.epsilon
    assert not case.tie


def test_nothing_broken_nothing_shown(make_report: MakeReport) -> None:
    assert worst_cases(make_report(attacks=False)) == ()
