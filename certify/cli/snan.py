"""``certify snan``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neurocert.certify.cli.certifying import command_line
from neurocert.certify.cli.console import answer, grid, named, progress, remark, write
from neurocert.certify.config import parse_names, parse_numbers, parse_samples
from neurocert.certify.errors import ConfigError
from neurocert.certify.reports.documents import report_files
from neurocert.certify.reports.snan.config import StudyConfig
from neurocert.certify.reports.snan.page import overview, write_studies
from neurocert.certify.reports.snan.schema import STEM, to_json
from neurocert.certify.snan_study import study


def configurations(
    hybrids: Sequence[str],
    data: str,
    epsilons: str,
    samples: str | None,
    enumerated: int,
    budget: int,
    single_flips: int,
    noise: str,
    shown_noise: float,
    smoothed: int,
    flip: float,
    draws: int,
    recipe: str | None,
    few_shots: str | None,
    seed: int,
) -> tuple[StudyConfig, ...]:
    """One configuration for each hybrid, from the command line's words.

    Raises:
        ConfigError: a word that cannot be read, or a value that cannot be used.
    """
    first = StudyConfig(
        checkpoint=hybrids[0],
        data=data,
        samples=None if samples is None else parse_samples(samples),
        epsilons=parse_numbers(epsilons, "epsilon"),
        enumerated=enumerated,
        budget=budget,
        single_flips=single_flips,
        noise=parse_numbers(noise, "noise"),
        shown_noise=shown_noise,
        smoothed=smoothed,
        flip=flip,
        draws=draws,
        recipe=recipe,
        few_shots=() if few_shots is None else tuple(map(_whole, parse_names(few_shots))),
        seed=seed,
        command=command_line(),
    )
    return tuple(replace(first, checkpoint=hybrid) for hybrid in dict.fromkeys(hybrids))


def study_all(configs: Sequence[StudyConfig], out: str, *, as_json: bool) -> None:
    """Studies each hybrid, writes the page, and prints its numbers."""
    report_files(out, STEM)
    with progress() as step:
        studies = tuple(study(config, named(step, config.checkpoint)) for config in configs)
    files = write_studies(out, studies)
    if as_json:
        write(to_json(studies))
    else:
        answer(grid(overview(studies)), "")
    (remark if as_json else answer)(f"Study: {files.html} and {files.json}")


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ConfigError(f"few shots: got {word!r}, expected a whole number") from error
