"""Izhikevich neurons, Eq. (1)-(2): one set of constants for excitatory and inhibitory ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan.compiled import compiled

Floats = NDArray[np.float64]

ONSET_POTENTIAL, ONSET_RECOVERY = -71.9795475755463, -12.8842919091830
"""The state (V, U) in mV that every neuron is given at the onset of a stimulus."""
ACTIVE = 25.0
"""A neuron counts as active for plasticity above this potential, in mV."""


class Neuron(NamedTuple):
    """Constants of Table 1.

    Attributes:
        a: rate of the recovery variable, per ms.
        b: its sensitivity to the potential.
        c: potential after a spike, mV.
        d: jump of the recovery variable at a spike, mV.
        peak: a spike is a potential of at least this, mV; it is clipped there, so that each spike is one sample.
    """

    a: float = 0.1
    b: float = 0.2
    c: float = -65.0
    d: float = 2.0
    peak: float = 30.0


@compiled
def advance(potential: Floats, recovery: Floats, current: Floats, dt: float, cell: Neuron) -> None:
    """One forward Euler step of Eq. (1) in place, after the reset (2) of the neurons that spiked in the step before.

    dV/dt = 0.04 V^2 + 5 V + 140 - U + I;  dU/dt = a (b V - U), the second with the new V;  V <- min(V, peak).

    Args:
        potential, recovery, current: (B, N), in mV.
        dt: in ms.
    """
    for b in range(potential.shape[0]):
        for n in range(potential.shape[1]):
            v, u = potential[b, n], recovery[b, n]
            if v >= cell.peak:
                v, u = cell.c, u + cell.d
            v = v + dt * (0.04 * (v * v) + 5.0 * v + 140.0 + current[b, n] - u)
            recovery[b, n] = u + dt * (cell.a * (cell.b * v - u))
            potential[b, n] = min(v, cell.peak)
