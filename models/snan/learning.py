"""The weights of a network while they change."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan import plasticity
from neurocert.models.snan.modulation import NEVER
from neurocert.models.snan.network import Network, units
from neurocert.models.snan.plasticity import Mask, Plasticity


class Learning:
    """Changes the weight arrays of ``network`` in place; give it a network of its own."""

    def __init__(self, network: Network) -> None:
        self._network, constants = network, network.settings.plasticity
        self._rate = np.zeros(network.settings.excitatory**2)
        self._keep = 1.0 - constants.rate_decay * network.settings.dt
        self._last, self._step, self._gain = np.full(len(self._rate), NEVER), 0, _gain(constants, network.settings.dt)

    def advance(self, active: Mask, interneurons: Mask, onset: bool) -> None:
        """One step with the neurons (E,) and (I,) that are active in it.

        At an onset the rate traces begin anew, and what was active before is forgotten: images follow each other faster than a
        window, and would be associated.
        """
        network, constants = self._network, self._network.settings.plasticity
        if onset:
            self._rate[:], self._last[:] = 0.0, NEVER
        height, ceiling = units(constants.height), units(constants.ceiling)
        plasticity.trace(self._rate, active, self._keep, constants.rate_jump)
        self._last[active] = self._step
        weights, targets = network.excitatory_weights, network.excitatory_targets
        if constants.window > 0:
            plasticity.potentiate_within(weights, targets, active, self._last, self._step, self._gain, ceiling)
        else:
            plasticity.potentiate(weights, targets, active, active, height, ceiling)
        slow = self._rate < constants.rate_threshold
        plasticity.potentiate(network.inhibitory_weights, network.inhibitory_targets, interneurons, slow, height, ceiling)
        self._step += 1


def _gain(constants: Plasticity, dt: float) -> NDArray[np.int64]:
    """Units of weight by the steps between two activities, as far as they are not 0."""
    last = 0 if constants.window == 0 else math.ceil(12.0 * constants.window / dt)
    steps = np.arange(last + 1)
    return np.round(units(constants.height) * np.exp(-steps * dt / max(constants.window, dt))).astype(np.int64)
