"""Glutamate around the excitatory neurons, and the IP3 that it makes astrocytes produce, Eq. (19)-(21)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan.compiled import compiled
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.plasticity import Mask


class Glutamate(NamedTuple):
    """Constants of Table 1.

    Attributes:
        clearance: 1/s.
        release: uM/s while a neuron is at its peak, one step for each spike.
        threshold: concentration that counts towards a zone, uM.
        share: of a zone's neurons that must reach it.
        production: J_glu, uM/s.
        duration: of J_glu, seconds; begun again, not added up.
    """

    clearance: float = 50.0
    release: float = 600.0
    threshold: float = 0.2
    share: float = 0.75
    production: float = 5.0
    duration: float = 0.06


@compiled
def advance(concentration: Floats, spikes: Mask, dt: float, p: Glutamate) -> None:
    """One Euler step of Eq. (19) in place: dG/dt = -clearance G + release [V >= peak].

    Args:
        concentration, spikes: (N,).
        dt: in seconds.
    """
    for n in range(concentration.shape[0]):
        released = p.release if spikes[n] else 0.0
        concentration[n] = concentration[n] - dt * (p.clearance * concentration[n] - released)


@compiled
def reached(concentration: Floats, members: NDArray[np.int32], needed: NDArray[np.int64], threshold: float) -> Mask:
    """The zones (Z,) of which enough neurons have G >= threshold, Eq. (21).

    Args:
        concentration: (N,), uM; members: (N, 4); needed: (Z,); see ``zones.Zones``.
    """
    count = np.zeros_like(needed)
    for n in range(concentration.shape[0]):
        if concentration[n] >= threshold:
            for k in range(members.shape[1]):
                if members[n, k] >= 0:
                    count[members[n, k]] += 1
    return count >= needed
