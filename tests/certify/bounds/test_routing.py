"""The extremes of a PlasticFlex output along its pooling branch, hard-sigmoid masks, where floats are exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from neurocert.certify.bounds.relaxations.masks import HardSigmoidMask

PLACES = [  # extreme, where alone it is attained, and a, b, C, lower, upper, slope
    ("least", "mask at 0", "1", "7/8", "1/8", "-3", "-5/8", "9/8"),
    ("least", "mask at 1", "2", "21/8", "-5/2", "-3/2", "3/2", "-5/4"),
    ("least", "mask at 0", "-1", "-19/8", "11/4", "-3", "-2", "1/8"),
    ("least", "mask at 1", "-4", "-3/8", "-17/8", "-17/8", "3/4", "5/2"),
    ("least", "level", "-2", "1/8", "-3/2", "-1", "-1/4", "11/4"),
    ("greatest", "mask at 0", "1", "-15/8", "11/8", "-3", "5/2", "5/8"),
    ("greatest", "mask at 1", "2", "15/8", "2", "-11/8", "11/8", "3/4"),
    ("greatest", "mask at 0", "-2", "3", "-3", "9/8", "19/8", "15/8"),
    ("greatest", "mask at 1", "-2", "-1/2", "1/2", "-11/8", "-1/8", "-3/4"),
    ("greatest", "level", "4", "-11/8", "1/2", "-5/2", "15/8", "3/8"),
]
SLOPES_OF_MASKS = st.sampled_from([Fraction(0), *(sign * Fraction(2) ** k for sign in (1, -1) for k in range(-3, 3))])
EIGHTHS = st.integers(-24, 24).map(lambda n: Fraction(n, 8))
POINTS = 24


def tensor(value: Fraction) -> Tensor:
    return torch.full((1, 1, 1, 1), float(value), dtype=torch.float64)


def tilted(a: Fraction, b: Fraction, convolved: Fraction, slope: Fraction, pooled: Fraction) -> Fraction:
    """m C + (1 - m) P - slope P with m = clip(a P + b, 0, 1)."""
    mask = min(max(a * pooled + b, Fraction(0)), Fraction(1))
    return mask * convolved + (1 - mask) * pooled - slope * pooled


def special(a: Fraction, b: Fraction, convolved: Fraction, slope: Fraction) -> dict[str, Fraction]:
    """Where the mask's clip begins and ends, and where the parabola between is level."""
    return {"mask at 0": -b / a, "mask at 1": (1 - b) / a, "level": convolved / 2 + (1 - b - slope) / (2 * a)} if a else {}


@given(SLOPES_OF_MASKS, EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS, st.none() | EIGHTHS)
def test_extremes_are_exact(a: Fraction, b: Fraction, convolved: Fraction, end: Fraction, other: Fraction, slope: Fraction | None) -> None:
    """Zero tolerance: a is a power of two, so that every operation on these numbers is exact in float64."""
    lower, upper, tilt = min(end, other), max(end, other), slope or Fraction(0)
    inside = [point for point in special(a, b, convolved, tilt).values() if lower < point < upper]
    grid = [lower + (upper - lower) * k / POINTS for k in range(POINTS + 1)]
    values = [tilted(a, b, convolved, tilt, point) for point in (*grid, *inside)]
    over = HardSigmoidMask(tensor(6 * a)[0], tensor(6 * b - 3)[0]).over(tensor(lower), tensor(upper))
    given_slope = None if slope is None else tensor(slope)
    assert Fraction(over.least(tensor(convolved), given_slope).item()) == min(values)
    assert Fraction(over.greatest(tensor(convolved), given_slope).item()) == max(values)


@pytest.mark.parametrize("case", PLACES, ids=lambda case: " ".join(case[:3]))
def test_each_place_is_looked_at(case: tuple[str, ...]) -> None:
    """What is drawn at random seldom has its extreme at a kink."""
    extreme, place = case[:2]
    a, b, convolved, lower, upper, slope = map(Fraction, case[2:])
    inside = {name: point for name, point in special(a, b, convolved, slope).items() if lower < point < upper}
    there, *others = (tilted(a, b, convolved, slope, point) for point in (inside.pop(place), *inside.values(), lower, upper))
    assert all(there < other if extreme == "least" else there > other for other in others)
    over = HardSigmoidMask(tensor(6 * a)[0], tensor(6 * b - 3)[0]).over(tensor(lower), tensor(upper))
    assert Fraction(getattr(over, extreme)(tensor(convolved), tensor(slope)).item()) == there


@given(st.lists(st.tuples(SLOPES_OF_MASKS, EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS), min_size=2, max_size=8))
def test_masks_that_rise_and_fall_together_are_bounded_as_each_alone(
    cases: list[tuple[Fraction, Fraction, Fraction, Fraction, Fraction, Fraction]],
) -> None:
    """What one element needs is computed for all; it must not change the others."""

    def bounds(part: list[tuple[Fraction, ...]], slope: bool) -> tuple[Tensor, Tensor]:
        a, b, convolved, end, other, tilt = (torch.tensor([float(case[k]) for case in part], dtype=torch.float64) for k in range(6))
        over = HardSigmoidMask(6 * a, 6 * b - 3).over(torch.minimum(end, other)[None], torch.maximum(end, other)[None])
        tilted_by = tilt[None] if slope else None
        return over.least(convolved[None], tilted_by), over.greatest(convolved[None], tilted_by)

    for slope in (False, True):
        together, alone = bounds(cases, slope), [bounds([case], slope) for case in cases]
        for side in (0, 1):
            assert torch.equal(together[side], torch.cat([one[side] for one in alone], 1))


def test_a_mask_without_slope_has_finite_gradients() -> None:
    """It has no kinks, and places where they would be must not reach a gradient as infinity times 0."""
    scale = torch.tensor([[[0.0]], [[6.0]]], dtype=torch.float64, requires_grad=True)
    over = HardSigmoidMask(scale, torch.zeros_like(scale)).over(torch.full((1, 2, 1, 1), -1.0), torch.full((1, 2, 1, 1), 1.0))
    slope = torch.full((1, 2, 1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    (over.least(torch.zeros(1, 2, 1, 1), slope) + over.greatest(torch.zeros(1, 2, 1, 1), slope)).sum().backward()
    assert scale.grad is not None and slope.grad is not None
    assert torch.isfinite(scale.grad).all() and torch.isfinite(slope.grad).all()
