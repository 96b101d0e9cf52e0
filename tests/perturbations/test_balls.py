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
from neurocert.perturbations.balls import BALLS, LARGEST_RADIUS, SMALLEST_RADIUS, Ball, L1Ball, L2Ball, LinfBall, ball

RADII = st.one_of(st.sampled_from([0.0, 1e-9, 0.1, 0.3, 1.0]), st.floats(1e-6, 2))
EVERY_RADIUS = st.one_of(RADII, st.floats(SMALLEST_RADIUS, LARGEST_RADIUS), st.sampled_from([SMALLEST_RADIUS, LARGEST_RADIUS]))
UNIT = 2.0**-53
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
    kind, radius, clipped = draw(st.sampled_from([LinfBall, L2Ball, L1Ball])), draw(EVERY_RADIUS), draw(st.booleans())
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


@pytest.mark.parametrize("kind", [LinfBall, L2Ball, L1Ball])
@pytest.mark.parametrize("radius", [SMALLEST_RADIUS, 1e-9, 0.1, 3.0, LARGEST_RADIUS])
def test_containment_is_decided_up_to_a_hair(kind: type[Ball], radius: float) -> None:
    """Around 0, where no rounding of the centre hides a wrong answer: a millionth inside is in the set, a hair outside is not."""
    centres = torch.zeros(3, 4, dtype=torch.float64)
    for direction in (torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, -1.0, 0, 0])):
        shares = torch.tensor([[1 - 1e-6], [1 + 1e-12], [1e9]], dtype=torch.float64)
        assert kind(radius).contains(centres + shares * radius * direction, centres).tolist() == [True, False, False]


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


def exact_room(ball: Ball, centre: Tensor) -> list[tuple[Fraction, Fraction]]:
    """How far each element can go down and up, the others left where they are."""
    centres, epsilon = [Fraction(c) for c in centre.flatten().tolist()], Fraction(ball.epsilon)
    if not math.isfinite(ball.low):
        return [(-epsilon, epsilon) for _ in centres]
    return [(max(-epsilon, Fraction(ball.low) - c), min(epsilon, Fraction(ball.high) - c)) for c in centres]


def exact_fall(ball: Ball, row: Tensor, centre: Tensor) -> Fraction:
    """The least row . (x - centre) over an L-infinity or L1 ball, cut to its range."""
    moves = zip(map(Fraction, row.tolist()), exact_room(ball, centre), strict=True)
    falls = [(a, down if a > 0 else up) for a, (down, up) in moves]
    if isinstance(ball, LinfBall):
        return sum((a * move for a, move in falls), Fraction(0))
    left, fall = Fraction(ball.epsilon), Fraction(0)
    for a, move in sorted(falls, key=lambda pair: -abs(pair[0])):
        spent = min(left, abs(move))
        left, fall = left - spent, fall - abs(a) * spent
    return fall


@given(settings_of())
@settings(max_examples=60, deadline=None)
def test_the_box_rounds_outward_by_less_than_two_steps(given: tuple[Ball, Tensor, torch.Generator]) -> None:
    ball, centres, _ = given
    lower, upper = ball.box(centres)
    inf = torch.tensor(math.inf, dtype=torch.float64)
    inner_lower, inner_upper = (torch.nextafter(torch.nextafter(end, to), to) for end, to in ((lower, inf), (upper, -inf)))
    ends = zip(*(end.flatten().tolist() for end in (lower, inner_lower, inner_upper, upper)), strict=True)
    for c, (down, up), found in zip(centres.flatten().tolist(), exact_room(ball, centres), ends, strict=True):
        least, inner_least, inner_most, most = map(Fraction, found)
        assert least <= Fraction(c) + down <= inner_least
        assert inner_most <= Fraction(c) + up <= most


@given(settings_of())
@settings(max_examples=60, deadline=None)
def test_linear_minimum_is_exact_up_to_rounding(given: tuple[Ball, Tensor, torch.Generator]) -> None:
    """Below the exact minimum, by at most what float64 may lose on the terms of the sum."""
    ball, centres, generator = given
    if isinstance(ball, L2Ball):
        return
    rows = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)
    found = ball.minimise_linear(rows.reshape(2, 3, 2, 3), centres)
    for row in range(2):
        for sample, centre in enumerate(centres):
            a = rows[row, sample]
            exact = exact_dot(a, centre) + exact_fall(ball, a, centre)
            terms = sum((abs(Fraction(v)) for v in a.tolist()), Fraction(0)) * (1 + Fraction(ball.epsilon))
            assert 0 <= exact - Fraction(float(found[row, sample])) <= Fraction(400 * UNIT) * terms


@given(EVERY_RADIUS, st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_the_linear_minimum_of_a_whole_l2_ball_is_its_closed_form(radius: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, centres = torch.randn(2, 3, 8, generator=generator, dtype=torch.float64), torch.rand(3, 8, generator=generator).double()
    found, middle = L2Ball(radius).minimise_linear(rows, centres), torch.einsum("rbn,bn->rb", rows, centres)
    fall, terms = radius * rows.norm(dim=2), rows.abs().sum(2)
    assert bool((found - middle <= -fall + 20 * UNIT * (terms + fall)).all())  # this sum, too, is rounded
    assert bool((found - middle >= -fall * (1 + 1e-6) - 1000 * UNIT * terms).all())


@given(st.floats(0.05, 3), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_the_linear_minimum_of_a_cut_l2_ball_is_attained(radius: float, seed: int) -> None:
    """By a point made here: along -a / (2 multiplier), cut to the range, with the multiplier at which the length is the radius."""
    generator = torch.Generator().manual_seed(seed)
    row, centre = torch.randn(8, generator=generator, dtype=torch.float64), torch.rand(8, generator=generator).double()
    low, high = 1e-9, 1e3
    for _ in range(200):
        middle = math.sqrt(low * high)
        move = (centre - row / (2 * middle)).clamp(0.0, 1.0) - centre
        low, high = (middle, high) if float(move.norm()) > radius else (low, middle)
    attained = float(row @ (centre + move))
    found = float(L2Ball(radius, 0.0, 1.0).minimise_linear(row[None, None], centre[None]))
    assert attained - 1e-6 * float(row.abs().sum()) <= found <= attained + 1e-9


@given(settings_of())
@settings(max_examples=60, deadline=None)
def test_what_is_inside_stays_and_what_is_outside_comes_to_the_border(given: tuple[Ball, Tensor, torch.Generator]) -> None:
    ball, centres, generator = given
    inside = ball.sample(centres, generator)
    if centres.dtype == torch.float32:
        assert torch.equal(ball.project(inside, centres), inside)
    if not math.isfinite(ball.low) and 1e-3 < ball.epsilon < 1e3:
        far = centres + torch.randn(centres.shape, generator=generator, dtype=centres.dtype).sign() * 10 * ball.epsilon
        moves = (ball.project(far, centres).double() - centres.double()).flatten(1)
        lengths = {LinfBall: moves.abs().amax(1), L2Ball: moves.norm(dim=1), L1Ball: moves.abs().sum(1)}[type(ball)]
        assert bool((lengths >= 0.998 * ball.epsilon).all())


@pytest.mark.parametrize("kind", [LinfBall, L2Ball, L1Ball])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_ball_of_radius_zero_is_its_centre(kind: type[Ball], dtype: torch.dtype) -> None:
    generator, ball = torch.Generator().manual_seed(0), kind(0.0)
    centres, rows = torch.rand(3, 4, generator=generator, dtype=dtype), torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    assert bool(ball.contains(centres, centres).all())
    for aside in (torch.nextafter(centres, centres + 1), torch.nextafter(centres, centres - 1)):
        assert not bool(ball.contains(aside, centres).any())
        assert torch.equal(ball.project(aside, centres), centres)
    assert torch.equal(ball.sample(centres, generator), centres)
    assert all(torch.equal(end, centres.double()) for end in ball.box(centres))
    middle = torch.einsum("rbn,bn->rb", rows, centres.double())
    assert torch.allclose(ball.minimise_linear(rows, centres), middle, rtol=0, atol=1e-13)


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


@given(st.integers(0, 2**20), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_no_step_of_the_same_length_falls_further(seed: int, size: float) -> None:
    """The dual norm of the gradient, times the length, is the most that any step can gain."""
    gradient = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    flat = gradient.flatten(1)
    gains = {LinfBall: flat.abs().sum(1), L2Ball: flat.norm(dim=1), L1Ball: flat.abs().amax(1)}
    for kind, gain in gains.items():
        assert torch.allclose((gradient * kind(1.0).step(gradient, size)).flatten(1).sum(1), -size * gain, rtol=1e-9)


def test_samples_differ_and_fill_the_set() -> None:
    generator, centres = torch.Generator().manual_seed(0), torch.full((200, 2), 0.5)
    for kind in (LinfBall, L2Ball, L1Ball):
        moves = kind(0.25).sample(centres, generator) - centres
        assert float(moves.abs().max()) > 0.2 and len(torch.unique(moves, dim=0)) > 190


def test_clipping_intersects() -> None:
    clipped = LinfBall(0.1, 0.2, 2.0).clipped_to(-1.0, 1.0)
    assert (clipped.low, clipped.high, clipped.epsilon) == (0.2, 1.0, 0.1)
    assert clipped.describe() == "L-infinity ball of radius 0.1, clipped to [0.2, 1]"
    assert L2Ball(0.1).clipped_to(0.0, 1.0) == L2Ball(0.1, 0.0, 1.0) and L1Ball(0.5, high=2.0).describe().endswith("to [-inf, 2]")
    with pytest.raises(InputError, match="expected low < high"):
        LinfBall(0.1, 0.5, 1.0).clipped_to(0.0, 0.4)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.5, 0.5), (math.nan, 1.0), (0.0, math.nan), (math.inf, math.inf)])
def test_bad_ranges(low: float, high: float) -> None:
    for kind in (LinfBall, L2Ball, L1Ball):
        with pytest.raises(InputError, match="expected low < high"):
            kind(0.1, low, high)


@pytest.mark.parametrize("radius", [-0.1, math.nan, math.inf, -math.inf, True, "0.1", None, 1e-101, 5e-324, 1.1e30, 1e300, 10**400])
def test_bad_radii(radius: float) -> None:
    """Radii whose squares leave float64 are refused as well."""
    for kind in (LinfBall, L2Ball, L1Ball):
        with pytest.raises(InputError, match=r"expected 0 or a number from 1e-100 to 1e\+30"):
            kind(radius)


def test_centres_outside_the_range_are_refused() -> None:
    for bad, words in ((2.0, r"inputs lie in \[0, 2\], expected \[0, 1\]"), (math.nan, "NaN or infinity"), (math.inf, "NaN or infinity")):
        with pytest.raises(InputError, match=words):
            LinfBall(0.1, 0.0, 1.0).require_centre(torch.tensor([[0.0, bad]]))
    LinfBall(0.1, 0.0, 1.0).require_centre(torch.tensor([[0.0, 1.0]]))
    LinfBall(0.1).require_centre(torch.tensor([[-1e30, 1e30]]))


def test_balls_by_norm() -> None:
    assert [ball(norm, 0.1) for norm in BALLS] == [LinfBall(0.1), L2Ball(0.1), L1Ball(0.1)]


def test_an_unknown_norm() -> None:
    with pytest.raises(InputError, match="norm is 'l0', expected one of linf, l2, l1"):
        ball("l0", 0.1)
