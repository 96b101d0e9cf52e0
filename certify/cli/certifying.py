"""``certify run``, ``certify attack`` and ``certify demo``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from neurocert.certify.cli.console import answer, named, progress, remark, write
from neurocert.certify.config import (
    Requirement,
    RunConfig,
    WeightTolerance,
    parse_names,
    parse_number,
    parse_numbers,
    parse_requirement,
    parse_samples,
)
from neurocert.certify.reports.attack_table import attack_table
from neurocert.certify.reports.documents import report_files
from neurocert.certify.reports.html import write_reports
from neurocert.certify.reports.schema import STEM, Report, to_json
from neurocert.certify.reports.table import table
from neurocert.certify.reports.words import claim, headline
from neurocert.certify.runner import run

DEMONSTRATED = ("digits-flex-ann", "digits-flex-snn")


def configurations(
    checkpoints: Sequence[str],
    data: str,
    epsilons: str,
    norm: str,
    methods: str,
    attacks: str,
    samples: str | None,
    seed: int,
    *,
    arithmetic: str | None = None,
    requirements: Sequence[str] = (),
    weights: WeightTolerance | None = None,
    time_limit: str | None = None,
) -> tuple[RunConfig, ...]:
    """One configuration for each checkpoint, from the command line's words.

    Raises:
        ConfigError: a word that cannot be read, or a value that cannot be used.
    """
    first = RunConfig(
        checkpoint=checkpoints[0],
        data=data,
        epsilons=tuple(sorted(set(parse_numbers(epsilons, "epsilon")))),
        norm=norm,
        methods=parse_names(methods),
        attacks=parse_names(attacks),
        samples=None if samples is None else parse_samples(samples),
        seed=seed,
        arithmetic=arithmetic,
        requirements=tuple(map(parse_requirement, requirements)),
        weights=weights,
        time_limit=None if time_limit is None else parse_number(time_limit, "time limit"),
        command=command_line(),
    )
    return tuple(replace(first, checkpoint=checkpoint) for checkpoint in dict.fromkeys(checkpoints))


def demonstration() -> tuple[RunConfig, ...]:
    """Two shipped checkpoints, one that spikes and one that does not, with the defaults of a run."""
    return tuple(RunConfig(checkpoint=name, command=command_line()) for name in DEMONSTRATED)


def command_line() -> str:
    """What the user typed, fit to be typed again."""
    return shlex.join(["certify", *sys.argv[1:]])


def certify_all(configs: Sequence[RunConfig], out: str | None, *, as_json: bool = False, strict: bool = False) -> int:
    """Runs the configurations, prints what was found, writes the report if asked to.

    Returns:
        The exit code: 0; 1 where a requirement failed or, if strict, something is broken; 3 where, if strict, something
        is unknown.
    """
    if out is not None:
        report_files(out, STEM)
    with progress() as step:
        reports = tuple(run(config, step if len(configs) == 1 else named(step, config.checkpoint)) for config in configs)
    _show(reports, as_json=as_json)
    if out is not None:
        files = write_reports(out, reports)
        (remark if as_json else answer)(f"Report: {files.html} and {files.json}")
    failures = [failure for config, report in zip(configs, reports, strict=True) for failure in failed(config.requirements, report)]
    for failure in failures:
        remark(failure)
    return 1 if failures else strict_code(reports) if strict else 0


def _show(reports: Sequence[Report], *, as_json: bool) -> None:
    if as_json:
        write(to_json(reports))
        return
    for report in reports:
        shown = table(report) if report.methods else attack_table(report)
        answer(shown, "", claim(report, headline(report)), "", *(f"Masked gradients? {sign}." for sign in report.masking))


def failed(requirements: Sequence[Requirement], report: Report) -> list[str]:
    """What to say about each requirement that the report does not meet."""
    certified = {summary.epsilon: summary.certified.proportion for summary in report.summaries}
    return [
        f"requirement {requirement} failed: {report.network.name} has {certified[requirement.epsilon]} certified"
        for requirement in requirements
        if certified[requirement.epsilon].value < requirement.share
    ]


def strict_code(reports: Sequence[Report]) -> int:
    """0 if every sample is certified at every radius, 1 if any is broken or misclassified, else 3."""
    verdicts = {outcome.verdict for report in reports for outcome in report.outcomes}
    if verdicts & {"falsified", "misclassified"}:
        return 1
    return 3 if "unknown" in verdicts else 0
