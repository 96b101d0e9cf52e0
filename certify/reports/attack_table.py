"""The accuracy curves of a report as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from neurocert.certify.reports.curves import WORST, Area, Curve
from neurocert.certify.reports.schema import Report

WIDTH, CELL, AREA = 80, 6, 21
"""Characters: of the table, of one accuracy with its margin, of an area with its interval."""


def attack_table(report: Report) -> RenderableType:
    """Accuracy in percent under each attack, column by column of radii, with areas; as many tables as 80 characters need.

    The last row is that of all attacks together, with its 95 % interval below.
    """
    radii = report.perturbation.epsilons
    names = max(len(curve.attack) for curve in report.curves)
    fit = max(1, (WIDTH - AREA - names - 1) // CELL)
    chunks = [range(start, min(start + fit, len(radii))) for start in range(0, len(radii), fit)]
    grids = [_grid(report.curves, radii, chunk, last=chunk is chunks[-1]) for chunk in chunks]
    title = Text.assemble((report.network.name, "bold"), f"  {len(report.samples)} {report.data.noun}, {report.perturbation.name}")
    return Group(title, "", *(part for grid in grids for part in (grid, "")), _legend(report))


def _grid(curves: Sequence[Curve], radii: Sequence[float], chunk: range, *, last: bool) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("epsilon", no_wrap=True)
    for index in chunk:
        grid.add_column(f"{radii[index]:g}", no_wrap=True, justify="right")
    if last and curves[0].area is not None:
        grid.add_column("area", no_wrap=True)
    for curve in curves:
        _add_curve(grid, curve, chunk, last=last)
    return grid


def _add_curve(grid: Table, curve: Curve, chunk: range, *, last: bool) -> None:
    worst = curve.attack == WORST
    if worst:
        grid.add_section()
    shares = [curve.unbroken[index] for index in chunk]
    area = [_area(curve.area)] if last and curve.area is not None else []
    grid.add_row(curve.attack, *(f"{100 * share.proportion.value:.1f}" for share in shares), *area, style="bold" if worst else "")
    if worst:
        for label, ends in (("  from", [share.lower for share in shares]), ("  to", [share.upper for share in shares])):
            grid.add_row(Text(label, "dim"), *(Text(f"{100 * end:.1f}", "dim") for end in ends), *[""] * len(area))


def _area(area: Area) -> str:
    return f"{area.value:.3f} [{area.lower:.3f}, {area.upper:.3f}]"


def _legend(report: Report) -> Text:
    radii = report.perturbation.epsilons
    lines = [
        "in percent: decided rightly and not broken by this attack; worst: by none",
        "from, to: 95 % interval of the worst (Clopper-Pearson)",
        "a break at one radius counts at every larger one",
    ]
    if len(radii) > 1:
        lines.append(f"area: under the curve, at most {radii[-1] - radii[0]:g}, with a 95 % interval")
    return Text("\n".join(lines), "dim")
