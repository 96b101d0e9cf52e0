"""``certify analyse``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neurocert.certify.analyser import analyse
from neurocert.certify.cli.certifying import command_line
from neurocert.certify.cli.console import answer, grid, named, progress, remark, write
from neurocert.certify.config import parse_names, parse_numbers, parse_samples
from neurocert.certify.reports.analysis.comparison import overview
from neurocert.certify.reports.analysis.config import ALL_FIGURES, EPSILONS, AnalysisConfig
from neurocert.certify.reports.analysis.page import write_analyses
from neurocert.certify.reports.analysis.schema import STEM, to_json
from neurocert.certify.reports.documents import report_files


def configurations(
    checkpoints: Sequence[str],
    data: str,
    figures: str | None,
    epsilons: str | None,
    norm: str,
    attacks: str,
    samples: str | None,
    seed: int,
) -> tuple[AnalysisConfig, ...]:
    """One configuration for each checkpoint, from the command line's words.

    Raises:
        ConfigError: a word that cannot be read, or a value that cannot be used.
    """
    first = AnalysisConfig(
        checkpoint=checkpoints[0],
        data=data,
        samples=None if samples is None else parse_samples(samples),
        figures=ALL_FIGURES if figures is None else parse_names(figures),
        attacks=parse_names(attacks),
        norm=norm,
        epsilons=EPSILONS if epsilons is None else parse_numbers(epsilons, "epsilon"),
        seed=seed,
        command=command_line(),
    )
    return tuple(replace(first, checkpoint=checkpoint) for checkpoint in dict.fromkeys(checkpoints))


def analyse_all(configs: Sequence[AnalysisConfig], out: str, *, as_json: bool) -> None:
    """Analyses each checkpoint, writes the page, and prints its numbers."""
    report_files(out, STEM)
    with progress() as step:
        analyses = tuple(analyse(config, named(step, config.checkpoint)) for config in configs)
    files = write_analyses(out, analyses)
    if as_json:
        write(to_json(analyses))
    else:
        found = overview(analyses)
        answer(grid([found.head, *found.rows]), "")
    (remark if as_json else answer)(f"Analysis: {files.html} and {files.json}")
