"""Sets: what they contain is decided exactly, points round inward, bounds round outward. No tolerance."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.perturbations.balls import BALLS, Ball, L1Ball, L2Ball, LinfBall, ball

RADII = st.one_of(st.sampled_from([0.0, 1e-9, 0.1, 0.3, 1.0]), st.floats(1e-6, 2))
DTYPES = st.sampled_from([torch.float32, torch.float64])


def exactly_inside(ball: Ball, point: Tensor, centre: Tensor) -> bool:
    """Membership of one point, in exact arithmetic."""
    xs, cs = ([Fraction(v) for v in tensor.flatten().tolist()] for tensor in (point, centre))
    if any(x < ball.low or x > ball.high for x in xs):
        return False
    distances = [abs(x - c) for x, c in zip(xs, cs, strict=True)]
    epsilon = Fraction(ball.epsilon)
    if isinstance(ball, LinfBall):
        return max(distances) <= epsilon
    return sum(distances) <= epsilon if isinstance(ball, L1Ball) else sum(d * d for d in distances) <= epsilon**2


@st.composite
def settings_of(draw: st.DrawFn) -> tuple[Ball, Tensor, torch.Generator]:
    """(ball, centres, generator)."""
    kind, radius, clipped = draw(st.sampled_from([LinfBall, L2Ball, L1Ball])), draw(RADII), draw(st.booleans())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    centres = torch.rand(3, 2, 3, generator=generator, dtype=draw(DTYPES))
    if draw(st.booleans()):
        centres = (centres * 10).round() / 10
    return (kind(radius, 0.0, 1.0) if clipped else kind(radius)), centres, generator


@given(settings_of())
@settings(max_examples=80, deadline=None)
def test_points_of_the_set_are_in_it(given: tuple[Ball, Tensor, torch.Generator]) -> None:
    ball, centres, generator = given
    far = centres + torch.randn(centres.shape, generator=generator, dtype=centres.dtype) * 3 * (ball.epsilon + 0.1)
    gradient = torch.randn(centres.shape, generator=generator, dtype=centres.dtype)
    for points in (
        centres,
        ball.sample(centres, generator),
        ball.project(far, centres),
        ball.project(centres + ball.step(gradient, 9.0), centres),
    ):
        assert points.dtype == centres.dtype
        assert bool(ball.contains(points, centres).all())
        assert all(exactly_inside(ball, point, centre) for point, centre in zip(points, centres, strict=True))


@given(settings_of())
@settings(max_examples=80, deadline=None)
def test_containment_is_never_claimed_wrongly(given: tuple[Ball, Tensor, torch.Generator]) -> None:
    """Points on the border, and a rounding step to either side."""
    ball, centres, _ = given
    length = {LinfBall: 1.0, L2Ball: math.sqrt(centres[0].numel()), L1Ball: float(centres[0].numel())}[type(ball)]
    border = centres + ball.epsilon / length
    for points in (border, torch.nextafter(border, centres), torch.nextafter(border, border + 1)):
        claimed = ball.contains(points, centres).tolist()
        truth = [exactly_inside(ball, point, centre) for point, centre in zip(points, centres, strict=True)]
        assert all(t or not c for c, t in zip(claimed, truth, strict=True))
        if isinstance(ball, LinfBall):
            assert claimed == truth


@given(settings_of())
@settings(max_examples=60, deadline=None)
def test_linear_minimum_and_box_hold_at_every_point(given: tuple[Ball, Tensor, torch.Generator]) -> None:
    ball, centres, generator = given
    rows = torch.randn(4, 3, *centres.shape[1:], generator=generator, dtype=torch.float64) * torch.logspace(-6, 6, 4)[:, None, None, None]
    least = ball.minimise_linear(rows, centres)
    shared = ball.minimise_linear(rows[:, :1], centres)
    lower, upper = ball.box(centres)
    points = [centres, *(ball.sample(centres, generator) for _ in range(4))]
    points += [ball.project(centres + ball.step(rows[k].to(centres.dtype), max(1.0, 3 * ball.epsilon)), centres) for k in range(4)]
    for point in points:
        assert bool((lower <= point.double()).all()) and bool((point.double() <= upper).all())
        for row in range(4):
            for sample in range(3):
                assert Fraction(float(least[row, sample])) <= exact_dot(rows[row, sample], point[sample])
                assert Fraction(float(shared[row, sample])) <= exact_dot(rows[row, 0], point[sample])


def exact_dot(a: Tensor, x: Tensor) -> Fraction:
    return sum((Fraction(p) * Fraction(q) for p, q in zip(a.flatten().tolist(), x.flatten().tolist(), strict=True)), Fraction(0))


@pytest.mark.parametrize("norm", BALLS)
def test_linear_minimum_is_tight(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    centres, rows = torch.rand(5, 7, generator=generator), torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)
    found = ball(norm, 0.2).minimise_linear(rows, centres)
    dual = {"linf": rows.abs().sum(2), "l2": rows.norm(dim=2), "l1": rows.abs().amax(2)}[norm]
    expected = torch.einsum("rbn,bn->rb", rows, centres.double()) - 0.2 * dual
    assert bool((found <= expected).all()) and torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_an_l2_ball_in_a_corner_is_bounded_by_what_is_left_of_it() -> None:
    """At the corner (1, 1) only decreasing moves remain: the minimum of -x0 + x1 is that of x1 alone."""
    found = L2Ball(0.2, 0.0, 1.0).minimise_linear(torch.tensor([[[-1.0, 1.0]]]).double(), torch.ones(1, 2))
    assert -0.2 - 1e-6 <= float(found) <= -0.2


def test_an_l1_ball_spends_its_budget_where_there_is_room() -> None:
    """Only 0.1 of room for the steepest element: the rest of the budget goes to the next."""
    found = L1Ball(0.3, 0.0, 1.0).minimise_linear(torch.tensor([[[4.0, -2.0, 1.0]]]).double(), torch.tensor([[0.1, 0.5, 0.5]]))
    exact = (4 * 0.1 - 2 * 0.5 + 0.5) - (4 * 0.1 + 2 * 0.2)
    assert exact - 1e-6 <= float(found) <= exact + 1e-7  # 0.1 is not a float32


def test_steps_descend_the_fastest() -> None:
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    assert LinfBall(1.0).step(gradient, 0.5).tolist() == [[-0.5, 0.5, 0.0]]
    assert torch.allclose(L2Ball(1.0).step(gradient, 0.5), torch.tensor([[-0.3, 0.4, 0.0]]))
    assert L1Ball(1.0).step(gradient, 0.5).tolist() == [[0.0, 0.5, 0.0]]


def test_samples_differ_and_fill_the_set() -> None:
    generator, centres = torch.Generator().manual_seed(0), torch.full((200, 2), 0.5)
    for kind in (LinfBall, L2Ball, L1Ball):
        moves = kind(0.25).sample(centres, generator) - centres
        assert float(moves.abs().max()) > 0.2 and len(torch.unique(moves, dim=0)) > 190


def test_clipping_intersects() -> None:
    clipped = LinfBall(0.1, 0.2, 2.0).clipped_to(-1.0, 1.0)
    assert (clipped.low, clipped.high, clipped.epsilon) == (0.2, 1.0, 0.1)
    assert clipped.describe() == "L-infinity ball of radius 0.1, clipped to [0.2, 1]"
    with pytest.raises(InputError, match="expected low < high"):
        LinfBall(0.1, 0.5, 1.0).clipped_to(0.0, 0.4)


@pytest.mark.parametrize("radius", [-0.1, math.nan, math.inf, True, "0.1", None])
def test_bad_radii(radius: float) -> None:
    for kind in (LinfBall, L2Ball, L1Ball):
        with pytest.raises(InputError, match="expected a finite number >= 0"):
            kind(radius)


def test_centres_outside_the_range_are_refused() -> None:
    for bad, words in ((2.0, r"inputs lie in \[0, 2\], expected \[0, 1\]"), (math.nan, "NaN or infinity"), (math.inf, "NaN or infinity")):
        with pytest.raises(InputError, match=words):
            LinfBall(0.1, 0.0, 1.0).require_centre(torch.tensor([[0.0, bad]]))


def test_an_unknown_norm() -> None:
    with pytest.raises(InputError, match="norm is 'l0', expected one of linf, l2, l1"):
        ball("l0", 0.1)
