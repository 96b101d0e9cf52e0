"""What all reports have in common: one HTML page from a template, one JSON document of a schema, and where both are written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import BaseModel, ValidationError

from neurocert.models.errors import InputError
from neurocert.models.files import write_atomically
from neurocert.models.schema import explain

SCHEMA_VERSION: Final = 1
Document = TypeVar("Document", bound=BaseModel)


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    html: Path
    json: Path


def report_files(directory: str | Path, stem: str) -> ReportFiles:
    """Where ``write_files`` will write, after making the directory and checking that it can be written to.

    To be called before a long computation, too.

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


def write_files(directory: str | Path, stem: str, page: str, document: str) -> ReportFiles:
    """Writes ``stem.html`` and ``stem.json`` into ``directory``, which is created; older ones are replaced, each at once.

    Raises:
        InputError: see ``report_files``; or the disk is full.
    """
    files = report_files(directory, stem)
    write_atomically(files.html, page.encode())
    write_atomically(files.json, document.encode())
    return files


@cache
def template(name: str) -> Template:
    """A page's template; every text that is put in is escaped, and one that is not given is an error."""
    loader = PackageLoader("neurocert.certify.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(f"{name}.html.j2")


class _Version(BaseModel):
    schema_version: int


def parse(schema: type[Document], text: str | bytes, stem: str) -> Document:
    """Reads what was written into ``stem.json``.

    Raises:
        InputError: not JSON, of another schema version, or what the schema refuses.
    """
    try:
        version = _Version.model_validate_json(text, strict=True).schema_version
        if version != SCHEMA_VERSION:
            raise InputError(f"{stem}: schema_version is {version}, expected {SCHEMA_VERSION}", "read it with the neurocert that wrote it")
        return schema.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{stem}: {explain(error)}", f"expected what this package writes into {stem}.json") from error
