"""The report as one HTML file that needs nothing else: no network, no fonts, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from neurocert.certify.reports.cases import Case, worst_cases
from neurocert.certify.reports.documents import ReportFiles, template, write_files
from neurocert.certify.reports.figures import COLOURS, Figure, attack_curves, margins, sandwich
from neurocert.certify.reports.parts import VERDICTS, Outcome, Sample, Share, Summary
from neurocert.certify.reports.schema import STEM, Report, to_json
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
    return template(STEM).render(
        sections=[_section(report) for report in reports],
        plotly=get_plotlyjs(),
        verdicts=VERDICTS,
        colours=COLOURS,
    )


def write_reports(directory: str | Path, reports: Sequence[Report]) -> ReportFiles:
    """Writes ``report.html`` and ``report.json`` into ``directory``, which is created; older ones are replaced.

    Both are complete before either is written.

    Args:
        reports: at least one.

    Raises:
        InputError: see ``write_files``.
    """
    return write_files(directory, STEM, render(reports), to_json(reports))


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
