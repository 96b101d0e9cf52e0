"""Analyses as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from plotly.offline import get_plotlyjs

from neurocert.certify.reports.analysis.comparison import comparison, overview
from neurocert.certify.reports.analysis.content import Part, parts_of
from neurocert.certify.reports.analysis.schema import Analysis, to_json
from neurocert.certify.reports.write import ReportFiles, report_files
from neurocert.models.files import write_atomically

STEM = "analysis"
SCARCE = ("landscape-surface",)
"""A browser draws only some sixteen of these on a page; where networks are compared, once for each must do."""


@dataclass(frozen=True)
class Section:
    """What the page shows of one network."""

    analysis: Analysis
    parts: tuple[Part, ...]


def render(analyses: Sequence[Analysis]) -> str:
    """One page; with several networks they are compared first. Every text of an analysis is escaped."""
    several = len(analyses) > 1
    return _page().render(
        sections=[Section(analysis, parts_of(analysis, SCARCE if several else ())) for analysis in analyses],
        overview=overview(analyses),
        compared=comparison(analyses) if several else (),
        plotly=get_plotlyjs(),
    )


def write_analyses(directory: str | Path, analyses: Sequence[Analysis]) -> ReportFiles:
    """Writes ``analysis.html`` and ``analysis.json`` into ``directory``, which is created; older ones are replaced.

    Args:
        analyses: at least one.

    Raises:
        InputError: see ``report_files``; or the disk is full.
    """
    files = report_files(directory, STEM)
    page, document = render(analyses).encode(), to_json(analyses).encode()
    write_atomically(files.html, page)
    write_atomically(files.json, document)
    return files


@cache
def _page() -> Template:
    loader = PackageLoader("neurocert.certify.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("analysis.html.j2")
