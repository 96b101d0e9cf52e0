"""Flips of binary inputs, against the enumeration of every point. No tolerance."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert import certify
from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import attack
from neurocert.perturbations.flips import Flips

BITS = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=6)


def points_of(flips: Flips, centre: Tensor) -> list[Tensor]:
    """By definition, from all binary points."""
    every = [torch.tensor(bits) for bits in product([0.0, 1.0], repeat=centre.numel())]
    return [point for point in every if int((point != centre).sum()) <= flips.count]


@given(BITS, st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_enumeration_is_the_set(bits: list[float], count: int) -> None:
    flips, centre = Flips(count), torch.tensor(bits)
    found = [tuple(point.tolist()) for point in flips.enumerate(centre)]
    assert len(found) == len(set(found)) == flips.size(len(bits))
    assert set(found) == {tuple(point.tolist()) for point in points_of(flips, centre)}
    assert bool(flips.contains(torch.tensor(found), centre.expand(len(found), -1)).all())
    outside = [p for p in product([0.0, 1.0], repeat=len(bits)) if p not in set(found)]
    assert not outside or not bool(flips.contains(torch.tensor(outside), centre.expand(len(outside), -1)).any())


@given(st.lists(st.tuples(st.floats(-8, 8), st.sampled_from([0.0, 1.0])), min_size=1, max_size=6), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_linear_minimum_is_attained_up_to_rounding(terms: list[tuple[float, float]], count: int) -> None:
    flips, centre, a = Flips(count), torch.tensor([t[1] for t in terms]), torch.tensor([t[0] for t in terms], dtype=torch.float64)
    values = [sum(Fraction(p) * Fraction(q) for p, q in zip(a.tolist(), x.tolist(), strict=True)) for x in points_of(flips, centre)]
    found = Fraction(float(flips.minimise_linear(a[None, None], centre[None])))
    assert found <= min(values) and min(values) - found < Fraction(1, 10**10)


@given(st.integers(0, 2**16), st.integers(0, 5), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=60, deadline=None)
def test_points_of_the_set_are_in_it(seed: int, count: int, dtype: torch.dtype) -> None:
    generator, flips = torch.Generator().manual_seed(seed), Flips(count)
    centres = torch.randint(0, 2, (3, 2, 4), generator=generator).to(dtype)
    wild = torch.randn(centres.shape, generator=generator, dtype=dtype) * 3
    lower, upper = flips.box(centres)
    for point in (flips.sample(centres, generator), flips.project(wild, centres), flips.project(centres + flips.step(wild, 1.0), centres)):
        assert point.dtype == dtype and bool(flips.contains(point, centres).all())
        assert bool((lower <= point).all()) and bool((point <= upper).all())
        assert torch.equal(flips.project(point, centres), point)
    assert not bool(flips.contains(centres + 0.5, centres).any()) and not bool(flips.contains(centres * torch.nan, centres).any())


def test_samples_use_the_whole_budget_and_less() -> None:
    centres, generator = torch.zeros(300, 9), torch.Generator().manual_seed(0)
    assert set((Flips(3).sample(centres, generator)).sum(1).int().tolist()) == {0, 1, 2, 3}


def test_the_strongest_wishes_are_granted() -> None:
    centre, gradient = torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.tensor([[-1.0, 2.0, -9.0, 9.0]])
    flips = Flips(2)
    assert flips.project(centre + flips.step(gradient, flips.epsilon), centre).tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_one_step_finds_the_minimum_of_a_linear_network() -> None:
    torch.manual_seed(1)
    network, x = nn.Sequential(nn.Linear(12, 2)).eval().double(), torch.randint(0, 2, (4, 12)).double()
    labels = network(x).argmax(1)
    for count in (1, 3):
        flips = Flips(count)
        for name in ("fgsm", "pgd"):
            found = attack(name).search(network, x, labels, flips, torch.Generator().manual_seed(0))
            sign = torch.where(labels == 0, 1.0, -1.0)
            least = [
                min(float(sign[i] * (network(p[None]).detach() @ torch.tensor([1.0, -1.0]).double())) for p in flips.enumerate(x[i]))
                for i in range(4)
            ]
            assert torch.allclose(found.margins, torch.tensor(least, dtype=torch.float64), atol=1e-12)


def test_verdicts_agree_with_enumeration() -> None:
    """Certified samples stand every flip; falsified ones have a witness."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    x = torch.randint(0, 2, (24, 8)).float()
    network[2].bias.data -= network(x).mean(0).detach()
    labels = network(x).argmax(1)
    found = certify.verify(network, x, labels, certify.Flips(1))
    stands = [all(int(network(p[None]).argmax()) == int(labels[i]) for p in Flips(1).enumerate(x[i])) for i in range(24)]
    assert {"certified", "falsified"} <= {c.verdict for c in found}
    for certificate, truth in zip(found, stands, strict=True):
        assert {"certified": truth, "falsified": not truth}.get(certificate.verdict, True)
    assert found[0].perturbation == "at most 1 flip of binary elements"


@pytest.mark.parametrize("count", [-1, 1.0, True, "1", None, 2**31])
def test_bad_counts(count: int) -> None:
    with pytest.raises(InputError, match="expected a whole number from 0 to"):
        Flips(count)


def test_what_cannot_be_flipped() -> None:
    with pytest.raises(InputError, match="other than 0 and 1"):
        Flips(1).require_centre(torch.tensor([[0.0, 0.5]]))
    with pytest.raises(InputError, match="leave the input range"):
        Flips(1).clipped_to(0.0, 0.5)
    with pytest.raises(InputError, match="give 4498501 points, expected at most 65536"):
        Flips(2).enumerate(torch.zeros(2999))
