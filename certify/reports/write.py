"""Reports as files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurocert.certify.reports.html import render
from neurocert.certify.reports.schema import Report, to_json
from neurocert.models.errors import InputError
from neurocert.models.files import write_atomically


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    html: Path
    json: Path


def report_files(directory: str | Path, stem: str = "report") -> ReportFiles:
    """Where ``write_reports`` will write, after making the directory and checking that it can be written to.

    With another stem it serves other pairs of files. To be called before a long computation, too.

    Raises:
        InputError: the directory cannot be made or written to, or one of the names is taken by a directory.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{directory}: cannot be made a directory: {reason}", "choose another directory for the report") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{directory}: is not writable", "choose another directory for the report")
    files = ReportFiles(directory / f"{stem}.html", directory / f"{stem}.json")
    for path in (files.html, files.json):
        if path.is_dir():
            raise InputError(f"{path}: is a directory, expected a file or nothing", "remove it, or choose another directory for the report")
    return files


def write_reports(directory: str | Path, reports: Sequence[Report]) -> ReportFiles:
    """Writes ``report.html`` and ``report.json`` into ``directory``, which is created; older ones are replaced.

    Both are complete before either is written, and each appears at once, by a rename.

    Args:
        reports: at least one.

    Raises:
        InputError: see ``report_files``; or the disk is full.
    """
    files = report_files(directory)
    page, document = render(reports).encode(), to_json(reports).encode()
    write_atomically(files.html, page)
    write_atomically(files.json, document)
    return files
