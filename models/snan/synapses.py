"""Synaptic currents, Eq. (3), event by event and in exact sums.

I_j = sum_i w_ij S(V_i) (E - V_j), S(V) = 1 / (1 + exp(-V / k)): a synapse matters only near a spike of its presynaptic
neuron. Weights are whole numbers of ``WEIGHT_UNIT`` and S is rounded to whole numbers of ``RELEASE_UNIT``, so that a
conductance is a sum of integers: it does not depend on the order of its terms, hence not on batch, thread or device.

What is neglected: |S - rounded S| <= RELEASE_UNIT / 2 = 2^-37 for every synapse, so a conductance errs by at most 2^-37
times the sum of its weights. Below about -5.2 mV S rounds to 0, and nothing is computed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan.compiled import compiled
from neurocert.models.snan.neurons import Floats

WEIGHT_UNIT = 1e-6
RELEASE_STEPS = 2.0**36
RELEASE_UNIT = 1.0 / RELEASE_STEPS
CONDUCTANCE_UNIT = WEIGHT_UNIT * RELEASE_UNIT
SILENT_SLOPES = 37.0 * math.log(2.0)
"""S(V) < 2^-37 below minus this many slopes."""
Integers = NDArray[np.int64]
Indices = NDArray[np.uint16]


class Synapse(NamedTuple):
    """Constants of Eq. (3): reversal potentials of excitatory and inhibitory synapses and slope k, all in mV."""

    excitatory_reversal: float = 0.0
    inhibitory_reversal: float = -90.0
    slope: float = 0.2


@compiled
def transmit(potential: Floats, targets: Indices, weights: Indices, slope: float, conductance: Integers) -> None:
    """Conductances (B, M) in units of ``CONDUCTANCE_UNIT`` that presynaptic potentials (B, N) in mV cause, in place.

    Args:
        targets, weights: (N, K): the postsynaptic neurons of each, and the weights in units of ``WEIGHT_UNIT``.
    """
    silent = -SILENT_SLOPES * slope
    for b in range(potential.shape[0]):
        conductance[b, :] = 0
        for n in range(potential.shape[1]):
            v = potential[b, n]
            if v <= silent:
                continue
            released = np.int64(math.floor(RELEASE_STEPS / (1.0 + math.exp(-v / slope)) + 0.5))
            for k in range(targets.shape[1]):
                conductance[b, targets[n, k]] += np.int64(weights[n, k]) * released


@compiled
def excitatory_current(potential: Floats, excitation: Integers, inhibition: Integers, gain: Floats, synapse: Synapse, out: Floats) -> None:
    """Current (B, N) in mV into excitatory neurons: max(0, gain g_EE (E_exc - V)) + g_IE (E_inh - V).

    Args:
        excitation, inhibition: conductances (B, N) from excitatory and inhibitory neurons.
        gain: (B, N), of the excitatory synapses; see ``modulation``.
    """
    for b in range(potential.shape[0]):
        for n in range(potential.shape[1]):
            v = potential[b, n]
            excitatory = gain[b, n] * (excitation[b, n] * CONDUCTANCE_UNIT) * (synapse.excitatory_reversal - v)
            out[b, n] = max(excitatory, 0.0) + inhibition[b, n] * CONDUCTANCE_UNIT * (synapse.inhibitory_reversal - v)


@compiled
def inhibitory_current(potential: Floats, excitation: Integers, synapse: Synapse, out: Floats) -> None:
    """Current (B, M) in mV into inhibitory neurons: g_EI (E_exc - V)."""
    for b in range(potential.shape[0]):
        for n in range(potential.shape[1]):
            out[b, n] = excitation[b, n] * CONDUCTANCE_UNIT * (synapse.excitatory_reversal - potential[b, n])
