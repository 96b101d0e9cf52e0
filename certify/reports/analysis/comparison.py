"""What a page says of several networks side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, TypeVar

from neurocert.certify.reports.analysis import figures
from neurocert.certify.reports.analysis.build import epoch_means
from neurocert.certify.reports.analysis.content import AREA_CAPTION, Grid, Part, Plot, number
from neurocert.certify.reports.analysis.schema import Absent, Analysis, Attacks, Correlation, Landscapes, Masks, Spectrum, Spikes, Training
from neurocert.certify.reports.figures import Figure, figure

Kind = TypeVar("Kind", Training, Attacks, Landscapes, Spectrum, Masks, Spikes)
Named = tuple[int, str, Kind]
"""(position of the network on the page, which decides its colour; its name; its section)."""
MEASURES = (
    "clean",
    "area under worst attack",
    "rise of the loss",
    "largest eigenvalue",
    "trace",
    "conv ratio",
    "binariness",
    "their r over samples",
    "active per step",
)

NOTHING = "\N{EN DASH}"


def overview(analyses: Sequence[Analysis]) -> Grid:
    """One row for each measure, one column for each network; a dash where a section does not apply or was not asked for."""
    columns = [_column(analysis) for analysis in analyses]
    return Grid(("", *(analysis.network.name for analysis in analyses)), tuple(zip(MEASURES, *columns, strict=True)))


def comparison(analyses: Sequence[Analysis]) -> tuple[Part, ...]:
    """The figures that hold all networks, section by section; sections that fewer than two networks have are left out."""
    wanted = {figure for analysis in analyses for figure in analysis.figures}
    made = (
        _training(_having(analyses, "training", Training)),
        _attacks(_having(analyses, "attacks", Attacks)),
        _landscapes(_having(analyses, "landscape", Landscapes)),
        _spectra(_having(analyses, "hessian", Spectrum)),
        _routing(_having(analyses, "routing", Masks), _having(analyses, "training", Training)),
        _spiking(_having(analyses, "spiking", Spikes)),
    )
    chosen = [replace(p, plots=tuple(plot for plot in p.plots if plot.name in wanted)) for p in made if p is not None]
    return tuple(part for part in chosen if part.plots)


def _having(analyses: Sequence[Analysis], section: str, kind: type[Kind]) -> list[Named[Kind]]:
    rows = ((position, analysis.network.name, getattr(analysis, section)) for position, analysis in enumerate(analyses))
    return [(position, name, found) for position, name, found in rows if isinstance(found, kind)]


def _column(analysis: Analysis) -> tuple[str, ...]:
    def cell(section: Any, words: Callable[[Any], str]) -> str:
        return NOTHING if section is None or isinstance(section, Absent) else words(section)

    return (
        f"{100 * analysis.clean.proportion.value:.1f} %",
        cell(analysis.attacks, _area),
        cell(analysis.landscape, lambda found: number(found.random.mean_rise)),
        cell(analysis.hessian, lambda found: number(found.top[0].value)),
        cell(analysis.hessian, lambda found: f"{number(found.trace.mean)} ± {number(found.trace.standard_error)}"),
        cell(analysis.routing, lambda found: f"{fmean(layer.conv_ratio for layer in found.layers):.3f}"),
        cell(analysis.routing, lambda found: f"{fmean(layer.binariness for layer in found.layers):.3f}"),
        cell(analysis.routing, lambda found: _interval(found.correlation)),
        cell(analysis.spiking, lambda found: f"{100 * fmean(found.active_ratios):.1f} %"),
    )


def _area(found: Attacks) -> str:
    area = found.curves[-1].area
    return NOTHING if area is None else f"{number(area.value)} [{number(area.lower)}, {number(area.upper)}]"


def _interval(found: Correlation | Absent) -> str:
    return NOTHING if isinstance(found, Absent) else f"{number(found.r)} [{number(found.lower)}, {number(found.upper)}]"


def _training(found: list[Named[Training]]) -> Part | None:
    if len(found) < 2:
        return None

    def curves(value: str, scale: float, axis: str) -> Figure:
        traces = [
            figures.over_epochs(name, figures.colour(position), [scale * share for share in getattr(section, value)])
            for position, name, section in found
        ]
        return figure(traces, xaxis=figures.titled("epoch"), yaxis=figures.titled(axis), hovermode="x unified")

    accuracy = curves("balanced", 100, "mean recall, %")
    plots = (
        Plot("training-loss", "Loss on the validation split", "Each network's own objective.", curves("validation_loss", 1, "loss")),
        Plot("training-accuracy", "Balanced accuracy on the validation split", "Mean recall of the classes.", accuracy),
    )
    return Part("Training", (), plots)


def _attacks(found: list[Named[Attacks]]) -> Part | None:
    if len(found) < 2:
        return None
    attacks = list(dict.fromkeys(curve.attack for _, _, section in found for curve in section.curves))
    plots = [
        Plot("attack-curves", f"Accuracy under {attack}", "Bars are 95 % intervals (Clopper-Pearson).", _overlay(found, attack))
        for attack in attacks
    ]
    traces = [figures.area_bars(name, section.curves, figures.colour(position)) for position, name, section in found]
    grouped = figure(traces, xaxis={}, yaxis=figures.area_axis(found[0][2].epsilons), barmode="group")
    plots.append(Plot("attack-auc", "Area under the curves", AREA_CAPTION, grouped))
    return Part("Accuracy under attack", (), tuple(plots))


def _overlay(found: list[Named[Attacks]], attack: str) -> Figure:
    return figures.over_radius(
        [
            figures.attack_curve(name, figures.colour(position), section.epsilons, curve)
            for position, name, section in found
            for curve in section.curves
            if curve.attack == attack
        ]
    )


def _landscapes(found: list[Named[Landscapes]]) -> Part | None:
    if len(found) < 2:
        return None
    limits = figures.plane_limits([section.random for _, _, section in found])
    maps = [
        Plot(
            "landscape-contour",
            name,
            f"Mean rise of the loss: {number(section.random.mean_rise)}.",
            figures.contour(section.random, limits),
        )
        for _, name, section in found
    ]
    surfaces = [Plot("landscape-surface", name, "Drag to turn.", figures.surface(section.random, limits)) for _, name, section in found]
    lines = ("Over two filter-normalised random directions, the same for networks of the same shape. Maps and surfaces share one scale.",)
    return Part("Loss landscapes", lines, (*maps, *surfaces))


def _spectra(found: list[Named[Spectrum]]) -> Part | None:
    if len(found) < 2:
        return None
    traces = [figures.density_line(name, figures.colour(position), section) for position, name, section in found]
    lines = tuple(f"{name}: derivative {section.derivative}." for _, name, section in found)
    plot = Plot("spectral-density", "Density", "Smoothed, each to its own range.", figures.over_eigenvalues(traces))
    return Part("Hessian spectra", lines, (plot,))


def _routing(found: list[Named[Masks]], trained: list[Named[Training]]) -> Part | None:
    if len(found) < 2:
        return None

    def by_depth(statistic: str) -> Figure:
        traces = [
            figures.plain(
                name,
                figures.colour(position),
                range(1, len(section.layers) + 1),
                [getattr(layer, statistic) for layer in section.layers],
            )
            for position, name, section in found
        ]
        yaxis = figures.titled(statistic.replace("_", " ")) | {"range": [0, 1.03]}
        return figure(traces, xaxis=figures.titled("PlasticFlex layer") | {"dtick": 1}, yaxis=yaxis, hovermode="x unified")

    plots = (
        Plot("binariness", "Binariness by depth", "1 for a mask of zeros and ones, 0 for one of halves.", by_depth("binariness")),
        Plot("conv-ratio", "Conv ratio by depth", "Share of mask values above ½.", by_depth("conv_ratio")),
    )
    return Part("Routing", (), plots + _evolution([row for row in trained if row[2].routing]))


def _evolution(trained: list[Named[Training]]) -> tuple[Plot, ...]:
    """How the masks moved in training, averaged over the layers; nothing for fewer than two histories."""
    if len(trained) < 2:
        return ()

    def curves(statistic: str) -> Figure:
        traces = [figures.over_epochs(name, figures.colour(at), epoch_means(section, statistic)) for at, name, section in trained]
        yaxis = figures.titled(statistic.replace("_", " ")) | {"range": [0, 1.03]}
        return figure(traces, xaxis=figures.titled("epoch"), yaxis=yaxis, hovermode="x unified")

    return (
        Plot("binariness", "Binariness over the epochs", "Mean over the layers.", curves("binariness")),
        Plot("conv-ratio", "Conv ratio over the epochs", "Mean over the layers.", curves("conv_ratio")),
    )


def _spiking(found: list[Named[Spikes]]) -> Part | None:
    if len(found) < 2:
        return None
    rates = [
        figures.rate_line(
            name, figures.colour(position), [sum(counts) for counts in zip(*(layer.rate_counts for layer in section.layers), strict=True)]
        )
        for position, name, section in found
    ]
    longest = max(len(section.active_ratios) for _, _, section in found)
    ratios = [
        figures.plain(
            name,
            figures.colour(position),
            range(1, len(section.active_ratios) + 1),
            [100 * ratio for ratio in section.active_ratios],
        )
        for position, name, section in found
    ]
    rasters = [Plot("rasters", f"Raster of {name}", "One sample.", figures.raster(section.layers)) for _, name, section in found]
    plots = (
        Plot("firing-rates", "Firing rates of all neurons", "", figures.over_rates(rates)),
        Plot("temporal-sparsity", "Active neurons over time", "", figures.over_steps(ratios, longest)),
        *rasters,
    )
    return Part("Spiking activity", (), plots)
