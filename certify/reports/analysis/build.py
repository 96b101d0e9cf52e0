"""From what the analyses found to the parts of an analysis report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch

from neurocert.analysis.correlation import pearson
from neurocert.analysis.hessian import Hessian
from neurocert.analysis.loss_landscape import Landscape
from neurocert.analysis.routing import LayerRouting
from neurocert.analysis.spectrum import Eigenvalue, Estimate, Krylov, density, least, top
from neurocert.analysis.spiking import Activity
from neurocert.certify.reports.analysis.schema import (
    Absent,
    Correlation,
    Extreme,
    Layer,
    Masks,
    Plane,
    Spectrum,
    Spikes,
    Trace,
    Training,
)
from neurocert.certify.reports.parts import Routing
from neurocert.models.errors import InputError

EXTREMES = 5
RATE_BINS = 25
RASTER_NEURONS = 200
"""Of one layer that a raster shows; more could not be told apart."""


def plane(found: Landscape) -> Plane:
    """One landscape."""
    return Plane(steps=found.steps, losses=found.losses, centre=found.centre, mean_rise=found.mean_rise, cosine=found.cosine)


def spectrum_section(hessian: Hessian, runs: Sequence[Krylov], steps: int, trace: Estimate) -> Spectrum:
    """What the runs of Lanczos and the probes of the trace came to."""
    smoothed = density(runs)
    return Spectrum(
        derivative=hessian.derivative,
        parameters=hessian.dimension,
        loss=hessian.loss,
        steps=steps,
        runs=len(runs),
        top=tuple(map(_extreme, top(runs, EXTREMES))),
        least=_extreme(least(runs)),
        trace=Trace(mean=trace.mean, standard_error=trace.standard_error, n=trace.n),
        grid=smoothed.grid,
        density=smoothed.values,
        deviations=smoothed.deviations,
        width=smoothed.width,
    )


def training_section(history: Any) -> Training | Absent:
    """The history that a checkpoint's metadata hold, or None where they hold none."""
    return Absent(absent="The checkpoint holds no history of its training") if history is None else Training(**history.model_dump())


def epoch_means(training: Training, statistic: str) -> list[float]:
    """``conv_ratio`` or ``binariness`` averaged over the layers, for each epoch."""
    return [fmean(layers) for layers in zip(*(getattr(track, statistic) for track in training.routing), strict=True)]


def routing_section(layers: Sequence[LayerRouting], samples: Sequence[Sequence[LayerRouting]], training: Training | Absent | None) -> Masks:
    """Layers averaged over the samples, samples averaged over the layers, and whether the two statistics go together.

    Args:
        layers: of all samples together.
        samples: of each sample alone.
        training: whose epochs are correlated, too.
    """
    over_epochs: Correlation | Absent = Absent(absent="the checkpoint holds no history of its masks")
    if isinstance(training, Training) and training.routing:
        over_epochs = correlation(epoch_means(training, "conv_ratio"), epoch_means(training, "binariness"))
    ratios = tuple(_unit(fmean(layer.conv_ratio for layer in sample)) for sample in samples)
    binarinesses = tuple(_unit(fmean(layer.binariness for layer in sample)) for sample in samples)
    return Masks(
        layers=tuple(map(_routing, layers)),
        conv_ratios=ratios,
        binarinesses=binarinesses,
        correlation=correlation(ratios, binarinesses),
        over_epochs=over_epochs,
    )


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation | Absent:
    """Pearson's r, or why there is none."""
    try:
        found = pearson(x, y)
    except InputError as error:
        return Absent(absent=str(error))
    return Correlation(r=found.r, lower=found.lower, upper=found.upper, n=found.n)


def spiking_section(layers: Sequence[Activity]) -> Spikes:
    """Histograms and thinned rasters of each layer, and the active ratios of all that take part in every step."""
    steps = max(len(layer.outputs) for layer in layers)
    always = [layer.outputs.flatten(1) for layer in layers if len(layer.outputs) == steps]
    active = torch.cat([(outputs != 0).double() for outputs in always], dim=1).mean(1)
    return Spikes(layers=tuple(map(_layer, layers)), active_ratios=tuple(active.tolist()))


def _layer(found: Activity) -> Layer:
    rates = found.firing_rates.double().flatten()
    counts = torch.histc(rates, RATE_BINS, min=0.0, max=1.0)
    stride = math.ceil(len(rates) / RASTER_NEURONS)
    spikes = zip(*(part.tolist() for part in found.raster()), strict=True)
    return Layer(
        layer=found.layer,
        neurons=len(rates),
        mean_rate=_unit(float(rates.mean())),
        silent=float((rates == 0).double().mean()),
        rate_counts=tuple(int(count) for count in counts.tolist()),
        active_ratios=tuple(found.active_ratio.tolist()),
        raster_neurons=tuple(range(0, len(rates), stride)),
        raster=tuple((step, neuron // stride) for step, neuron in spikes if neuron % stride == 0),
    )


def _extreme(found: Eigenvalue) -> Extreme:
    return Extreme(value=found.value, residual=found.residual, deviation=found.deviation, converged=found.converged)


def _routing(layer: LayerRouting) -> Routing:
    return Routing(layer=layer.layer, conv_ratio=_unit(layer.conv_ratio), binariness=_unit(layer.binariness), calls=layer.calls)


def _unit(value: float) -> float:
    """A mean of numbers in [0, 1], which rounding may carry past an end."""
    return min(1.0, max(0.0, value))
