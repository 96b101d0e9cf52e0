"""The linear minimum over an L1 ball and an input range, against the exact fractional knapsack. No tolerance below it."""

from __future__ import annotations

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocert.perturbations.balls import L1Ball, L2Ball

NUMBERS = st.floats(-8, 8, allow_subnormal=True)
UNIT = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 2.0**-40]), st.floats(0, 1))


def exact_minimum(a: list[float], centre: list[float], epsilon: float) -> Fraction:
    """Spends the budget on the steepest elements first, each up to its room in [0, 1]."""
    at_centre = sum((Fraction(p) * Fraction(q) for p, q in zip(a, centre, strict=True)), Fraction(0))
    rooms = [Fraction(c) if p > 0 else 1 - Fraction(c) for p, c in zip(a, centre, strict=True)]
    budget, gain = Fraction(epsilon), Fraction(0)
    for size, room in sorted(((abs(Fraction(p)), room) for p, room in zip(a, rooms, strict=True)), reverse=True):
        spent = min(budget, room)
        budget, gain = budget - spent, gain + size * spent
    return at_centre - gain


@given(st.lists(st.tuples(NUMBERS, UNIT), min_size=1, max_size=6), st.one_of(st.sampled_from([0.0, 0.5, 1.0, 9.0]), st.floats(1e-9, 4)))
@settings(max_examples=400, deadline=None)
def test_the_minimum_is_never_above_and_hardly_below_the_knapsack(terms: list[tuple[float, float]], epsilon: float) -> None:
    a, centre = [term[0] for term in terms], [term[1] for term in terms]
    least = exact_minimum(a, centre, epsilon)
    ball = L1Ball(epsilon, 0.0, 1.0)
    points, rows = torch.tensor([centre], dtype=torch.float64), torch.tensor([[a]], dtype=torch.float64)
    found = Fraction(float(ball.minimise_linear(rows, points)))
    assert found <= least
    assert least - found <= Fraction(1, 10**9)
    corner = ball.project(points - rows[0] * 1e6, points)
    assert bool(ball.contains(corner, points).all())


def test_products_too_small_for_a_float_stay_below() -> None:
    centre, rows = torch.full((1, 1), -1e-200, dtype=torch.float64), torch.full((1, 1, 1), 1e-200, dtype=torch.float64)
    for kind in (L1Ball, L2Ball):
        assert Fraction(float(kind(0.0).minimise_linear(rows, centre))) <= Fraction(1e-200) * Fraction(-1e-200)
