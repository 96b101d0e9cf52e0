"""The astrocyte box: its size, its faces, and constants for which it does not hold."""

from __future__ import annotations

import numpy as np
import pytest

from neurocert.analysis.astrocyte_box import invariant_box, require_possible
from neurocert.models.errors import InputError
from neurocert.models.snan import astrocytes
from neurocert.models.snan.astrocytes import Astrocyte
from neurocert.models.snan.connectivity import Link
from neurocert.models.snan.glutamate import Glutamate
from neurocert.models.snan.network import create
from neurocert.models.snan.settings import Settings

BOX = invariant_box(Astrocyte(), Glutamate())
CALCIUM, IP3 = float(BOX.calcium), float(BOX.ip3)


def test_the_papers_box() -> None:
    assert pytest.approx((2.0 / 1.185, 0.16 + 5.3 / 0.14)) == (CALCIUM, IP3)


def test_the_field_points_inward_on_every_face() -> None:
    for ca, h, ip3 in np.random.default_rng(0).random((500, 3)) * (CALCIUM, 1.0, IP3):
        for production in (0.0, 5.0):
            assert astrocytes.derivatives(0.0, h, ip3, Astrocyte())[0] > 0
            assert astrocytes.derivatives(CALCIUM, h, ip3, Astrocyte())[0] < 0
            assert astrocytes.derivatives(ca, 0.0, ip3, Astrocyte())[1] > 0 > astrocytes.derivatives(ca, 1.0, ip3, Astrocyte())[1]
            assert astrocytes.derivatives(ca, h, 0.0, Astrocyte())[2] + production > 0
            assert astrocytes.derivatives(ca, h, IP3, Astrocyte())[2] + production < 0


def test_runs_stay_inside() -> None:
    cells = np.random.default_rng(1).random((3, 4, 4)) * np.array([CALCIUM, 1.0, 2.0]).reshape(3, 1, 1)
    for _ in range(3000):
        cells = astrocytes.advance(cells, np.full((4, 4), 5.0), 1e-3, Astrocyte())
        assert (cells > 0).all() and (cells.max((1, 2)) < (CALCIUM, 1.0, IP3)).all()


@pytest.mark.parametrize(
    "wrong", [{"v6": 5.0}, {"k3": -0.1}, {"alpha": 1.5}, {"calcium_diffusion": -1.0}, {"c1": float("nan")}, {"c0": float("inf")}]
)
def test_constants_without_a_proof_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="astrocyte: "):
        invariant_box(Astrocyte(**wrong), Glutamate())


@pytest.mark.parametrize("outside", [{"calcium": 1.7}, {"receptor": 1.1}, {"ip3": 39.0}])
def test_astrocytes_that_begin_outside_have_no_box(outside: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"IP3 .*outside its box"):
        invariant_box(Astrocyte(**outside), Glutamate())


@pytest.mark.parametrize("calcium", [-0.01, 1.7])
def test_a_calcium_map_that_cannot_be_is_refused(calcium: float) -> None:
    links = Link(9, 3.0), Link(2, 2.0), Link(9, 9.0)
    small = Settings(excitatory=13, inhibitory=4, excitatory_links=links[0], interneuron_links=links[1], inhibitory_links=links[2])
    network = create(small, 0)
    assert require_possible(network) == BOX
    changed = network.calcium.copy()
    changed[1, 2] = calcium
    with pytest.raises(InputError, match="which the equations cannot leave"):
        require_possible(network.with_calcium(changed))
