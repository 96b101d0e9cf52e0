"""Boxes of weights, against exact arithmetic. No tolerance below a minimum."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.rounding import sum_down
from neurocert.perturbations.weights import WeightBox

WEIGHTS = st.one_of(st.sampled_from([0.0, 1.0, -0.5, 2.0**-149, 1e30, -1e30]), st.floats(-8, 8, width=32))
COEFFICIENTS = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 1e30, 2.0**-1074]), st.floats(-8, 8))
SHARES = st.sampled_from([0.0, 1e-300, 1e-9, 0.01, 1.0, 3.0])
RADII = st.sampled_from([0.0, 5e-324, 2.0**-150, 1e-6, 0.25])


class Two(nn.Module):
    """Two parameters."""

    def __init__(self, first: list[float], second: list[float], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.tensor(values, dtype=dtype)) for values in (first, second))


def exact_box(weights: WeightBox, name: str, centre: Tensor) -> list[tuple[Fraction, Fraction]]:
    """By definition."""
    extra = weights.radii.get(name, torch.zeros(centre.shape)).tolist()
    found = []
    for w, own in zip(map(Fraction, centre.tolist()), extra, strict=True):
        reach = Fraction(weights.relative) * abs(w) + Fraction(weights.absolute) + Fraction(own)
        found.append((w - reach, w + reach))
    return found


def changes(weights: WeightBox, network: Two, seed: int) -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        yield weights.sample(network, generator)
        yield weights.corner({name: torch.randn(2, generator=generator) for name in ("first", "second")}, network)


NETWORKS = st.builds(
    Two,
    st.lists(WEIGHTS, min_size=2, max_size=2),
    st.lists(WEIGHTS, min_size=2, max_size=2),
    st.sampled_from([torch.float32, torch.float64]),
)
SETS = st.builds(
    lambda relative, absolute, own: WeightBox(relative, absolute, ("first", "second"), {"second": torch.tensor([own, 0.0])}),
    SHARES,
    RADII,
    RADII,
)


@given(NETWORKS, SETS, st.integers(0, 2**16))
@settings(max_examples=80, deadline=None)
def test_bounds_hold_the_set_and_points_lie_in_it(network: Two, weights: WeightBox, seed: int) -> None:
    for name, centre in weights.parameters(network).items():
        lower, upper = (end.tolist() for end in weights.box(name, centre))
        for (low, high), least, greatest in zip(exact_box(weights, name, centre), lower, upper, strict=True):
            assert Fraction(least) <= low and high <= Fraction(greatest)
    for changed in changes(weights, network, seed):
        assert weights.contains(changed, network)
        for name, centre in weights.parameters(network).items():
            ends = exact_box(weights, name, centre)
            assert changed[name].dtype == centre.dtype
            assert all(low <= Fraction(w) <= high for w, (low, high) in zip(changed[name].tolist(), ends, strict=True))


@given(NETWORKS, SETS)
@settings(max_examples=80, deadline=None)
def test_containment_is_never_claimed_wrongly(network: Two, weights: WeightBox) -> None:
    for name, centre in weights.parameters(network).items():
        exact = exact_box(weights, name, centre)
        for border in weights.box(name, centre):
            stored = border.to(centre.dtype)
            for point in (stored, torch.nextafter(stored, stored * 0), torch.nextafter(stored, stored + 1)):
                inside = all(low <= Fraction(w) <= high for w, (low, high) in zip(point.tolist(), exact, strict=True))
                assert inside or not weights.contains({name: point}, network)


@given(NETWORKS, SETS, st.lists(COEFFICIENTS, min_size=4, max_size=4))
@settings(max_examples=120, deadline=None)
def test_the_minimum_is_never_above_the_exact_one(network: Two, weights: WeightBox, coefficients: list[float]) -> None:
    centres = {name: value.detach().double() for name, value in weights.parameters(network).items()}
    rows = dict(zip(("first", "second"), torch.tensor(coefficients, dtype=torch.float64).split(2), strict=True))
    least = sum(
        (
            min(Fraction(a) * low, Fraction(a) * high)
            for name, row in rows.items()
            for a, (low, high) in zip(row.tolist(), exact_box(weights, name, centres[name]), strict=True)
        ),
        Fraction(0),
    )
    found = Fraction(float(weights.minimise_linear({name: row[None, None] for name, row in rows.items()}, centres)))
    assert found <= least
    size = sum(abs(a) * (1 + abs(w)) for a, w in zip(coefficients, torch.cat(list(centres.values())).tolist(), strict=True))
    assert float(least - found) <= 1e-12 * (1 + 5 * size)


@given(st.lists(st.one_of(st.floats(-1e30, 1e30), st.floats(-1, 1)), min_size=1, max_size=40))
@settings(max_examples=80, deadline=None)
def test_sums_over_parameters_round_down(terms: list[float]) -> None:
    found = Fraction(float(sum_down(torch.tensor(terms, dtype=torch.float64))))
    assert found <= sum(map(Fraction, terms)) <= found + Fraction(1, 10**12) * (1 + sum(abs(Fraction(term)) for term in terms))


def test_corners_reach_the_exact_minimum() -> None:
    network, weights = Two([1.0, -2.0], [0.5, 0.0]), WeightBox(0.5, names=("first",))
    rows = {"first": torch.tensor([3.0, 1.0])}
    values = []
    for signs in product((-1.0, 1.0), repeat=2):
        changed = weights.corner({"first": torch.tensor(signs), "second": torch.zeros(2)}, network)
        values.append(float(changed["first"] @ rows["first"]))
    found = float(weights.minimise_linear({"first": rows["first"].double()[None, None]}, {"first": network.first.detach().double()}))
    assert min(values) - 1e-5 <= found <= min(values) and found == pytest.approx(1.5 - 3.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WeightBox(radii={"first": torch.tensor([-1.0, 0.0])}), "radii of first are negative or not finite"),
        (
            lambda: WeightBox(radii={"first": torch.zeros(3)}).parameters(Two([0.0, 0.0], [0.0, 0.0])),
            r"shape \(3,\) for first, expected \(2,\)",
        ),
        (lambda: WeightBox(radii={"third": torch.zeros(2)}).parameters(Two([0.0, 0.0], [0.0, 0.0])), "no parameter 'third'"),
    ],
)
def test_radii_that_are_none(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]
