"""The astrocytes of a network as they listen to its neurons: glutamate, IP3 and calcium in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurocert.models.snan import astrocytes, glutamate
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.zones import zones


class Syncytium:
    """The changing state of all astrocytes, from its initial values.

    Attributes:
        cells: (3, R, C): calcium (uM), receptor, IP3 (uM).
    """

    def __init__(self, settings: Settings) -> None:
        constants = settings.astrocyte
        self._settings, self._zones = settings, zones(settings.excitatory)
        side = self._zones.side
        self.cells = np.stack([np.full((side, side), value) for value in (constants.calcium, constants.receptor, constants.ip3)])
        self._glutamate = np.zeros(settings.excitatory**2)
        self._needed = whole_number(settings.glutamate.share, self._zones.sizes)
        self._left = np.zeros(side * side, np.int64)

    @property
    def calcium(self) -> Floats:
        """(R, C), uM."""
        return self.cells[0]

    def advance(self, spikes: Mask) -> None:
        """One time step after the spikes (N,) of the excitatory neurons; production lasts as in Eq. (20)."""
        constants, dt = self._settings.glutamate, self._settings.dt
        glutamate.advance(self._glutamate, spikes, dt, constants)
        reached = glutamate.reached(self._glutamate, self._zones.members, self._needed, constants.threshold)
        self._left[reached] = self._settings.steps(constants.duration)
        production = np.where(self._left > 0, constants.production, 0.0).reshape(self.calcium.shape)
        self._left = np.maximum(self._left - 1, 0)
        self.cells = astrocytes.advance(self.cells, production, dt, self._settings.astrocyte)


def whole_number(share: float, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least numbers of neurons that are at least a share of each zone."""
    return np.ceil(share * sizes - 1e-9).astype(np.int64)
