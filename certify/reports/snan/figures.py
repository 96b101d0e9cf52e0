"""The figures of a study, as plain data for plotly.js."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neurocert.certify.reports.figures import INK, Figure, figure, line
from neurocert.certify.reports.parts import Share
from neurocert.certify.reports.snan.schema import Cloud, FewShots, Radii, Smoothing, Study, Trace

PALETTE = ("#0072b2", "#c75300", "#00805e", "#9c4f80", "#8a6d00", "#3d8fc4", "#4b4453", "#a11c2e", "#5b8c2a", "#b05fa8")
"""Dark enough to be read on paper, and distinct for colour-blind readers; in the order of hybrids or classes."""
NORMS = {"linf": "L∞", "l2": "L2"}
BINS = 30
LEAST_RADIUS = 1e-7
"""Smaller radii are gathered in the first bar."""


def colour(position: int) -> str:
    """The colour of the hybrid or class at this position."""
    return PALETTE[position % len(PALETTE)]


def noise_curves(studies: Sequence[Study]) -> Figure:
    """Accuracy over the share of inverted pixels, one curve for each hybrid, with 95 % intervals."""
    traces = [
        curve(study.network.name, colour(position), [level.noise for level in study.levels], [level.correct for level in study.levels])
        for position, study in enumerate(studies)
    ]
    return figure(traces, xaxis=_titled("share of inverted pixels"), yaxis=_percent("decided rightly, %"), hovermode="x unified")


def radius_histogram(radii: Sequence[Radii]) -> Figure:
    """Invariance radii on a logarithmic axis, one outline for each norm."""
    every = np.log10(np.maximum(np.concatenate([part.values for part in radii]), LEAST_RADIUS))
    edges = np.linspace(every.min() - 1e-9, every.max() + 1e-9, BINS + 1)
    traces = []
    for position, part in enumerate(radii):
        counts = np.histogram(np.log10(np.maximum(part.values, LEAST_RADIUS)), edges)[0]
        traces.append(
            line(NORMS[part.norm], colour(position), (10 ** ((edges[1:] + edges[:-1]) / 2)).tolist(), counts.tolist(), None)
            | {"mode": "lines", "line": {"color": colour(position), "width": 2, "shape": "hvh"}, "hovertemplate": "%{y} near %{x:.2g}"}
        )
    axis = _titled("invariance radius") | _logarithmic(_round_numbers(float(edges[0]), float(edges[-1])))
    most = max(max(trace["y"]) for trace in traces)
    return figure(traces, xaxis=axis, yaxis=_titled("samples") | _whole(most), showlegend=True)


def verdict_curves(study: Study) -> Figure:
    """Certified samples over the radius: all, and those by invariance alone."""
    epsilons = [summary.epsilon for summary in study.summaries]
    traces = [
        curve("certified", colour(0), epsilons, [summary.certified for summary in study.summaries]),
        curve("by invariance alone", colour(1), epsilons, [summary.by_invariance for summary in study.summaries]),
    ]
    axis = _titled("L∞ radius") | (_logarithmic(epsilons) if epsilons[0] > 0 else {"type": "linear"})
    return figure(traces, xaxis=axis, yaxis=_percent("certified, %"), hovermode="x unified")


def smoothing_curve(smoothing: Smoothing) -> Figure:
    """Certified samples over the number of flipped pixels."""
    flips = list(range(len(smoothing.certified)))
    trace = curve("smoothed", colour(0), flips, smoothing.certified)
    return figure([trace], xaxis=_titled("inverted pixels") | _whole(flips[-1]), yaxis=_percent("certified, %"))


def few_shots(rows: Sequence[FewShots], noise: float) -> Figure:
    """Accuracy over the number of training images of each class."""
    counts = [row.per_class for row in rows]
    traces = [
        curve("no noise", colour(0), counts, [row.clean for row in rows]),
        curve(f"noise {noise:g}", colour(1), counts, [row.noisy for row in rows]),
    ]
    axis = _titled("training images of each class") | _logarithmic(counts)
    return figure(traces, xaxis=axis, yaxis=_percent("decided rightly, %"), hovermode="x unified")


def cluster_cloud(clouds: Sequence[Cloud], classes: Sequence[str]) -> Figure:
    """Embeddings by class; open circles under noise."""
    traces = []
    for which, cloud in enumerate(clouds):
        for label in sorted(set(cloud.labels)):
            places = [position for position, one in enumerate(cloud.labels) if one == label]
            marker = {"color": colour(label), "size": 7, "symbol": "circle-open" if which else "circle"}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": classes[label],
                    "legendgroup": classes[label],
                    "showlegend": which == 0,
                    "x": [cloud.x[place] for place in places],
                    "y": [cloud.y[place] for place in places],
                    "marker": marker,
                    "hovertemplate": f"{classes[label]}, noise {cloud.noise:g}<extra></extra>".replace("%", "%%"),
                }
            )
    return figure(traces, xaxis=_titled("first principal component"), yaxis=_titled("second"), hovermode="closest")


def raster(trace: Trace) -> Figure:
    """Spikes of a test presentation."""
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": list(trace.spike_times),
        "y": list(trace.spike_neurons),
        "marker": {"color": INK, "size": 2},
        "hoverinfo": "skip",
    }
    return figure(
        [points], xaxis=_titled("ms") | {"rangemode": "tozero"}, yaxis=_titled("neuron") | {"autorange": "reversed"}, showlegend=False
    )


def calcium(trace: Trace) -> Figure:
    """Calcium after training pulses, and the threshold above which astrocytes modulate."""
    parts = (("zones in the object", trace.inside), ("other zones", trace.outside), ("highest", trace.highest))
    curves = [
        line(name, colour(position), list(trace.calcium_times), list(values), None)
        | {"mode": "lines", "hovertemplate": "%{y:.3f} µM at %{x:.0f} ms"}
        for position, (name, values) in enumerate(parts)
        if any(value is not None for value in values)
    ]
    ends = [trace.calcium_times[0], trace.calcium_times[-1]]
    limit = line("threshold of modulation", INK, ends, [trace.threshold] * 2, None)
    limit |= {"mode": "lines", "line": {"color": INK, "width": 1.5, "dash": "dot"}, "hoverinfo": "skip"}
    return figure([*curves, limit], xaxis=_titled("ms from the first onset"), yaxis=_titled("calcium, µM"), hovermode="x unified")


def curve(name: str, shade: str, x: Sequence[float], shares: Sequence[Share]) -> Figure:
    """Shares in percent with their intervals as error bars."""
    heights = [100 * share.proportion.value for share in shares]
    above = [100 * share.upper - height for share, height in zip(shares, heights, strict=True)]
    below = [height - 100 * share.lower for share, height in zip(shares, heights, strict=True)]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 4, "color": shade}
    return line(name, shade, list(x), heights, [str(share.proportion) for share in shares]) | {"error_y": bars}


def _titled(text: str) -> Figure:
    return {"title": {"text": text}}


def _logarithmic(ticks: Sequence[float]) -> Figure:
    """An axis with these values written out; plotly's own are of the kind of 100µ, with lone digits between."""
    return {"type": "log", "tickvals": list(ticks), "ticktext": [f"{tick:g}" for tick in ticks]}


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten (powers alone over more than two decades) between 10^low and 10^high; what lies between, if none."""
    digits = (1, 2, 5) if high - low <= 2 else (1,)
    every = [float(f"{digit}e{power}") for power in range(math.floor(low), math.ceil(high) + 1) for digit in digits]
    inside = [value for value in every if 10**low <= value <= 10**high]
    return inside or [float(f"{10 ** ((low + high) / 2):.2g}")]


def _whole(most: float) -> Figure:
    """An axis from 0 to whole numbers, with a tick for each or, beyond ten, for every so many."""
    return {"rangemode": "tozero", "dtick": max(1, math.ceil(most / 10))}


def _percent(text: str) -> Figure:
    return _titled(text) | {"range": [0, 103]}
