from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neurocert.certify.reports import documents, html
from neurocert.certify.reports.documents import report_files
from neurocert.certify.reports.html import render, write_reports
from neurocert.certify.reports.schema import Report, from_json
from neurocert.models.errors import InputError

MakeReport = Callable[..., Report]


def test_both_files_and_nothing_else(make_report: MakeReport, tmp_path: Path) -> None:
    reports = (make_report(), make_report(seed=1))
    directory = tmp_path / "new" / "folder"
    for _ in range(2):  # the second run replaces the first one's files
        files = write_reports(directory, reports)
        assert from_json(files.json.read_text(encoding="utf-8")) == reports
        assert files.html.read_text(encoding="utf-8") == render(reports)
        assert sorted(path.name for path in directory.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0byte"])
def test_what_cannot_be_a_directory_is_refused(make_report: MakeReport, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be made a directory"):
        write_reports(tmp_path / name, [make_report()])
    assert (tmp_path / "file").read_text() == "mine"


def test_directory_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match="is not writable"):
        report_files(tmp_path, "report")


@pytest.mark.parametrize("taken", ["report.html", "report.json"])
def test_nothing_is_written_where_a_name_is_taken_by_a_directory(make_report: MakeReport, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(InputError, match=f"{taken}: is a directory"):
        write_reports(tmp_path, [make_report()])
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_failure_while_making_the_reports_leaves_the_old_ones(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_reports(tmp_path, [make_report()])
    before = files.html.read_bytes(), files.json.read_bytes()

    def broken(reports: object) -> str:
        raise RuntimeError("while rendering")

    monkeypatch.setattr(html, "to_json", broken)
    with pytest.raises(RuntimeError, match="while rendering"):
        write_reports(tmp_path, [make_report(seed=1)])
    assert (files.html.read_bytes(), files.json.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reports"):
        write_reports(tmp_path, [])


def test_reports_do_not_load_torch() -> None:
    program = "import sys, neurocert.certify.reports.html, neurocert.certify.reports.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
