"""The report as one HTML file that needs nothing else: no network, no fonts, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from plotly.offline import get_plotlyjs

from neurocert.certify.reports.cases import Case, worst_cases
from neurocert.certify.reports.figures import COLOURS, Figure, attack_curves, margins, sandwich
from neurocert.certify.reports.parts import VERDICTS, Outcome, Sample, Share, Summary
from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.words import claim, headline


@dataclass(frozen=True)
class Section:
    """What the page shows of one report.

    Attributes:
        claim: about ``headline``.
        rows: each sample with its outcomes, in the order of the radii.
        curves: None without attacks.
        misclassified: the same at every radius.
    """

    report: Report
    headline: Summary
    claim: str
    sandwich: Figure
    margins: Figure
    curves: Figure | None
    cases: tuple[Case, ...]
    rows: tuple[tuple[Sample, tuple[Outcome, ...]], ...]
    misclassified: Share


def render(reports: Sequence[Report]) -> str:
    """One page for all reports. Every text of a report is escaped."""
    return _page().render(
        sections=[_section(report) for report in reports],
        plotly=get_plotlyjs(),
        verdicts=VERDICTS,
        colours=COLOURS,
    )


def _section(report: Report) -> Section:
    summary = headline(report)
    n = len(report.samples)
    columns = [[outcome for _, outcome in report.rows(epsilon)] for epsilon in report.perturbation.epsilons]
    return Section(
        report=report,
        headline=summary,
        claim=claim(report, summary),
        sandwich=sandwich(report),
        margins=margins(report, summary),
        curves=attack_curves(report) if report.curves else None,
        cases=worst_cases(report),
        rows=tuple(zip(report.samples, zip(*columns, strict=True), strict=True)),
        misclassified=Share.of(n - report.clean.count, n),
    )


@cache
def _page() -> Template:
    loader = PackageLoader("neurocert.certify.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.j2")
