"""Spikes add up to the counts; calcium follows what the astrocytes see."""

from __future__ import annotations

import numpy as np
import pytest

from neurocert.analysis.astrocyte_box import invariant_box
from neurocert.analysis.snan_activity import calcium_trace, raster
from neurocert.models.errors import InputError
from neurocert.models.snan.connectivity import Link
from neurocert.models.snan.network import Network, create
from neurocert.models.snan.presentation import present
from neurocert.models.snan.settings import Settings


@pytest.fixture(scope="module")
def network() -> Network:
    links = Link(40, 4.0), Link(5, 2.0), Link(50, 20.0)
    return create(
        Settings(excitatory=13, inhibitory=6, excitatory_links=links[0], interneuron_links=links[1], inhibitory_links=links[2]), 3
    )


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    shown = np.zeros((13, 13), bool)
    shown[2:8, 2:9] = True
    return shown.reshape(-1)


def test_a_raster_holds_the_spikes_that_are_counted(network: Network, image: np.ndarray) -> None:
    found = raster(network, image)
    assert np.array_equal(np.bincount(found.neurons, minlength=169), present(network, image[None])[0])
    assert found.times.min() >= 0 and found.times.max() < 30 and (np.diff(found.times) >= 0).all()


def test_calcium_rises_where_the_object_is_and_stays_in_the_box(network: Network, image: np.ndarray) -> None:
    found, first = calcium_trace(network, image), network.settings.astrocyte.calcium
    assert found.inside[0] == pytest.approx(first, abs=1e-3)
    assert found.inside.max() > 1.5 * first and found.inside[-1] > found.outside[-1]
    assert found.highest.max() <= float(invariant_box(network.settings.astrocyte, network.settings.glutamate).calcium)
    assert (found.times[0], found.times[-1]) == (0.0, pytest.approx(695.0))


def test_an_empty_image_is_seen_by_no_astrocyte(network: Network) -> None:
    found = calcium_trace(network, np.zeros(169, bool), every=500)
    assert np.isnan(found.inside).all() and np.isfinite(found.outside).all()


@pytest.mark.parametrize("bad", [np.zeros(168, bool), np.zeros(169)], ids=["size", "type"])
def test_other_images_are_refused(network: Network, bad: np.ndarray) -> None:
    for function in (raster, calcium_trace):
        with pytest.raises(InputError, match=r"expected bool \(169,\)"):
            function(network, bad)
