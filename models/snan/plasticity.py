"""Learning, Eq. (8)-(9): potentiation by coincidence, without depression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan.compiled import compiled
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.synapses import Indices

Mask = NDArray[np.bool_]


class Plasticity(NamedTuple):
    """Constants of Table 1; weights are dimensionless.

    Attributes:
        initial: weight before learning.
        height: what one coincidence adds.
        ceiling: greatest weight.
        rate_decay: of the rate trace, per second.
        rate_jump: what each step of activity adds to it.
        rate_threshold: an inhibitory synapse learns while the trace of its target is below.
    """

    initial: float = 1e-4
    height: float = 0.007
    ceiling: float = 0.05
    rate_decay: float = 200.0
    rate_jump: float = 0.5
    rate_threshold: float = 0.3


@compiled
def trace(rate: Floats, active: Mask, keep: float, jump: float) -> None:
    """The rate trace of each excitatory neuron (N,), in place: xi <- keep xi, and then min(1, xi + jump) if it is active."""
    for n in range(rate.shape[0]):
        rate[n] = keep * rate[n]
        if active[n]:
            rate[n] = min(1.0, rate[n] + jump)


@compiled
def potentiate(weights: Indices, targets: Indices, active: Mask, eligible: Mask, height: int, ceiling: int) -> None:
    """w <- min(w + height, ceiling) for every synapse from an active neuron to an eligible one, in place.

    Eq. (8): a synapse between excitatory neurons learns when both are active in the same step. Eq. (9): one from an
    inhibitory neuron learns when that one is active and the rate of its target is below the threshold.

    Args:
        weights, targets: (N, K), as in ``synapses.transmit``.
        active: (N,), of the presynaptic neurons; eligible: (M,), of the postsynaptic ones.
        height, ceiling: in units of the weights.
    """
    for n in range(active.shape[0]):
        if active[n]:
            for k in range(targets.shape[1]):
                if eligible[targets[n, k]]:
                    weights[n, k] = min(np.int64(weights[n, k]) + height, ceiling)
