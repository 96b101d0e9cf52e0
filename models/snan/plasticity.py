"""Learning, Eq. (8)-(9): potentiation by coincidence, or within a window, without depression.

The paper's formulas are lost but for their constants: a height and a window of 20 ms. By default excitatory synapses learn from
activity in the same time step, as in the situation-based network that the paper builds on: the limit of a window of length 0.
"""

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
        window: of Eq. (8), seconds: activity dt apart adds height exp(-|dt| / window) to an excitatory synapse; 0 for coincidence.
        ceiling: greatest weight.
        rate_decay: of the rate trace, per second.
        rate_jump: what each step of activity adds to it.
        rate_threshold: an inhibitory synapse learns while the trace of its target is below.
    """

    initial: float = 1e-4
    height: float = 0.007
    window: float = 0.0
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


@compiled
def potentiate_within(
    weights: Indices, targets: Indices, active: Mask, last: NDArray[np.int64], step: int, gain: NDArray[np.int64], ceiling: int
) -> None:
    """w <- min(w + gain[dt], ceiling) for every synapse of which one end is active now and the other was dt >= 0 steps ago.

    Args:
        weights, targets: (N, K), within one layer.
        active: (N,), of this step; last: (N,), the last active step of each neuron, this one included; below 0 for none.
        gain: by dt, in units of the weights; 0 beyond its end.
    """
    for n in range(active.shape[0]):
        if last[n] < 0:
            continue
        for k in range(targets.shape[1]):
            target = targets[n, k]
            if last[target] < 0 or not (active[n] or active[target]):
                continue
            apart = 2 * step - last[n] - last[target]  # one of the two is now
            if apart < gain.shape[0]:
                weights[n, k] = min(np.int64(weights[n, k]) + gain[apart], ceiling)
