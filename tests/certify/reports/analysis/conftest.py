"""Analyses made up from closed forms, for one static, one spiking and one plain network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from neurocert.analysis.curves import area_under
from neurocert.certify.reports.analysis.config import ALL_FIGURES
from neurocert.certify.reports.analysis.schema import (
    Absent,
    Analysis,
    Attacks,
    Correlation,
    Extreme,
    Landscapes,
    Layer,
    Masks,
    Plane,
    Spectrum,
    Spikes,
    Trace,
    Track,
    Training,
)
from neurocert.certify.reports.curves import Area, Curve
from neurocert.certify.reports.parts import Attack, Data, Environment, Network, Routing, Share

MakeAnalysis = Callable[..., Analysis]
EPSILONS = (0.0, 0.05, 0.1, 0.3)


def drawn_analysis(name: str = "digits-flex-snn", flatness: float = 1.0, **changes: Any) -> Analysis:
    """The network's losses and curves are ``flatness`` times steeper than another's."""
    fields: dict[str, Any] = {
        "network": Network(
            name=name,
            sha256="3f" * 32,
            architecture="flex-vgg: blocks 16/1, 32/2",
            semantics="LIF, spike iff V > 1, T=4",
            parameters=38_410,
            classes=tuple("0123456789"),
            provenance=None,
        ),
        "data": Data(name="digits", noun="held-out digits", sha256="a0" * 32, size=500),
        "samples": tuple(range(20)),
        "clean": Share.of(19, 20),
        "training": training(),
        "attacks": attacks(flatness),
        "landscape": Landscapes(random=plane(flatness), eigenvectors=plane(10 * flatness)),
        "hessian": spectrum(flatness),
        "routing": masks(),
        "spiking": spikes(),
        "figures": ALL_FIGURES,
        "seed": 0,
        "environment": Environment(neurocert="0.1.0", torch="2.13.0", numpy="2.4", python="3.12", platform="Linux", threads=1),
        "seconds": 12.5,
        "command": f"certify analyse {name}",
    }
    return Analysis(**fields | changes)


def training(epochs: int = 6) -> Training:
    falling = tuple(2.0 / (epoch + 1) for epoch in range(epochs))
    rising = tuple(1 - 0.8 / (epoch + 1) for epoch in range(epochs))
    tracks = tuple(
        Track(layer=f"synapses.{layer}.0", conv_ratio=tuple(0.3 + 0.05 * layer + 0.1 * share for share in rising), binariness=rising)
        for layer in range(2)
    )
    return Training(loss=falling, train=rising, validation=rising, balanced=rising, validation_loss=falling, routing=tracks)


def attacks(flatness: float) -> Attacks:
    def curve(name: str, fall: float) -> Curve:
        unbroken = tuple(Share.of(max(0, round(19 - fall * flatness * epsilon)), 20) for epsilon in EPSILONS)
        area = area_under(EPSILONS, [share.proportion for share in unbroken])
        return Curve(attack=name, unbroken=unbroken, area=Area(value=area.value, lower=area.lower, upper=area.upper))

    return Attacks(
        norm="linf",
        epsilons=EPSILONS,
        attacks=tuple(Attack(name=name, description=f"{name} as drawn") for name in ("fgsm", "pgd")),
        curves=(curve("fgsm", 60), curve("pgd", 90), curve("worst", 95)),
        masking=("square, which sees logits alone, breaks more",),
    )


def plane(scale: float) -> Plane:
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0)
    losses = tuple(tuple(0.1 + scale * (x * x + 2 * y * y) for x in steps) for y in steps)
    return Plane(steps=steps, losses=losses, centre=0.1, mean_rise=1.5 * scale, cosine=0.0)


def spectrum(scale: float) -> Spectrum:
    grid = tuple(scale * (-1 + position / 20) for position in range(101))
    density = tuple(math.exp(-0.5 * (value / 0.1) ** 2) for value in grid)

    def extreme(value: float) -> Extreme:
        return Extreme(value=value, residual=1e-9, deviation=1e-10, converged=True)

    return Spectrum(
        derivative="surrogate (sech-squared)",
        parameters=38_410,
        loss=0.1,
        steps=40,
        runs=4,
        top=tuple(extreme(scale * value) for value in (4.0, 3.0, 2.0)),
        least=extreme(-scale),
        trace=Trace(mean=12.0, standard_error=0.5, n=32),
        grid=grid,
        density=density,
        deviations=tuple(value / 10 for value in density),
        width=0.1 * scale,
    )


def masks() -> Masks:
    return Masks(
        layers=tuple(Routing(layer=f"synapses.{layer}.0", conv_ratio=0.4 + layer / 10, binariness=0.3, calls=1) for layer in range(2)),
        conv_ratios=tuple(0.4 + sample / 100 for sample in range(20)),
        binarinesses=tuple(0.3 + (sample % 7) / 100 for sample in range(20)),
        correlation=Correlation(r=0.1, lower=-0.35, upper=0.52, n=20),
        over_epochs=Absent(absent="the checkpoint holds no history of its masks"),
    )


def spikes(steps: int = 4) -> Spikes:
    def layer(name: str, neurons: int) -> Layer:
        return Layer(
            layer=name,
            neurons=neurons,
            mean_rate=0.25,
            silent=0.1,
            rate_counts=(neurons // 2, neurons - neurons // 2, 0, 0),
            active_ratios=(0.25,) * steps,
            raster_neurons=tuple(range(neurons)),
            raster=tuple((step, neuron) for step in range(steps) for neuron in range(neurons) if (neuron + step) % 4 == 0),
        )

    return Spikes(layers=(layer("neurons.0", 12), layer("neurons.1", 5)), active_ratios=(0.25,) * steps)


def drawn_plain(name: str = "plain") -> Analysis:
    """A static network without PlasticFlex layers, of which nothing but attacks and landscapes can be said."""
    absent = Absent(absent="the loss is flat almost everywhere")
    return drawn_analysis(
        name,
        training=Absent(absent="The checkpoint holds no history of its training"),
        landscape=Landscapes(random=plane(1.0), eigenvectors=absent),
        hessian=absent,
        routing=Absent(absent="The network has no PlasticFlex layer"),
        spiking=Absent(absent="The network has no spiking neurons"),
    )


@pytest.fixture
def make_analysis() -> MakeAnalysis:
    return drawn_analysis


@pytest.fixture
def make_plain() -> MakeAnalysis:
    return drawn_plain
