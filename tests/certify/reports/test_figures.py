from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from neurocert.certify.reports.figures import COLOURS, margins, sandwich
from neurocert.certify.reports.schema import Report

MakeReport = Callable[..., Report]


def traces(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure["data"]}


def test_sandwich_draws_the_summaries(make_report: MakeReport) -> None:
    report = make_report(n=50)
    drawn = traces(sandwich(report))
    assert list(drawn) == ["clean", "under attack", "certified"]  # the fill reaches up to the trace before
    assert drawn["certified"]["fill"] == "tonexty"
    for name, field in (("certified", "certified"), ("under attack", "unbroken")):
        trace, bars = drawn[name], drawn[name]["error_y"]
        assert list(trace["x"]) == [0.005, 0.01, 0.02]
        for position, summary in enumerate(report.summaries):
            share = getattr(summary, field)
            height = trace["y"][position]
            assert height == pytest.approx(100 * share.count / 50)
            assert height + bars["array"][position] == pytest.approx(100 * share.upper)
            assert height - bars["arrayminus"][position] == pytest.approx(100 * share.lower)
            assert trace["text"][position] == str(share.proportion)
    assert drawn["certified"]["line"]["color"] == COLOURS["certified"]


def test_sandwich_without_attack_has_no_upper_curve(make_report: MakeReport) -> None:
    drawn = traces(sandwich(make_report(attacks=False)))
    assert list(drawn) == ["clean", "certified"]
    assert "fill" not in drawn["certified"]


@pytest.mark.parametrize(
    ("epsilons", "kind"),
    [((0.01, 0.02), "linear"), ((0.001, 0.1), "log"), ((0.0, 0.1), "linear"), ((0.1,), "linear")],
)
def test_wide_radii_get_a_logarithmic_axis(make_report: MakeReport, epsilons: tuple[float, ...], kind: str) -> None:
    assert sandwich(make_report(epsilons=epsilons))["layout"]["xaxis"]["type"] == kind


def test_histogram_counts_each_bound_once_on_its_side_of_zero(make_report: MakeReport) -> None:
    report = make_report(n=50)
    summary = report.summaries[1]
    drawn = traces(margins(report, summary))
    assert sum(drawn["clean margin"]["y"]) == 50
    for verdict in ("certified", "unknown", "falsified"):
        assert sum(drawn[verdict]["y"]) == getattr(summary, verdict).count
        sides = {middle > 0 for middle, count in zip(drawn[verdict]["x"], drawn[verdict]["y"], strict=True) if count}
        assert sides == {verdict == "certified"}
        assert drawn[verdict]["marker"]["color"] == COLOURS[verdict]
    middles = drawn["clean margin"]["x"]
    size = middles[1] - middles[0]
    for middle, count in zip(middles, drawn["clean margin"]["y"], strict=True):
        inside = [s for s in report.samples if middle - size / 2 <= s.clean_margin < middle + size / 2]
        assert count == len(inside)


def test_far_bounds_do_not_squeeze_the_histogram(make_report: MakeReport) -> None:
    report = make_report(n=50, epsilons=(1000.0,))
    drawn = traces(margins(report, report.summaries[0]))
    largest = max(abs(sample.clean_margin) for sample in report.samples)
    assert min(drawn["falsified"]["x"]) > -3 * largest
    assert sum(drawn["falsified"]["y"]) == report.summaries[0].falsified.count


def test_one_sample_can_be_drawn(make_report: MakeReport) -> None:
    report = make_report(n=1, epsilons=(0.0,))
    figure = margins(report, report.summaries[0])
    assert sum(traces(figure)["clean margin"]["y"]) == 1
    json.dumps([figure, sandwich(report)], allow_nan=False)
