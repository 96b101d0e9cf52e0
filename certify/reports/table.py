"""The verdicts of a report as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from neurocert.certify.reports.parts import Share, Summary
from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.words import tolerance

COLUMNS = ("epsilon", "clean", "certified", "under attack", "unknown")


def table(report: Report) -> RenderableType:
    """Per radius: clean, certified (by any method, then by each), attacked and unknown, with n and 95 % intervals.

    Print it with a ``rich.console.Console``, which honours NO_COLOR and pipes. Fits 80 columns for up to 99 samples.
    """
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        grid.add_column(name, no_wrap=True)
    for summary in report.summaries:
        _add_summary(grid, report, summary)
    return Group(_title(report), "", grid, "", _legend(report))


def _add_summary(grid: Table, report: Report, summary: Summary) -> None:
    certified = _cell(summary.certified) if report.methods else "not run"
    attacked = _cell(summary.unbroken) if report.attacks else "not run"
    grid.add_row(f"{summary.epsilon:g}", _cell(report.clean), certified, attacked, _cell(summary.unknown))
    if len(report.methods) > 1:
        for method, share in summary.certified_by.items():
            grid.add_row(Text(f"  {method}", style="dim"), "", _cell(share, "dim"), "", "")
    if len(report.attacks) > 1:
        for attack in report.attacks:
            grid.add_row(Text(f"  {attack.name}", style="dim"), "", "", _cell(unbroken_by(report, attack.name, summary.epsilon), "dim"), "")
    grid.add_section()


def unbroken_by(report: Report, attack: str, epsilon: float) -> Share:
    """Samples decided rightly, and still so at the worst point that this attack found."""
    margins = [outcome.attacks[attack] for _, outcome in report.rows(epsilon)]
    return Share.of(sum(margin is not None and margin > 0 for margin in margins), len(margins))


def _cell(share: Share, style: str = "") -> Text:
    return Text(str(share.proportion).replace(" = ", "  ").replace(" [", "\n["), style)


def _title(report: Report) -> Text:
    return Text.assemble(
        (report.network.name, "bold"),
        f"  {len(report.samples)} {report.data.noun}, {report.perturbation.name}{tolerance(report.perturbation)}",
    )


def _legend(report: Report) -> Text:
    methods, attacks = " or ".join(report.methods), " or ".join(attack.name for attack in report.attacks)
    lines = (
        f"certified: proved by {methods}" if methods else "certified: no proof was tried",
        f"under attack: decided rightly and not broken by {attacks}" if attacks else "under attack: no attack was run",
        "[lower, upper]: 95 % interval in percent (Clopper-Pearson)",
    )
    return Text("\n".join(lines), "dim")
