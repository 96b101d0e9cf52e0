"""The figures of one network's analysis, as plain data for plotly.js."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

from neurocert.certify.reports.analysis.schema import Attacks, Layer, Masks, Plane, Spectrum, Spikes, Training
from neurocert.certify.reports.curves import WORST, Curve
from neurocert.certify.reports.figures import INK, Figure, figure, line

PALETTE = ("#0072b2", "#c75300", "#00805e", "#9c4f80", "#8a6d00", "#3d8fc4", "#4b4453", "#a11c2e")
"""Dark enough to be read on paper, and distinct for colour-blind readers; in the order of layers, attacks or networks."""
LOSSES = [[0.0, "#0b2545"], [0.25, "#13517f"], [0.5, "#3d8fc4"], [0.75, "#e9b872"], [1.0, "#c75300"]]
PAPER = "#f5f3ed"
LEAST_DENSITY = 1e-6
"""Relative to the peak: a smaller density is not drawn."""
FLOOR = 1e-12


def colour(position: int) -> str:
    """The colour of the layer, attack or network at this position."""
    return PALETTE[position % len(PALETTE)]


def training_loss(training: Training) -> Figure:
    """Loss on the training and on the validation split, over epochs."""
    traces = [over_epochs("training", colour(0), training.loss), over_epochs("validation", colour(1), training.validation_loss)]
    return figure(traces, xaxis=titled("epoch"), yaxis=titled("loss"), hovermode="x unified")


def training_accuracy(training: Training) -> Figure:
    """Accuracy on the training and on the validation split, where also balanced, over epochs."""
    curves = (("training", training.train), ("validation", training.validation), ("validation, balanced", training.balanced))
    traces = [over_epochs(name, colour(at), [100 * value for value in curve]) for at, (name, curve) in enumerate(curves)]
    return figure(traces, xaxis=titled("epoch"), yaxis=titled("decided rightly, %"), hovermode="x unified")


def over_epochs(name: str, shade: str, values: Sequence[float]) -> Figure:
    """One curve with a value for each epoch."""
    return plain(name, shade, range(1, len(values) + 1), values) | {"mode": "lines"}


def attack_curves(attacks: Attacks) -> Figure:
    """Accuracy under each attack over the radius, with 95 % intervals."""
    traces = [
        attack_curve(curve.attack, colour(position), attacks.epsilons, curve, dash="dot" if curve.attack == WORST else "solid")
        for position, curve in enumerate(attacks.curves)
    ]
    return over_radius(traces)


def attack_curve(name: str, shade: str, epsilons: Sequence[float], curve: Curve, dash: str = "solid") -> Figure:
    """One curve of accuracy over the radius, under this name, with 95 % intervals."""
    heights = [100 * share.proportion.value for share in curve.unbroken]
    trace = line(name, shade, list(epsilons), heights, [str(share.proportion) for share in curve.unbroken])
    above = [100 * share.upper - height for share, height in zip(curve.unbroken, heights, strict=True)]
    below = [height - 100 * share.lower for share, height in zip(curve.unbroken, heights, strict=True)]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 4, "color": shade}
    return trace | {"error_y": bars, "line": trace["line"] | {"dash": dash}}


def over_radius(traces: list[Figure]) -> Figure:
    """Curves of accuracy with the axes that belong to them."""
    return figure(
        traces,
        xaxis=titled("radius ε"),
        yaxis=titled("decided rightly, %") | {"range": [0, 103]},
        hovermode="x unified",
        showlegend=True,
    )


def attack_auc(attacks: Attacks) -> Figure:
    """The area under each attack's curve, with 95 % intervals."""
    shades = [colour(position) for position in range(len(attacks.curves))]
    return figure([area_bars("", attacks.curves, shades)], xaxis={}, yaxis=area_axis(attacks.epsilons), showlegend=False)


def area_bars(name: str, curves: Sequence[Curve], shades: str | Sequence[str]) -> Figure:
    """One bar for each curve, as high as the area under it, with its 95 % interval."""
    areas = [curve.area for curve in curves if curve.area is not None]
    above, below = [area.upper - area.value for area in areas], [area.value - area.lower for area in areas]
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 4}
    return bars(name, [curve.attack for curve in curves], [area.value for area in areas], shades) | {"error_y": error}


def area_axis(epsilons: Sequence[float]) -> Figure:
    """Areas in input units, at most the span of the radii."""
    return titled("area under the curve") | {"range": [0, 1.03 * (epsilons[-1] - epsilons[0])]}


def surface(plane: Plane, limits: tuple[float, float] | None = None) -> Figure:
    """The loss as a surface over the plane.

    Args:
        limits: least and largest loss of heights and colours, to be shared by several surfaces; by default the plane's own.
    """
    low, high = limits or plane_limits([plane])
    trace = {
        "type": "surface",
        "x": list(plane.steps),
        "y": list(plane.steps),
        "z": [list(row) for row in plane.losses],
        "colorscale": LOSSES,
        "cmin": low,
        "cmax": high,
        "showscale": False,
        "hovertemplate": "loss %{z:.3g} at (%{x:.2g}, %{y:.2g})<extra></extra>",
        "contours": {"z": {"show": True, "usecolormap": True, "project": {"z": True}}},
    }
    axes: Figure = {
        name: {"title": {"text": text}, "backgroundcolor": PAPER} for name, text in (("xaxis", "x"), ("yaxis", "y"), ("zaxis", "loss"))
    }
    axes["zaxis"] |= {"range": [low, high]}
    scene = axes | {"camera": {"eye": {"x": 1.5, "y": 1.3, "z": 0.9}}, "aspectmode": "cube"}
    drawn = figure([trace], xaxis={}, yaxis={}, scene=scene)
    return drawn | {"layout": drawn["layout"] | {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}}}


def contour(plane: Plane, limits: tuple[float, float] | None = None) -> Figure:
    """The loss over the plane as a map; its colours are those of the loss's logarithm.

    Args:
        limits: least and largest loss of the colours, to be shared by several maps; by default the plane's own.
    """
    losses = [[max(loss, FLOOR) for loss in row] for row in plane.losses]
    low, high = limits or plane_limits([plane])
    ticks = decades(low, high)
    trace = {
        "type": "contour",
        "x": list(plane.steps),
        "y": list(plane.steps),
        "z": [[math.log10(loss) for loss in row] for row in losses],
        "text": [[f"{loss:.3g}" for loss in row] for row in losses],
        "zmin": math.log10(low),
        "zmax": math.log10(high),
        "colorscale": LOSSES,
        "ncontours": 24,
        "line": {"width": 0.6, "color": "rgba(255, 255, 255, 0.6)"},
        "hovertemplate": "loss %{text} at (%{x:.2g}, %{y:.2g})<extra></extra>",
        "colorbar": {
            "title": {"text": "loss"},
            "thickness": 12,
            "outlinewidth": 0,
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
    }
    centre = {"type": "scatter", "x": [0], "y": [0], "mode": "markers", "hoverinfo": "skip"}
    centre |= {"marker": {"symbol": "cross-thin", "size": 12, "line": {"width": 2, "color": "#ffffff"}}}
    return figure(
        [trace, centre],
        xaxis=titled("first direction"),
        yaxis=titled("second direction") | {"scaleanchor": "x", "constrain": "domain"},
        showlegend=False,
    )


def plane_limits(planes: Sequence[Plane]) -> tuple[float, float]:
    """Least and largest loss of several planes, apart and above 0."""
    losses = [loss for plane in planes for row in plane.losses for loss in row]
    low = max(min(losses), FLOOR)
    return low, max(*losses, low * 1.01)


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from low to high; only the powers where there are many; the ends where there are none."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    return [tick for power in powers for factor in factors if low <= (tick := factor * 10.0**power) <= high] or [low, high]


def spectral_density(spectrum: Spectrum) -> Figure:
    """The density of the Hessian's eigenvalues with its deviation over the runs, and the extreme eigenvalues as ticks."""
    grid = list(spectrum.grid)
    least = LEAST_DENSITY * max(spectrum.density)
    upper = [max(value + spread, least) for value, spread in zip(spectrum.density, spectrum.deviations, strict=True)]
    lower = [max(value - spread, least) for value, spread in zip(spectrum.density, spectrum.deviations, strict=True)]
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    extremes = [*(extreme.value for extreme in spectrum.top), spectrum.least.value]
    ticks = {"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": INK}}
    marks = {"type": "scatter", "name": "extreme eigenvalues", "x": extremes, "y": [least * 2] * len(extremes), "mode": "markers"}
    traces = [
        {"type": "scatter", "x": grid, "y": lower, **edge},
        {"type": "scatter", "x": grid, "y": upper, "fill": "tonexty", "fillcolor": "rgba(0, 114, 178, 0.2)", **edge},
        density_line("density", colour(0), spectrum),
        marks | {"marker": ticks, "hovertemplate": "%{x:.4g}<extra></extra>"},
    ]
    return over_eigenvalues(traces)


def density_line(name: str, shade: str, spectrum: Spectrum) -> Figure:
    """The mean density alone, under this name."""
    least = LEAST_DENSITY * max(spectrum.density)
    values = [value if value >= least else None for value in spectrum.density]
    return plain(name, shade, list(spectrum.grid), values) | {"mode": "lines", "hovertemplate": "%{y:.3g} at %{x:.3g}"}


def over_eigenvalues(traces: list[Figure]) -> Figure:
    """Densities with the axes that belong to them."""
    yaxis = {"title": {"text": "density", "standoff": 6}, "type": "log", "exponentformat": "power", "dtick": 1, "automargin": True}
    return figure(traces, xaxis=titled("eigenvalue"), yaxis=yaxis, hovermode="closest")


def by_layer(masks: Masks, training: Training | None, statistic: str) -> Figure:
    """``conv_ratio`` or ``binariness`` of each layer: over the epochs where there is a history, else as bars."""
    words = statistic.replace("_", " ")
    yaxis = titled(words) | {"range": [0, 1.03]}
    if training is None:
        names, values = [layer.layer for layer in masks.layers], [getattr(layer, statistic) for layer in masks.layers]
        shades = [colour(position) for position in range(len(names))]
        return figure([bars("", names, values, shades)], xaxis={}, yaxis=yaxis, showlegend=False)
    traces = [over_epochs(track.layer, colour(position), getattr(track, statistic)) for position, track in enumerate(training.routing)]
    return figure(traces, xaxis=titled("epoch"), yaxis=yaxis, hovermode="x unified", showlegend=True)


def routing_trend(training: Training) -> Figure:
    """Mean over the layers of conv ratio, with its standard deviation, and of binariness, over the epochs."""
    ratios = list(zip(*(track.conv_ratio for track in training.routing), strict=True))
    binarinesses = list(zip(*(track.binariness for track in training.routing), strict=True))
    means, spreads = [fmean(layers) for layers in ratios], [pstdev(layers) for layers in ratios]
    deviation = {"type": "data", "array": spreads, "thickness": 1.2, "width": 4, "color": colour(0)}
    traces = [
        over_epochs("conv ratio, mean ± SD over layers", colour(0), means) | {"error_y": deviation},
        over_epochs("binariness, mean", colour(1), [fmean(layers) for layers in binarinesses]),
    ]
    return figure(traces, xaxis=titled("epoch"), yaxis={"range": [0, 1.03]}, hovermode="x unified")


def routing_correlation(ratios: Sequence[float], binarinesses: Sequence[float]) -> Figure:
    """Binariness over conv ratio, one point for each pair."""
    marker = {"color": colour(0), "size": 7, "opacity": 0.6}
    trace = {"type": "scatter", "x": list(ratios), "y": list(binarinesses), "mode": "markers", "marker": marker}
    trace |= {"hovertemplate": "conv ratio %{x:.3f}, binariness %{y:.3f}<extra></extra>"}
    return figure([trace], xaxis=titled("conv ratio"), yaxis=titled("binariness"), showlegend=False)


def firing_rates(spikes: Spikes) -> Figure:
    """The distribution of the neurons' firing rates in each layer."""
    traces = [rate_line(layer.layer, colour(position), layer.rate_counts) for position, layer in enumerate(spikes.layers)]
    return over_rates(traces)


def rate_line(name: str, shade: str, counts: Sequence[int]) -> Figure:
    """One histogram of rates as a line of steps, in percent of the neurons."""
    middles = [(position + 0.5) / len(counts) for position in range(len(counts))]
    shares = [100 * count / sum(counts) for count in counts]
    trace = plain(name, shade, middles, shares)
    return trace | {"mode": "lines", "line": {"color": shade, "width": 2, "shape": "hvh"}, "hovertemplate": "%{y:.1f} % near %{x:.2f}"}


def over_rates(traces: list[Figure]) -> Figure:
    """Histograms of rates with the axes that belong to them."""
    xaxis = titled("firing rate, spikes per step") | {"range": [0, 1]}
    return figure(traces, xaxis=xaxis, yaxis=titled("share of neurons, %") | {"rangemode": "tozero"}, hovermode="closest", showlegend=True)


def raster(layers: Sequence[Layer]) -> Figure:
    """Who fires when, on one sample: neurons from the first layer at the bottom to the last at the top, steps to the right."""
    steps = max(len(layer.active_ratios) for layer in layers)
    rows: list[list[int | None]] = []
    middles = []
    for position, layer in enumerate(layers):
        grid: list[list[int | None]] = [[None] * steps for _ in layer.raster_neurons]
        for step, neuron in layer.raster:
            grid[neuron][step] = position % len(PALETTE)
        middles.append(len(rows) + len(grid) / 2 - 0.5)
        rows += grid
    shades = [[position / (len(PALETTE) - 1), shade] for position, shade in enumerate(PALETTE)]
    trace = {"type": "heatmap", "z": rows, "colorscale": shades, "zmin": 0, "zmax": len(PALETTE) - 1, "showscale": False, "xgap": 2}
    trace |= {"x": list(range(1, steps + 1)), "hovertemplate": "step %{x}<extra></extra>"}
    borders = [middle + len(layer.raster_neurons) / 2 for middle, layer in zip(middles, layers, strict=True)][:-1]
    lines = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at, "line": {"color": INK, "width": 0.8}} for at in borders
    ]
    ticks = {"tickvals": middles, "ticktext": [layer.layer for layer in layers], "showgrid": False, "automargin": True}
    xaxis = titled("step") | {"dtick": max(1, steps // 10), "showgrid": False}
    return figure([trace], xaxis=xaxis, yaxis=ticks | {"range": [-0.5, len(rows) - 0.5]}, shapes=lines)


def temporal_sparsity(spikes: Spikes) -> Figure:
    """Share of active neurons at each step, of each layer and of all together."""
    steps = list(range(1, len(spikes.active_ratios) + 1))
    traces = [
        plain(layer.layer, colour(position), steps[: len(layer.active_ratios)], [100 * ratio for ratio in layer.active_ratios])
        for position, layer in enumerate(spikes.layers)
    ]
    total = plain("all neurons", INK, steps, [100 * ratio for ratio in spikes.active_ratios])
    return over_steps([*traces, total | {"line": {"color": INK, "width": 2, "dash": "dot"}}], len(steps))


def over_steps(traces: list[Figure], steps: int) -> Figure:
    """Active ratios with the axes that belong to them."""
    xaxis = titled("step") | {"dtick": max(1, steps // 10)}
    yaxis = titled("active neurons, %") | {"rangemode": "tozero"}
    return figure(traces, xaxis=xaxis, yaxis=yaxis, hovermode="x unified", showlegend=True)


def plain(name: str, shade: str, x: Sequence[float], y: Sequence[float | None]) -> Figure:
    """One curve whose values speak for themselves."""
    trace = line(name, shade, list(x), list(y), None)
    return trace | {"hovertemplate": "%{y:.3g}", "line": {"color": shade, "width": 2}, "marker": {"color": shade, "size": 6}}


def bars(name: str, names: Sequence[str], values: Sequence[float], shades: Sequence[str] | str) -> Figure:
    """One bar for each name, in its own shade or in one for all."""
    marker = {"color": shades if isinstance(shades, str) else list(shades)}
    trace = {"type": "bar", "name": name, "x": list(names), "y": list(values), "marker": marker, "hovertemplate": "%{y:.3g}<extra></extra>"}
    return trace if isinstance(shades, str) else trace | {"width": 0.5}


def titled(text: str) -> Figure:
    """An axis with a title."""
    return {"title": {"text": text}}
