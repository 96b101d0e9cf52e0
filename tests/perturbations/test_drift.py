"""Weights that move together, against exact arithmetic. No tolerance below a minimum."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.drift import SharedDrift
from neurocert.perturbations.weights import WeightBox

NUMBERS = st.one_of(st.sampled_from([0.0, 1.0, -0.5, 1e20, 2.0**-149]), st.floats(-8, 8, width=32))
THREE = st.lists(NUMBERS, min_size=3, max_size=3)
LOWS, HIGHS = st.sampled_from([0.0, -1e-3, -2.0]), st.sampled_from([0.0, 0.3, 5.0])
RESIDUALS = st.sampled_from([None, WeightBox(0.1), WeightBox(0.0, 1e-4, ("bias",))])


def network_of(weight: list[float], bias: list[float], dtype: torch.dtype = torch.float32) -> nn.Linear:
    network = nn.Linear(3, 1).to(dtype)
    network.weight, network.bias = nn.Parameter(torch.tensor([weight], dtype=dtype)), nn.Parameter(torch.tensor(bias[:1], dtype=dtype))
    return network


@st.composite
def cases(draw: st.DrawFn) -> tuple[nn.Linear, SharedDrift]:
    network = network_of(draw(THREE), draw(THREE), draw(st.sampled_from([torch.float32, torch.float64])))
    directions = {"weight": torch.tensor([draw(THREE)]), "bias": torch.tensor(draw(THREE)[:1])}
    return network, SharedDrift(directions, draw(LOWS), draw(HIGHS), draw(RESIDUALS))


def residual(drift: SharedDrift, name: str, centre: Fraction) -> Fraction:
    box = drift.residual
    if box is None or name not in box.parameters(nn.Linear(3, 1)):
        return Fraction(0)
    return Fraction(box.relative) * abs(centre) + Fraction(box.absolute)


def on_the_line(drift: SharedDrift, network: nn.Linear, c: Fraction) -> list[tuple[str, Fraction, Fraction]]:
    """(parameter, W0 + c direction, residual) of every weight, exactly."""
    return [
        (name, Fraction(w) + c * Fraction(d), residual(drift, name, Fraction(w)))
        for name, value in network.named_parameters()
        for w, d in zip(value.flatten().tolist(), drift.directions[name].flatten().tolist(), strict=True)
    ]


def double(network: nn.Linear) -> dict[str, Tensor]:
    return {name: value.detach().double() for name, value in network.named_parameters()}


@given(cases(), st.lists(NUMBERS, min_size=4, max_size=4))
@settings(max_examples=120, deadline=None)
def test_the_minimum_is_never_above_the_exact_one(case: tuple[nn.Linear, SharedDrift], a: list[float]) -> None:
    """Over the line and its residual; linear in c, so at an end."""
    network, drift = case
    least = min(
        sum((Fraction(k) * w - abs(Fraction(k)) * r for k, (_, w, r) in zip(a, on_the_line(drift, network, c), strict=True)), Fraction(0))
        for c in (Fraction(drift.low), Fraction(drift.high))
    )
    rows = {"weight": torch.tensor([[[a[:3]]]], dtype=torch.float64), "bias": torch.tensor([[a[3:]]], dtype=torch.float64)}
    found = Fraction(float(drift.minimise_linear(rows, double(network))))
    assert found <= least
    size = sum(
        abs(k) * (abs(w) + 2 * r)
        for c in (drift.low, drift.high)
        for k, (_, w, r) in zip(a, on_the_line(drift, network, Fraction(c)), strict=True)
    )
    size += sum(
        abs(Fraction(k)) * abs(Fraction(w))
        for k, w in zip(a, torch.cat([v.flatten() for v in double(network).values()]).tolist(), strict=True)
    )
    assert float(least - found) <= 1e-6 * float(size) + 1e-30


@given(cases())
@settings(max_examples=100, deadline=None)
def test_the_box_holds_the_line(case: tuple[nn.Linear, SharedDrift]) -> None:
    network, drift = case
    ends = {name: drift.box(name, value) for name, value in network.named_parameters()}
    lower, upper = (torch.cat([ends[name][side].flatten() for name in ("weight", "bias")]).tolist() for side in (0, 1))
    for c in (drift.low, 0.0, drift.high):
        for (_, w, r), low, high in zip(on_the_line(drift, network, Fraction(c)), lower, upper, strict=True):
            assert Fraction(low) <= w - r and w + r <= Fraction(high)


def belongs(drift: SharedDrift, network: nn.Linear, changed: dict[str, Tensor]) -> bool:
    """Whether one c serves every weight, up to the rounding of storage, in exact arithmetic."""
    low, high = Fraction(drift.low), Fraction(drift.high)
    furthest = max(-low, high)
    for name, value in network.named_parameters():
        lines = zip(value.flatten().tolist(), drift.directions[name].flatten().tolist(), changed[name].flatten().tolist(), strict=True)
        for w, d, stored in ((Fraction(p), Fraction(q), Fraction(r)) for p, q, r in lines):
            extra = residual(drift, name, w)
            reach = extra + (Fraction(2) ** -23 * (abs(w) + furthest * abs(d) + extra) + Fraction(2) ** -148) * (
                furthest * abs(d) + extra > 0
            )
            if d == 0:
                if abs(stored - w) > reach:
                    return False
                continue
            ends = sorted(((stored - w - reach) / d, (stored - w + reach) / d))
            low, high = max(low, ends[0]), min(high, ends[1])
    return low <= high


@given(cases(), st.integers(0, 2**16))
@settings(max_examples=80, deadline=None)
def test_weights_that_are_handed_out_belong(case: tuple[nn.Linear, SharedDrift], seed: int) -> None:
    network, drift = case
    generator = torch.Generator().manual_seed(seed)
    along = {name: torch.randn(value.shape, generator=generator) for name, value in network.named_parameters()}
    for changed in (drift.sample(network, generator), drift.corner(along, network)):
        assert drift.contains(changed, network) and belongs(drift, network, changed)


@given(cases(), st.integers(0, 2**16), st.sampled_from([1e-8, 1e-6, 1e-3]))
@settings(max_examples=80, deadline=None)
def test_containment_is_never_claimed_wrongly(case: tuple[nn.Linear, SharedDrift], seed: int, noise: float) -> None:
    network, drift = case
    generator = torch.Generator().manual_seed(seed)
    changed = drift.sample(network, generator)
    for value in changed.values():
        value.add_(noise * torch.randn(value.shape, generator=generator).to(value.dtype))
    assert belongs(drift, network, changed) or not drift.contains(changed, network)


def test_one_scalar_moves_all_weights() -> None:
    """What pulls two weights in opposite directions cannot be used by an adversary."""
    network = network_of([1.0, 1.0, 1.0], [0.0])
    drift = SharedDrift({"weight": torch.ones(1, 3)}, -0.5, 0.5)
    opposed = {"weight": torch.tensor([[[[1.0, -1.0, 0.0]]]], dtype=torch.float64)}
    boxed = WeightBox(absolute=0.5, names=("weight",))
    assert float(boxed.minimise_linear(opposed, double(network))) == pytest.approx(-1.0)
    assert -1e-5 < float(drift.minimise_linear(opposed, double(network))) <= 0.0
    assert not drift.contains({"weight": torch.tensor([[1.5, 0.5, 1.0]])}, network)
    assert drift.contains({"weight": torch.tensor([[1.25, 1.25, 1.25]])}, network)
    assert not drift.contains({"weight": torch.tensor([[1.75, 1.75, 1.75]])}, network)


def test_words() -> None:
    drift = SharedDrift({"weight": torch.ones(1, 3)}, -0.5, 0.5, WeightBox(0.01))
    assert (
        drift.describe() == "weight moved along given directions by one scalar in [-0.5, 0.5], then every weight off by up to 1 % of itself"
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SharedDrift({}, -1.0, 1.0), "got no directions"),
        (lambda: SharedDrift({"weight": torch.tensor([[torch.inf, 0.0, 0.0]])}, -1.0, 1.0), "the direction of weight is not finite"),
        (lambda: SharedDrift({"weight": torch.ones(1, 3)}, 0.1, 1.0), r"range is \[0.1, 1.0\], expected finite low <= 0 <= high"),
        (lambda: SharedDrift({"weight": torch.ones(1, 3)}, 0.0, float("inf")), "expected finite low <= 0 <= high"),
        (lambda: SharedDrift({"weight": torch.ones(1, 3)}, 0.0, True), "expected finite low <= 0 <= high"),
        (
            lambda: SharedDrift({"weight": torch.ones(3)}, 0.0, 1.0).parameters(nn.Linear(3, 1)),
            r"shape \(3,\) for weight, expected \(1, 3\)",
        ),
        (lambda: SharedDrift({"gain": torch.ones(3)}, 0.0, 1.0).parameters(nn.Linear(3, 1)), "the network has no parameter 'gain'"),
    ],
)
def test_drifts_that_are_none(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]
