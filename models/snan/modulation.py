"""Astrocytes strengthen the excitatory synapses of their zone, Eq. (22): where calcium is high and neurons fire together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan.compiled import compiled
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.synapses import Integers

NEVER = -(2**30)
"""The step of what has not happened."""


class Modulation(NamedTuple):
    """Constants of Table 1.

    Attributes:
        strength: v_Ca; synapses onto a modulated neuron are 1 + strength times as strong.
        calcium: threshold, uM.
        share: of a zone's neurons that must spike in the same step. (0.5; the text's F_act = 0.5 for calcium is another.)
        duration: of modulation, seconds.
        window: how far back synchronous spikes count, seconds.
        interval: between two looks at it, seconds.
    """

    strength: float = 2.0
    calcium: float = 0.15
    share: float = 0.5
    duration: float = 0.02
    window: float = 0.005
    interval: float = 0.001


@compiled
def watch(potential: Floats, peak: float, members: NDArray[np.int32], needed: NDArray[np.int64], step: int, seen: Integers) -> None:
    """Notes in ``seen`` (B, Z) the step at which enough neurons of a zone spiked together.

    Args:
        potential: (B, N), mV; a spike is at least ``peak``.
        members: (N, 4); needed: (Z,).
    """
    for b in range(potential.shape[0]):
        count = np.zeros_like(needed)
        for n in range(potential.shape[1]):
            if potential[b, n] >= peak:
                for k in range(members.shape[1]):
                    if members[n, k] >= 0:
                        count[members[n, k]] += 1
        for zone in range(count.shape[0]):
            if count[zone] >= needed[zone]:
                seen[b, zone] = step


@compiled
def decide(seen: Integers, high: NDArray[np.bool_], step: int, window: int, duration: int, until: Integers) -> None:
    """Sets the last modulated step ``until`` (B, Z) of zones with high calcium that fired together in the last ``window`` + 1 steps."""
    for b in range(seen.shape[0]):
        for zone in range(seen.shape[1]):
            if high[zone] and step - seen[b, zone] <= window:
                until[b, zone] = step + duration


@compiled
def gains(until: Integers, step: int, owner: NDArray[np.int32], strength: float, gain: Floats) -> None:
    """Factors ``gain`` (B, N) of the excitatory synapses onto each neuron in ``step``: 1 + strength in a modulated zone, else 1."""
    for b in range(gain.shape[0]):
        gain[b, :] = 1.0
        if step > np.max(until[b]):
            continue
        for n in range(gain.shape[1]):
            if step <= until[b, owner[n]]:
                gain[b, n] = 1.0 + strength
