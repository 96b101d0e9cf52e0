"""What a spiking neuron-astrocyte network does with one image: its spikes in a test, its calcium after being shown it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurocert.models.errors import InputError
from neurocert.models.snan.network import Network
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.simulation import Simulation
from neurocert.models.snan.syncytium import Syncytium

INSIDE = 0.5
"""Share of a zone's neurons in the object from which its astrocyte counts as seeing it."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Every spike of the excitatory layer during one test presentation.

    Attributes:
        times: (S,), ms from the onset.
        neurons: (S,), counted row by row.
    """

    times: Floats
    neurons: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Calcium:
    """Calcium in uM while the network is shown one image, several times, and then left alone; means over the astrocytes.

    Attributes:
        times: (T,), ms from the onset.
        inside: (T,), of those whose zone sees the object; NaN where none does.
        outside: (T,), of all others; likewise.
        highest: (T,), over all.
    """

    times: Floats
    inside: Floats
    outside: Floats
    highest: Floats


def raster(network: Network, image: Mask) -> Raster:
    """The spikes that ``present`` counts, for one binary image (E,).

    Raises:
        InputError: another shape.
    """
    _require(network, image)
    settings, simulation, found = network.settings, Simulation(network), []
    stimulus = np.where(image, settings.protocol.test_current, 0.0)[None]
    for step in range(settings.steps(settings.protocol.window)):
        spikes = simulation.step(stimulus if step < settings.steps(settings.protocol.test_pulse) else None)[0]
        found.append(np.flatnonzero(spikes))
    times = np.repeat(np.arange(len(found)), [len(neurons) for neurons in found])
    return Raster(times.astype(np.float64) * settings.dt * 1e3, np.concatenate(found))


def calcium_trace(network: Network, image: Mask, pulses: int = 10, every: int = 50) -> Calcium:
    """Training pulses of one image, to astrocytes at their initial values, up to the moment whose calcium map would be kept.

    Args:
        image: bool (E,).
        pulses: how often it is shown, one training period after another; a single pulse leaves calcium as it was.
        every: steps between two values.

    Raises:
        InputError: another shape.
    """
    _require(network, image)
    settings, simulation, syncytium = network.settings, Simulation(network), Syncytium(network.settings)
    protocol, sees = settings.protocol, _sees(network, image)
    stimulus, rows = np.where(image, protocol.training_current, 0.0)[None], []
    period, pulse = settings.steps(protocol.training_period), settings.steps(protocol.training_pulse)
    for step in range(pulses * period + settings.steps(protocol.pause)):
        shown = stimulus if step < pulses * period and step % period < pulse else None
        onset = (step + 1) % period == 0 and step + 1 < pulses * period
        simulation.step(shown, onset=onset, feedback=False, astrocytes=syncytium)
        if step % every == 0:
            now = syncytium.calcium.reshape(-1)
            rows.append((step * settings.dt * 1e3, _mean(now[sees]), _mean(now[~sees]), float(now.max())))
    return Calcium(*np.array(rows).T)


def _sees(network: Network, image: Mask) -> NDArray[np.bool_]:
    """(Z,): the zones of which at least ``INSIDE`` lies in the object."""
    members = network.zones.members
    counts = np.bincount(members[image][members[image] >= 0], minlength=len(network.zones.sizes))
    return counts >= INSIDE * network.zones.sizes


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _require(network: Network, image: Mask) -> None:
    neurons = network.settings.excitatory**2
    if image.dtype != np.bool_ or image.shape != (neurons,):
        raise InputError(f"image is {image.dtype} {image.shape}, expected bool ({neurons},): one pixel for each excitatory neuron")
