"""The weights of a network while they change."""

from __future__ import annotations

import numpy as np

from neurocert.models.snan import plasticity
from neurocert.models.snan.network import Network, units
from neurocert.models.snan.plasticity import Mask


class Learning:
    """Changes the weight arrays of ``network`` in place; give it a network of its own."""

    def __init__(self, network: Network) -> None:
        self._network, constants = network, network.settings.plasticity
        self._rate = np.zeros(network.settings.excitatory**2)
        self._keep = 1.0 - constants.rate_decay * network.settings.dt

    def advance(self, active: Mask, interneurons: Mask, onset: bool) -> None:
        """One step with the neurons (E,) and (I,) that are active in it; at an onset the rate traces begin anew."""
        network, constants = self._network, self._network.settings.plasticity
        if onset:
            self._rate[:] = 0.0
        height, ceiling = units(constants.height), units(constants.ceiling)
        plasticity.trace(self._rate, active, self._keep, constants.rate_jump)
        plasticity.potentiate(network.excitatory_weights, network.excitatory_targets, active, active, height, ceiling)
        slow = self._rate < constants.rate_threshold
        plasticity.potentiate(network.inhibitory_weights, network.inhibitory_targets, interneurons, slow, height, ceiling)
