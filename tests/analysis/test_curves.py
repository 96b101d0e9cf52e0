from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocert.analysis.curves import area_under, trapezoid
from neurocert.analysis.statistics import Proportion, clopper_pearson
from neurocert.models.errors import InputError


def test_area_of_known_shapes() -> None:
    assert trapezoid((0.0, 0.3), (1.0, 1.0)) == pytest.approx(0.3)
    assert trapezoid((0.0, 1.0, 3.0), (1.0, 0.5, 0.0)) == pytest.approx(0.75 + 0.5)


def test_the_interval_joins_intervals_that_hold_at_once() -> None:
    area = area_under((0.0, 0.1, 0.3), (Proportion(9, 10), Proportion(5, 10), Proportion(0, 10)))
    ends = [clopper_pearson(count, 10, 1 - 0.05 / 3) for count in (9, 5, 0)]
    assert area.value == pytest.approx(0.1 * (0.9 + 0.5) / 2 + 0.2 * (0.5 + 0.0) / 2)
    assert area.lower == pytest.approx(trapezoid((0.0, 0.1, 0.3), [lower for lower, _ in ends]))
    assert area.upper == pytest.approx(trapezoid((0.0, 0.1, 0.3), [upper for _, upper in ends]))


@given(counts=st.lists(st.integers(0, 20), min_size=2, max_size=5))
def test_the_area_lies_in_its_interval_and_within_the_span(counts: list[int]) -> None:
    radii = [0.1 * index for index in range(len(counts))]
    area = area_under(radii, [Proportion(count, 20) for count in counts])
    assert 0 <= area.lower < area.value + 1e-12 and area.value < area.upper + 1e-12 <= radii[-1] + 2e-12


@pytest.mark.parametrize("radii", [(0.1,), (0.1, 0.1), (0.2, 0.1), (0.1, float("nan")), (0.1, 0.2, 0.3)])
def test_what_is_no_curve(radii: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="expected two or more increasing radii"):
        trapezoid(radii, (1.0, 0.5)[: max(1, min(2, len(radii)))])
