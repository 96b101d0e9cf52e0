"""Analyses as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from neurocert.certify.reports.analysis.comparison import comparison, overview
from neurocert.certify.reports.analysis.content import Part, parts_of
from neurocert.certify.reports.analysis.schema import STEM, Analysis, to_json
from neurocert.certify.reports.documents import ReportFiles, template, write_files

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
    return template(STEM).render(
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
        InputError: see ``write_files``.
    """
    return write_files(directory, STEM, render(analyses), to_json(analyses))
