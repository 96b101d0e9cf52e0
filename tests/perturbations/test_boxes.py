"""Boxes: membership decided exactly, points round inward, bounds round outward. No tolerance."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert import certify
from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import attack
from neurocert.perturbations.boxes import Box, WeightedLinfBall
from neurocert.perturbations.sets import Ball


def exact_box(ball: Ball, centre: Tensor) -> list[tuple[Fraction, Fraction]]:
    """The interval of each element of one sample, in exact arithmetic."""
    if isinstance(ball, Box):
        return [
            (Fraction(low), Fraction(high)) for low, high in zip(ball.lower.flatten().tolist(), ball.upper.flatten().tolist(), strict=True)
        ]
    assert isinstance(ball, WeightedLinfBall)
    reaches = [Fraction(ball.epsilon) * Fraction(s) for s in ball.scales.expand(centre.shape).flatten().tolist()]
    centres = [Fraction(c) for c in centre.flatten().tolist()]
    ends = [(c - r, c + r) for c, r in zip(centres, reaches, strict=True)]
    return [(low if low > ball.low else Fraction(ball.low), high if high < ball.high else Fraction(ball.high)) for low, high in ends]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Ball, Tensor, torch.Generator]:
    """(set, centres (3, 2, 3), generator)."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    centres = torch.rand(3, 2, 3, generator=generator, dtype=draw(st.sampled_from([torch.float32, torch.float64])))
    if draw(st.booleans()):
        centres = (centres * 10).round() / 10
    around = torch.rand(2, 2, 3, generator=generator, dtype=torch.float64) * draw(st.sampled_from([0.0, 1e-9, 0.1, 1.0]))
    if draw(st.booleans()):
        box: Ball = Box(centres.amin(0).double() - around[0], centres.amax(0).double() + around[1])
    else:
        scales = around[0] if draw(st.booleans()) else around[0, :1].round()
        box = WeightedLinfBall(draw(st.sampled_from([0.0, 0.1, 0.3, 1e-9])), -1.0, 2.0, scales=scales)
    return (box.clipped_to(0.0, 1.0) if draw(st.booleans()) else box), centres, generator


@given(cases())
@settings(max_examples=120, deadline=None)
def test_sets_hold_their_points_and_bounds_hold_the_set(case: tuple[Ball, Tensor, torch.Generator]) -> None:
    ball, centres, generator = case
    ball.require_centre(centres)
    wild = centres + torch.randn(centres.shape, generator=generator, dtype=centres.dtype) * 3
    gradient = torch.randn(centres.shape, generator=generator, dtype=centres.dtype)
    rows = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    lower, upper = ball.box(centres)
    least = ball.minimise_linear(rows, centres)
    points = [
        centres,
        ball.sample(centres, generator),
        ball.project(wild, centres),
        ball.project(centres + ball.step(gradient, 1.0), centres),
    ]
    for sample in range(3):
        exact = exact_box(ball, centres[sample])
        assert all(Fraction(a) <= low and high <= Fraction(b) for a, b, (low, high) in zip(*flat(lower, upper, sample), exact, strict=True))
        for point in points:
            assert point.dtype == centres.dtype and bool(ball.contains(point, centres)[sample])
            assert all(low <= Fraction(x) <= high for x, (low, high) in zip(point[sample].flatten().tolist(), exact, strict=True))
        for row in rows:
            terms = [Fraction(a) * (low if a > 0 else high) for a, (low, high) in zip(row[sample].flatten().tolist(), exact, strict=True)]
            found = Fraction(float(ball.minimise_linear(row[None], centres)[0, sample]))
            assert found <= sum(terms) and sum(terms) - found < Fraction(1, 10**8)
    assert least.shape == (2, 3)


def flat(lower: Tensor, upper: Tensor, sample: int) -> tuple[list[float], list[float]]:
    return lower[sample].flatten().tolist(), upper[sample].flatten().tolist()


@given(cases())
@settings(max_examples=60, deadline=None)
def test_containment_is_never_claimed_wrongly(case: tuple[Ball, Tensor, torch.Generator]) -> None:
    ball, centres, _ = case
    lower, upper = ball.box(centres)
    border = torch.where(torch.arange(6).reshape(2, 3) % 2 == 0, lower, upper)
    for points in (border, torch.nextafter(border, centres.double()), torch.nextafter(border, border + 1)):
        claimed = ball.contains(points, centres).tolist()
        for sample in range(3):
            exact = exact_box(ball, centres[sample])
            inside = all(low <= Fraction(x) <= high for x, (low, high) in zip(points[sample].flatten().tolist(), exact, strict=True))
            assert inside or not claimed[sample]
            assert claimed[sample] == inside or isinstance(ball, WeightedLinfBall)


def test_a_step_crosses_the_box() -> None:
    box = Box(torch.tensor([0.0, -2.0]), torch.tensor([1.0, 2.0]))
    assert box.step(torch.tensor([[3.0, -0.1]]), 1.0).tolist() == [[-1.0, 4.0]]
    weighted = WeightedLinfBall(0.5, scales=torch.tensor([0.0, 2.0]))
    assert weighted.step(torch.tensor([[3.0, -0.1]]), 0.5).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_attacks_find_the_minimum_of_a_linear_network(name: str) -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(5, 2)).eval(), torch.rand(3, 5)
    labels = network(x).argmax(1)
    scales = torch.tensor([0.0, 1.0, 2.0, 0.5, 1.0])
    for ball in (Box(x.amin(0) - 0.1, x.amax(0) + scales / 9), WeightedLinfBall(0.1, scales=scales)):
        found = attack(name).search(network, x, labels, ball, torch.Generator().manual_seed(0))
        weight = (network[0].weight[0] - network[0].weight[1]).detach().double() * torch.where(labels == 0, 1.0, -1.0)[:, None]
        bias = (network[0].bias[0] - network[0].bias[1]).detach().double() * torch.where(labels == 0, 1.0, -1.0)
        assert torch.allclose(found.margins, ball.minimise_linear(weight[None], x)[0] + bias, atol=1e-6)


def test_pixels_that_may_not_change_do_not() -> None:
    """A margin that rests on frozen pixels is certified at any radius."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False)).eval()
    network[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    x, label = torch.tensor([[0.1, 0.5]]), torch.tensor([0])
    frozen = certify.WeightedLinfBall(100.0, scales=torch.tensor([0.0, 1.0]))
    assert [c.verdict for c in certify.verify(network, x, label, frozen)] == ["certified"]
    assert [c.verdict for c in certify.verify(network, x, label, certify.LinfBall(100.0))] == ["falsified"]
    box = certify.Box(torch.tensor([0.05, -9.0]), torch.tensor([1.0, 9.0]))
    (certificate,) = certify.verify(network, x, label, box)
    assert certificate.verdict == "certified" and certificate.perturbation == "box of 2 intervals in [-9, 9], the widest of width 18"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Box(torch.zeros(2), torch.zeros(3)), r"lower has shape \(2,\) and upper \(3,\)"),
        (lambda: Box(torch.ones(2), torch.zeros(2)), "above its upper end"),
        (lambda: Box(torch.zeros(2), torch.tensor([1.0, torch.inf])), "not finite"),
        (lambda: Box(torch.tensor([0.0, torch.nan]), torch.ones(2)), "not finite"),
        (lambda: Box(torch.zeros(0), torch.zeros(0)), "not empty"),
        (lambda: Box(torch.zeros(2), torch.ones(2)).clipped_to(2.0, 3.0), "above its upper end"),
        (lambda: Box(torch.zeros(2), torch.ones(2)).require_centre(torch.ones(1, 3)), r"shape \(2,\), the inputs \(3,\)"),
        (lambda: Box(torch.zeros(2), torch.tensor([1.0, 0.5])).require_centre(torch.ones(1, 2)), "outside the box"),
        (lambda: WeightedLinfBall(0.1, scales=torch.tensor([-1.0])), "negative or not finite"),
        (lambda: WeightedLinfBall(0.1, scales=torch.ones(3)).require_centre(torch.ones(1, 2)), r"shape \(3,\), the inputs \(2,\)"),
        (lambda: WeightedLinfBall(-0.1, scales=torch.ones(3)), "epsilon is -0.1"),
    ],
)
def test_what_is_no_box(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]


def test_sets_with_tensors_compare_by_identity() -> None:
    one, other = (WeightedLinfBall(0.1, scales=torch.tensor([s])) for s in (1.0, 2.0))
    assert one != other and len({one, other, one}) == 2
