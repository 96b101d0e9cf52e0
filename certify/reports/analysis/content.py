"""What a page says of one network: sections of words, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import TypeVar

from neurocert.certify.reports.analysis import figures
from neurocert.certify.reports.analysis.build import epoch_means
from neurocert.certify.reports.analysis.schema import (
    Absent,
    Analysis,
    Attacks,
    Correlation,
    Extreme,
    Landscapes,
    Masks,
    Spectrum,
    Spikes,
    Training,
)
from neurocert.certify.reports.figures import Figure

AREA_CAPTION = "By the trapezoid rule, in input units; bars are 95 % intervals for the curve as a whole."
Kind = TypeVar("Kind", Training, Attacks, Landscapes, Spectrum, Masks, Spikes)


@dataclass(frozen=True)
class Plot:
    """One figure; ``name`` is that of ``FIGURES``, or a word of its own on a page that compares."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Grid:
    """A table: its head, and rows of cells whose first names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """One section of a page.

    Attributes:
        lines: paragraphs; for a section that does not apply, the reason alone.
    """

    title: str
    lines: tuple[str, ...]
    plots: tuple[Plot, ...] = ()
    grid: Grid | None = None


def parts_of(analysis: Analysis, left_out: Sequence[str] = ()) -> tuple[Part, ...]:
    """The sections that were asked for, each with the figures that were asked for and not left out by name."""
    made = (
        *_section("Training", analysis.training, _training),
        *_section("Accuracy under attack", analysis.attacks, _attacks),
        *_section("Loss landscape", analysis.landscape, _landscape),
        *_section("Hessian spectrum", analysis.hessian, _spectrum),
        *_section("Routing", analysis.routing, lambda masks: _routing(masks, analysis.training)),
        *_section("Spiking activity", analysis.spiking, _spiking),
    )
    wanted = set(analysis.figures) - set(left_out)
    return tuple(replace(part, plots=tuple(plot for plot in part.plots if plot.name in wanted)) for part in made)


def number(value: float) -> str:
    """Three figures, with a minus sign that is one."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def describe(found: Correlation | Absent, pairs: str) -> str:
    """The correlation in words, or why there is none; ``pairs`` says what they are, such as "samples"."""
    if isinstance(found, Absent):
        return f"No correlation over {pairs}: {found.absent}."
    interval = f"[{number(found.lower)}, {number(found.upper)}]"
    return f"Pearson's r of conv ratio and binariness over {found.n} {pairs}: {number(found.r)}, 95 % interval {interval} (Fisher)."


def spread(values: list[float]) -> str:
    """Mean ± population standard deviation."""
    return f"{fmean(values):.3f} ± {pstdev(values):.3f}"


def _section(title: str, found: Kind | Absent | None, make: Callable[[Kind], Part]) -> tuple[Part, ...]:
    """The section; the reason alone where it does not apply; nothing where it was not asked for."""
    if found is None:
        return ()
    return (Part(title, (f"{found.absent}.",)) if isinstance(found, Absent) else make(found),)


def _training(training: Training) -> Part:
    line = f"{len(training.loss)} epochs; in the last one a loss of {number(training.loss[-1])}, on the validation split "
    line += f"{number(training.validation_loss[-1])} with {100 * training.validation[-1]:.1f} % decided rightly."
    plots = (
        Plot("training-loss", "Loss", "Mean loss of each epoch.", figures.training_loss(training)),
        Plot(
            "training-accuracy",
            "Accuracy",
            "Of each split; balanced: mean recall of the classes.",
            figures.training_accuracy(training),
        ),
    )
    return Part("Training", (line,), plots)


def _attacks(attacks: Attacks) -> Part:
    span = f"{attacks.norm} balls of radius {attacks.epsilons[0]:g} to {attacks.epsilons[-1]:g} in input units"
    lines = (
        f"Inputs are attacked in {span}. Accuracy under attack bounds the robust accuracy from above: another attack may do better.",
        *(f"{attack.name}: {attack.description}." for attack in attacks.attacks),
        *(f"Masked gradients? {sign}." for sign in attacks.masking),
    )
    caption = "Bars are 95 % intervals (Clopper-Pearson). What broke at a smaller radius stays broken at a larger one."
    plots = (
        Plot("attack-curves", "Accuracy over the radius", caption, figures.attack_curves(attacks)),
        Plot(
            "attack-auc",
            "Area under the curve",
            AREA_CAPTION,
            figures.attack_auc(attacks),
        ),
    )
    return Part("Accuracy under attack", lines, plots)


def _landscape(found: Landscapes) -> Part:
    plane, steep = found.random, found.eigenvectors
    lines = [
        f"Cross-entropy around the weights, where it is {number(plane.centre)}. Along a random direction each filter moves by its own "
        f"norm at a distance of 1 (filter normalisation). Over the plane the loss is on average {number(plane.mean_rise)} higher."
    ]
    caption = "The cross marks the weights; colours follow the logarithm of the loss."
    plots = [
        Plot("landscape-surface", "Surface over two random directions", "Drag to turn.", figures.surface(plane)),
        Plot("landscape-contour", "Map over the same directions", caption, figures.contour(plane)),
    ]
    if isinstance(steep, Absent):
        lines.append(f"Along the Hessian's eigenvectors: {steep.absent}.")
    else:
        lines.append(f"Along the two steepest eigenvectors of the Hessian it is {number(steep.mean_rise)} higher.")
        title = "Map over the Hessian's two largest eigenvectors"
        plots.append(Plot("landscape-eigenvectors", title, f"Each as long as a random direction. {caption}", figures.contour(steep)))
    return Part("Loss landscape", tuple(lines), tuple(plots))


def _spectrum(found: Spectrum) -> Part:
    trace = f"{number(found.trace.mean)} ± {number(found.trace.standard_error)} (standard error of {found.trace.n} probes)"
    settled = all(extreme.converged for extreme in (*found.top, found.least))
    lines = (
        f"Curvature of the mean cross-entropy in {found.parameters:,} weights. Derivative used: {found.derivative}. Trace: {trace}.",
        f"{found.runs} runs of {found.steps} Lanczos steps; {'all' if settled else 'not all'} extreme eigenvalues below have converged.",
    )
    named = [(f"largest {rank}", extreme) for rank, extreme in enumerate(found.top, 1)] + [("least", found.least)]
    grid = Grid(("eigenvalue", "value", "residual", "deviation over runs", "converged"), tuple(_row(*row) for row in named))
    caption = f"Smoothed by a Gaussian of width {number(found.width)}; the band is the deviation over the runs. Ticks: eigenvalues below."
    return Part("Hessian spectrum", lines, (Plot("spectral-density", "Density", caption, figures.spectral_density(found)),), grid)


def _row(name: str, extreme: Extreme) -> tuple[str, ...]:
    numbers = (number(value) for value in (extreme.value, extreme.residual, extreme.deviation))
    return (name, *numbers, "yes" if extreme.converged else "no")


def _routing(masks: Masks, training: Training | Absent | None) -> Part:
    history = training if isinstance(training, Training) and training.routing else None
    ratios, binarinesses = [layer.conv_ratio for layer in masks.layers], [layer.binariness for layer in masks.layers]
    lines = [
        f"Over the PlasticFlex layers (mean ± SD of {len(masks.layers)}): conv ratio {spread(ratios)}, binariness {spread(binarinesses)}.",
        describe(masks.correlation, "samples"),
        describe(masks.over_epochs, "epochs (which follow one another, so that the interval is too narrow)" if history else "epochs"),
    ]
    plots = [
        Plot(
            "binariness",
            "Binariness" + (" over the epochs" if history else ""),
            "1 for a mask of zeros and ones, 0 for one of halves.",
            figures.by_layer(masks, history, "binariness"),
        ),
        Plot(
            "conv-ratio",
            "Conv ratio" + (" over the epochs" if history else ""),
            "Share of mask values above ½, where the convolution prevails.",
            figures.by_layer(masks, history, "conv_ratio"),
        ),
    ]
    pairs, caption = (
        figures.routing_correlation(masks.conv_ratios, masks.binarinesses),
        "One point for each sample, a mean over the layers.",
    )
    plots.append(Plot("routing-correlation", "Conv ratio and binariness", caption, pairs))
    if history is not None:
        trend = figures.routing_trend(history)
        epochs = figures.routing_correlation(epoch_means(history, "conv_ratio"), epoch_means(history, "binariness"))
        caption = "One point for each epoch, a mean over the layers."
        plots.append(Plot("routing-trend", "Mean over the layers", "Conv ratio with its deviation over the layers.", trend))
        plots.append(Plot("routing-correlation", "Conv ratio and binariness over the epochs", caption, epochs))
    return Part("Routing", tuple(lines), tuple(plots))


def _spiking(spikes: Spikes) -> Part:
    steps, neurons = len(spikes.active_ratios), sum(layer.neurons for layer in spikes.layers)
    active = fmean(spikes.active_ratios)
    line = f"{neurons:,} neurons over {steps} step{'s' if steps > 1 else ''}; at a step {100 * active:.1f} % of them are active, "
    line += f"a temporal sparsity of {100 * (1 - active):.1f} %."
    rows = tuple((layer.layer, f"{layer.neurons:,}", f"{layer.mean_rate:.3f}", f"{100 * layer.silent:.1f} %") for layer in spikes.layers)
    caption = "One sample; at most 200 neurons of a layer are shown."
    plots = (
        Plot("firing-rates", "Firing rates", "Spikes per step of each neuron, averaged over the samples.", figures.firing_rates(spikes)),
        Plot("temporal-sparsity", "Active neurons over time", "Averaged over the samples.", figures.temporal_sparsity(spikes)),
        Plot("rasters", "Raster of all layers", caption, figures.raster(spikes.layers)),
        Plot("first-layer-raster", "Raster of the first layer", caption, figures.raster(spikes.layers[:1])),
    )
    return Part("Spiking activity", (line,), plots, Grid(("layer", "neurons", "mean rate", "never active"), rows))
