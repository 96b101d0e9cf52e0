"""Every number of the network in one value: sizes, the constants of each mechanism, and how images are presented."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from neurocert.models.errors import InputError
from neurocert.models.snan.astrocytes import Astrocyte
from neurocert.models.snan.connectivity import Link
from neurocert.models.snan.glutamate import Glutamate
from neurocert.models.snan.modulation import Modulation
from neurocert.models.snan.neurons import Neuron
from neurocert.models.snan.plasticity import Plasticity
from neurocert.models.snan.protocol import Protocol
from neurocert.models.snan.synapses import Synapse

MAX_SIDE = 181
"""Of a layer: indices of neurons and steps of weights stay within 16 bits, conductances within 63."""
MAX_WEIGHT = 0.065
MAX_STEPS = 10**6
LEAST_DT, MOST_DT = 1e-6, 1e-3
DURATIONS = ("glutamate.duration", "modulation.duration", "modulation.window", "modulation.interval", "protocol.training_pulse")
DURATIONS += ("protocol.training_period", "protocol.pause", "protocol.test_pulse", "protocol.window")
NAMED = ("neuron", "synapse", "plasticity", "astrocyte", "glutamate", "modulation", "protocol")


@dataclass(frozen=True)
class Settings:
    """What a network is, before anything random or learned.

    Attributes:
        excitatory, inhibitory: sides of the two square layers, in neurons.
        dt: time step, seconds.
        excitatory_links, interneuron_links, inhibitory_links: E to E, E to I and I to E.
        interneuron_weight: of E to I, fixed.
        others: see their classes. Defaults are Table 1 of the paper.
    """

    excitatory: int = 79
    inhibitory: int = 40
    dt: float = 1e-4
    excitatory_links: Link = Link(200, 15.0)
    interneuron_links: Link = Link(5, 2.0)
    inhibitory_links: Link = Link(2000, 80.0)
    interneuron_weight: float = 0.1
    neuron: Neuron = Neuron()
    synapse: Synapse = Synapse()
    plasticity: Plasticity = Plasticity()
    astrocyte: Astrocyte = Astrocyte()
    glutamate: Glutamate = Glutamate()
    modulation: Modulation = Modulation()
    protocol: Protocol = Protocol()

    def __post_init__(self) -> None:
        for name in ("excitatory", "inhibitory"):
            side = getattr(self, name)
            _require(isinstance(side, int) and 2 <= side <= MAX_SIDE, name, side, f"a side of 2 to {MAX_SIDE} neurons")
        for name, value in [("dt", self.dt), ("interneuron_weight", self.interneuron_weight), *self._constants()]:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            _require(number and math.isfinite(value), name, value, "a finite number")
        _require(LEAST_DT <= self.dt <= MOST_DT, "dt", self.dt, f"seconds from {LEAST_DT:g} to {MOST_DT:g}")
        for name, value in self._constants():
            if name in DURATIONS:
                _require(0 <= value / self.dt <= MAX_STEPS, name, value, f"seconds from 0 to {MAX_STEPS:,} steps of dt")
        self._require_mechanisms()

    def _constants(self) -> list[tuple[str, Any]]:
        """The fields of all mechanisms by their names."""
        return [(f"{name}.{field}", value) for name in NAMED for field, value in getattr(self, name)._asdict().items()]

    def _require_mechanisms(self) -> None:
        """What each mechanism needs beyond finite numbers."""
        _require(self.synapse.slope > 0, "synapse.slope", self.synapse.slope, "a positive number of mV")
        weights = self.plasticity
        _require(0 <= weights.initial <= weights.ceiling <= MAX_WEIGHT, "plasticity", weights, f"0 <= initial <= ceiling <= {MAX_WEIGHT}")
        _require(0 <= weights.height <= 1, "plasticity.height", weights.height, "0 to 1")
        _require(0 <= weights.window <= 1, "plasticity.window", weights.window, "0 to 1 s")
        _require(0 <= self.interneuron_weight <= MAX_WEIGHT * 2, "interneuron_weight", self.interneuron_weight, "0 to 0.13")
        for name, share in (("glutamate.share", self.glutamate.share), ("modulation.share", self.modulation.share)):
            _require(0 < share <= 1, name, share, "a share of a zone's neurons, above 0 and at most 1")
        timing, interval = self.protocol, self.modulation.interval
        _require(interval >= self.dt, "modulation.interval", interval, f"at least dt, {self.dt:g} s")
        _require(0 < timing.training_pulse <= timing.training_period, "protocol.training_pulse", timing.training_pulse, "within its period")
        _require(0 < timing.test_pulse <= timing.window, "protocol.test_pulse", timing.test_pulse, "within the window")

    def steps(self, seconds: float) -> int:
        """The nearest whole number of time steps."""
        return round(seconds / self.dt)


def _require(holds: bool, name: str, got: object, expected: str) -> None:
    if not holds:
        raise InputError(f"SNAN settings: {name} is {got!r}, expected {expected}")
