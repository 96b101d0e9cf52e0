"""The figures of a report, as plain data for plotly.js."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import Any

from neurocert.certify.reports.curves import WORST
from neurocert.certify.reports.parts import VERDICTS, Summary, Verdict
from neurocert.certify.reports.schema import Report

COLOURS: dict[Verdict, str] = {"certified": "#0072b2", "unknown": "#b8bec6", "falsified": "#c75300", "misclassified": "#4b4453"}
"""The same verdict has the same colour everywhere; hue and lightness both differ, for readers who do not see hues."""
GAP = "rgba(184, 190, 198, 0.4)"
INK = "#23272e"
_PALETTE = ("#0072b2", "#009e73", "#56b4e9", "#cc79a7", "#e69f00", "#4b4453", "#8c6d31", "#7b8794", "#b2abd2")
"""For attacks, told apart by hue and lightness."""
BINS = 24
WIDE = 30.0
"""Radii that span more than this factor get a logarithmic axis."""

Figure = dict[str, Any]


def sandwich(report: Report) -> Figure:
    """Accuracy under attack above, certified accuracy below, the gap between them undecided; over the radius.

    Without attacks only the certified accuracy, for nothing but the clean accuracy limits the truth from above.
    """
    radii, summaries = report.perturbation.epsilons, report.summaries
    clean = report.clean.proportion
    limit = line("clean", INK, radii, [100 * clean.value] * len(radii), [str(clean)] * len(radii))
    limit |= {"mode": "lines", "line": {"color": INK, "width": 1.5, "dash": "dot"}}
    certified = _curve("certified", COLOURS["certified"], summaries, "certified")
    traces = [limit, certified]
    if report.attacks:
        attacked = _curve("under attack", COLOURS["falsified"], summaries, "unbroken")
        traces = [limit, attacked, certified | {"fill": "tonexty", "fillcolor": GAP}]
    logarithmic = radii[0] > 0 and radii[-1] > WIDE * radii[0]
    axis = {"title": {"text": "radius ε"}, "tickvals": radii, "ticktext": [f"{radius:g}" for radius in radii]}
    return figure(
        traces,
        xaxis=axis | {"type": "log" if logarithmic else "linear"},
        yaxis={"title": {"text": "share of samples, %"}, "range": [0, 103]},
        hovermode="x unified",
    )


def attack_curves(report: Report) -> Figure:
    """Accuracy under each attack over the radius, and under all of them together."""
    radii = report.perturbation.epsilons
    traces = []
    for index, curve in enumerate(report.curves):
        heights = [100 * share.proportion.value for share in curve.unbroken]
        words = [f"{curve.attack} {share.proportion}" for share in curve.unbroken]
        trace = line(curve.attack, _PALETTE[index % len(_PALETTE)], radii, heights, words)
        traces.append(trace | {"line": {"color": trace["line"]["color"], "width": 1.5}, "marker": {"size": 5}})
    traces[-1] |= line(WORST, COLOURS["falsified"], radii, traces[-1]["y"], traces[-1]["text"])
    axis = {"title": {"text": "radius ε"}, "tickvals": radii, "ticktext": [f"{radius:g}" for radius in radii]}
    return figure(traces, xaxis=axis, yaxis={"title": {"text": "accuracy under attack, %"}, "range": [0, 103]}, hovermode="x unified")


def margins(report: Report, summary: Summary) -> Figure:
    """Histogram of the best lower bounds of the margin at one radius, by verdict, over that of the clean margins.

    Bounds below minus twice the largest clean margin are gathered in the first bin.
    """
    clean = [sample.clean_margin for sample in report.samples]
    least = -2 * max(map(abs, clean))
    bounds: dict[Verdict, list[float]] = {verdict: [] for verdict in VERDICTS}
    for _, outcome in report.rows(summary.epsilon):
        if outcome.bound is not None:
            bounds[outcome.verdict].append(max(outcome.bound, least))
    bins = _Bins.over([*clean, *chain(*bounds.values())])
    outline = line("clean margin", INK, bins.middles(), bins.count(clean), None)
    outline |= {"mode": "lines", "line": {"color": INK, "width": 1.5, "shape": "hvh"}, "hovertemplate": "%{y} clean margins<extra></extra>"}
    return figure(
        [*(_bars(verdict, bins, bounds[verdict]) for verdict in VERDICTS if bounds[verdict]), outline],
        xaxis={"title": {"text": "margin"}, "zeroline": True, "zerolinecolor": INK},
        yaxis={"title": {"text": "samples"}, "rangemode": "tozero"},
        barmode="stack",
        bargap=0.06,
        hovermode="closest",
    )


@dataclass(frozen=True)
class _Bins:
    """Bins [k size, (k + 1) size) for first <= k <= last, empty at both ends; 0 is an edge, so none mixes proved and unproved."""

    size: float
    first: int
    last: int

    @classmethod
    def over(cls, values: list[float]) -> _Bins:
        size = (max(values) - min(values)) / BINS or 1.0
        return cls(size, math.floor(min(values) / size) - 1, math.floor(max(values) / size) + 1)

    def middles(self) -> list[float]:
        return [(k + 0.5) * self.size for k in range(self.first, self.last + 1)]

    def count(self, values: list[float]) -> list[int]:
        counts = Counter(math.floor(value / self.size) for value in values)
        return [counts[k] for k in range(self.first, self.last + 1)]


def _curve(name: str, colour: str, summaries: tuple[Summary, ...], field: str) -> Figure:
    """One proportion over the radius, with its intervals as error bars."""
    shares = [getattr(summary, field) for summary in summaries]
    heights = [100 * share.proportion.value for share in shares]
    trace = line(name, colour, [s.epsilon for s in summaries], heights, [str(share.proportion) for share in shares])
    above = [100 * share.upper - height for share, height in zip(shares, heights, strict=True)]
    below = [height - 100 * share.lower for share, height in zip(shares, heights, strict=True)]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 5, "color": colour}
    return trace | {"error_y": bars}


def line(name: str, colour: str, x: Any, y: list[Any], text: list[str] | None) -> Figure:
    """One curve with markers, and the words that a pointer finds at each."""
    return {
        "type": "scatter",
        "name": name,
        "x": x,
        "y": y,
        "text": text,
        "hovertemplate": "%{text}",
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2.5},
        "marker": {"color": colour, "size": 8},
    }


def _bars(verdict: Verdict, bins: _Bins, bounds: list[float]) -> Figure:
    return {
        "type": "bar",
        "name": verdict,
        "x": bins.middles(),
        "y": bins.count(bounds),
        "marker": {"color": COLOURS[verdict]},
        "hovertemplate": "%{y} bounds near %{x:.3g}<extra></extra>",
    }


def figure(traces: list[Figure], **layout: Any) -> Figure:
    """Traces with the layout that all figures share; ``xaxis`` and ``yaxis`` must be given."""
    shared = {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "size": 13, "color": INK},
        "margin": {"l": 58, "r": 16, "t": 8, "b": 52},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    for axis in ("xaxis", "yaxis"):
        layout[axis] = {"gridcolor": "#e6e4de", "linecolor": "#9a9890", "showline": True, "zeroline": False} | layout[axis]
    return {"data": traces, "layout": shared | layout}
