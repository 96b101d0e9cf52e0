"""A network small enough to be simulated literally."""

from __future__ import annotations

import numpy as np
import pytest

from neurocert.models.snan.connectivity import Link
from neurocert.models.snan.network import Network, create
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint

SMALL = Settings(
    excitatory=13, inhibitory=6, excitatory_links=Link(40, 4.0), interneuron_links=Link(5, 2.0), inhibitory_links=Link(50, 20.0)
)


@pytest.fixture(scope="session")
def untrained() -> Network:
    return create(SMALL, 3)


@pytest.fixture(scope="session")
def patterns() -> np.ndarray:
    """Three crosses and bars, bool (3, 169)."""
    images = np.zeros((3, 13, 13), bool)
    images[0, 2:7], images[1, :, 4:9], images[2, 7:12, 3:11] = True, True, True
    return images.reshape(3, -1)


@pytest.fixture(scope="session")
def trained(untrained: Network, patterns: np.ndarray) -> Network:
    """Ten presentations of each pattern, astrocytes listening: calcium is high in some zones and low in others."""
    return imprint(untrained, np.repeat(patterns, 10, 0))
