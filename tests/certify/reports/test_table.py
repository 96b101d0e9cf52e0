from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.table import table

MakeReport = Callable[..., Report]


def printed(report: Report, width: int, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    console.print(table(report))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_every_number_stands_with_n_and_interval(make_report: MakeReport) -> None:
    report = make_report(n=50)
    text = printed(report, 80)
    for summary in report.summaries:
        for share in (report.clean, summary.certified, summary.unbroken, summary.unknown, *summary.certified_by.values()):
            count, interval = str(share.proportion).replace(" = ", "  ").split(" [")
            assert count in text and f"[{interval}" in text
    rows = [line.split()[0] for line in text.splitlines() if line.strip()]
    assert [row for row in rows if row in ("0.005", "0.01", "0.02")] == ["0.005", "0.01", "0.02"]
    assert rows.count("interval") == rows.count("linear") == 3


@pytest.mark.parametrize(("n", "width"), [(50, 80), (797, 100)])
def test_no_line_is_wrapped_or_cut(make_report: MakeReport, n: int, width: int) -> None:
    report = make_report(n=n)
    assert printed(report, width) == printed(report, 1000)
    assert "…" not in printed(report, width)


def test_no_colour_and_pipes_get_no_colour(make_report: MakeReport, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in printed(make_report(), 100)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(make_report(), 100, terminal=True)


def test_names_are_not_markup(make_report: MakeReport) -> None:
    assert "[red]net[/red]" in printed(make_report(name="[red]net[/red]"), 100)


def test_without_attack_no_accuracy_under_attack(make_report: MakeReport) -> None:
    text = printed(make_report(attacks=False), 100)
    assert text.count("not run") == 3
    assert "no attack was run" in text
