"""Certificates against flipped pixels, against exact probabilities on images small enough to enumerate."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from neurocert.certify.errors import InputError
from neurocert.certify.verifiers.flips import Smoothing, certified_flips, single_flips, smooth, surviving

PIXELS, FLIP = 6, Fraction(1, 5)
CUBE = np.array(list(itertools.product((False, True), repeat=PIXELS)))


def probabilities(x: np.ndarray) -> list[Fraction]:
    """Of every image under independent flips of x."""
    return [FLIP ** int(d) * (1 - FLIP) ** (PIXELS - int(d)) for d in (x != CUBE).sum(1)]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_bound_holds_for_random_classifiers_and_is_attained(k: int) -> None:
    x, random = np.zeros(PIXELS, bool), np.random.default_rng(k)
    other = x.copy()
    other[:k] = True
    here, there = probabilities(x), probabilities(other)
    for _ in range(200):
        region = random.random(len(CUBE)) < random.random()
        inside = sum((p for p, r in zip(here, region, strict=True) if r), Fraction(0))
        assert sum((p for p, r in zip(there, region, strict=True) if r), Fraction(0)) >= surviving(inside, FLIP, k)
    worst = CUBE[:, :k].sum(1) < k  # everything but the images that agree with the other one on all k pixels
    inside = sum((p for p, r in zip(here, worst, strict=True) if r), Fraction(0))
    assert sum((p for p, r in zip(there, worst, strict=True) if r), Fraction(0)) == surviving(inside, FLIP, k)


def test_no_flip_costs_nothing_and_more_flips_cost_more() -> None:
    share = Fraction(9, 10)
    left = [surviving(share, FLIP, k) for k in range(6)]
    assert left[0] == share and left == sorted(left, reverse=True) and left[1] < share


def test_a_majority_is_needed() -> None:
    assert [certified_flips(p, 0.2) for p in (0.4, 0.5, 0.51)] == [-1, -1, 0]
    assert certified_flips(0.999, 0.2) >= 2
    assert certified_flips(0.999, 0.4) > certified_flips(0.999, 0.2)


def test_few_draws_and_rare_flips_reach_nothing() -> None:
    """What a user should know before any image is drawn."""
    assert Smoothing(0.05, 10, 200, 0.0002).reach == 0 and Smoothing(0.1, 10, 200, 0.0002).reach == 1
    assert Smoothing(0.1, 10, 5).reach == -1 and "if all agree: 0)" in Smoothing(0.1, 10, 5).describe()


def majority(binary: np.ndarray) -> Tensor:
    return torch.from_numpy((binary.sum(1) > binary.shape[1] / 2).astype(np.int64))


def test_smoothing_certifies_what_it_can_see() -> None:
    image = np.arange(50) < 45
    found = smooth(majority, image, Smoothing(0.2, 50, 500), seed=0)
    assert (found.predicted, found.successes) == (1, 500)
    assert found.probability == pytest.approx(0.001 ** (1 / 500))
    assert found.flips == certified_flips(found.probability, 0.2) == Smoothing(0.2, 50, 500).reach > 1
    assert f"if all agree: {found.flips})" in Smoothing(0.2, 50, 500).describe()
    assert found == smooth(majority, image, Smoothing(0.2, 50, 500), seed=0)


def test_the_statement_is_wrong_no_oftener_than_it_says() -> None:
    """A class of known probability: the lower bound exceeds it in at most a share alpha of the runs (here plus 4 deviations)."""
    image, model, runs = np.zeros(1, bool), Smoothing(0.3, 1, 40, 0.1), 600

    def decide(binary: np.ndarray) -> Tensor:
        return torch.from_numpy(binary[:, 0].astype(np.int64))

    wrong = 0
    for seed in range(runs):
        found = smooth(decide, image, model, seed)
        wrong += found.probability > (0.7 if found.predicted == 0 else 0.3)
    assert 0 < wrong <= 0.1 * runs + 4 * math.sqrt(0.09 * runs)


def test_single_flips_are_all_tried() -> None:
    image = np.array([True] * 300)

    def decide(binary: np.ndarray) -> Tensor:
        return torch.from_numpy((~binary[:, 7] | ~binary[:, 299]).astype(np.int64))

    assert single_flips(decide, image, 0) == [7, 299]
    assert single_flips(majority, image, 1) == []


@pytest.mark.parametrize(("flip", "alpha", "draws"), [(0.0, 0.1, 5), (0.5, 0.1, 5), (float("nan"), 0.1, 5), (0.2, 0.6, 5), (0.2, 0.1, 0)])
def test_a_model_that_makes_no_sense_is_refused(flip: float, alpha: float, draws: int) -> None:
    with pytest.raises(InputError, match="smoothing: "):
        Smoothing(flip, 10, draws, alpha)


@pytest.mark.parametrize(("probability", "flip"), [(0.9, 0.7), (0.9, 0.5), (0.9, 0.0), (1.1, 0.2), (float("nan"), 0.2)])
def test_no_number_of_flips_is_certified_for_what_is_no_probability(probability: float, flip: float) -> None:
    with pytest.raises(InputError, match="smoothing: got probability"):
        certified_flips(probability, flip)


@pytest.mark.parametrize("image", [np.zeros((2, 5), bool), np.zeros(5)])
def test_more_than_one_binary_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected bool \(E,\)"):
        single_flips(majority, image, 0)
    with pytest.raises(InputError, match=r"expected bool \(E,\)"):
        smooth(majority, image, Smoothing(0.2, 5, 5), seed=0)


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(3, 4), Fraction(97, 100), Fraction(1)])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_bound_is_the_worst_of_all_fractional_classifiers(share: Fraction, k: int) -> None:
    """A linear program over every classifier of six pixels that is right with a probability of its own on each of the 64 images."""
    x = np.zeros(PIXELS, bool)
    here, there = (np.array(probabilities(image), dtype=float) for image in (x, np.arange(PIXELS) < k))
    worst = linprog(there, A_ub=-here[None], b_ub=[-float(share)], bounds=[(0, 1)] * len(CUBE))
    assert worst.fun == pytest.approx(float(surviving(share, FLIP, k)), abs=1e-9)
