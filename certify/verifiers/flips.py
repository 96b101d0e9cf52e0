"""Certificates against inverted pixels of a binary image: by smoothing over random flips, and exhaustively for a single one.

Smoothing (Lee et al. 2019, for {0, 1}^d): the classifier g(x) is the class that the base classifier decides most often when every
pixel is inverted independently with probability p. For images x, x' that differ in k pixels only the number j of flips among
these matters: it has probability C(k, j) p^j (1 - p)^(k - j) under x and C(k, j) p^(k - j) (1 - p)^j under x'. By the lemma of
Neyman and Pearson a class of probability P under x has at least the probability that is left under x' when P is spent on
the j with the least ratio of the second to the first, that is on j = 0, 1, ... If that exceeds 1/2 the class is g(x') too.
All of this is computed in exact rational arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from neurocert.analysis.statistics import clopper_pearson
from neurocert.certify.errors import InputError
from neurocert.models.snan.plasticity import Mask

Decide = Callable[[Mask], Tensor]
BATCH = 256
MAX_FLIPS = 200


@dataclass(frozen=True)
class Smoothing:
    """The probability model, and how it is sampled.

    Attributes:
        flip: p, the probability with which each pixel is inverted, independently of the others; between 0 and 1/2.
        selection: draws that choose the class.
        estimation: fresh draws that bound its probability.
        alpha: probability with which a certificate may be wrong, over the draws.
    """

    flip: float
    selection: int = 100
    estimation: int = 1000
    alpha: float = 0.001

    def __post_init__(self) -> None:
        if not 0.0 < self.flip < 0.5:
            raise InputError(f"smoothing: flip probability is {self.flip!r}, expected a number between 0 and 0.5, both excluded")
        if min(self.selection, self.estimation) < 1 or not 0.0 < self.alpha < 0.5:
            raise InputError(f"smoothing: got {self}, expected at least one draw of each kind and alpha between 0 and 0.5")

    @property
    def reach(self) -> int:
        """The most flips that can be certified, where every draw agrees; more draws, or likelier flips, reach farther."""
        return certified_flips(self.probability(self.estimation), self.flip)

    def probability(self, successes: int) -> float:
        """Lower bound of the class's probability, at confidence 1 - alpha, when so many of the fresh draws decide it."""
        return clopper_pearson(successes, self.estimation, 1.0 - 2.0 * self.alpha)[0]

    def describe(self) -> str:
        return (
            f"Majority over independent flips of each pixel with probability {self.flip:g}; {self.estimation} fresh draws "
            f"(flips certified if all agree: {max(self.reach, 0)}), one-sided Clopper-Pearson bound at {1 - self.alpha:g}"
        )


@dataclass(frozen=True)
class Smoothed:
    """What smoothing says about one image.

    Attributes:
        predicted: the class chosen by the first draws.
        successes: how many of the fresh draws decide it.
        probability: lower bound of its probability, at confidence 1 - alpha.
        flips: for every set of at most this many inverted pixels the smoothed decision stays; -1 where it was not established.
    """

    predicted: int
    successes: int
    probability: float
    flips: int


def smooth(decide: Decide, binary: Mask, smoothing: Smoothing, seed: int) -> Smoothed:
    """The certified decision of the smoothed classifier on a binary image (E,).

    Raises:
        InputError: an image of another shape or type.
    """
    _require_image(binary)
    generator = np.random.default_rng(seed)
    first = _draw(decide, binary, smoothing.flip, smoothing.selection, generator)
    predicted = int(first.bincount().argmax())
    fresh = _draw(decide, binary, smoothing.flip, smoothing.estimation, generator)
    successes = int((fresh == predicted).sum())
    probability = smoothing.probability(successes)
    return Smoothed(predicted, successes, probability, certified_flips(probability, smoothing.flip))


def certified_flips(probability: float, flip: float) -> int:
    """The most flipped pixels that a class of at least this probability survives; -1 where it is no majority.

    Raises:
        InputError: a probability outside [0, 1], or a flip that is not between 0 and 1/2.
    """
    if not (0.0 <= probability <= 1.0 and 0.0 < flip < 0.5):  # above 1/2 the ratios come in the opposite order
        raise InputError(f"smoothing: got probability {probability!r} and flip {flip!r}, expected 0 to 1, and between 0 and 0.5")
    k = -1
    while k < MAX_FLIPS and surviving(Fraction(probability), Fraction(flip), k + 1) > Fraction(1, 2):
        k += 1
    return k


def surviving(probability: Fraction, flip: Fraction, k: int) -> Fraction:
    """The least probability at any x' with k pixels inverted of a class that has at least ``probability`` at x; 0 < flip < 1/2."""
    hit, miss, whole = flip.numerator, flip.denominator - flip.numerator, flip.denominator**k
    left, kept = probability * whole, 0
    for j in range(k + 1):  # in whole numbers: a share of ``whole``
        ways = math.comb(k, j)
        here, there = ways * hit**j * miss ** (k - j), ways * hit ** (k - j) * miss**j
        if left <= here:
            return (kept + left * there / here) / whole
        left, kept = left - here, kept + there
    return Fraction(kept, whole)


def single_flips(decide: Decide, binary: Mask, label: int) -> list[int]:
    """The pixels of a binary image (E,) whose inversion alone changes the decision: every one is tried.

    An empty list is a proof for all images that differ from this one in one pixel. Costs E runs.

    Raises:
        InputError: an image of another shape or type.
    """
    _require_image(binary)
    wrong = []
    for first in range(0, len(binary), BATCH):
        pixels = np.arange(first, min(first + BATCH, len(binary)))
        flipped = np.repeat(binary[None], len(pixels), 0)
        flipped[np.arange(len(pixels)), pixels] ^= True
        wrong += pixels[decide(flipped).numpy() != label].tolist()
    return wrong


def _require_image(binary: Mask) -> None:
    if binary.dtype != np.bool_ or binary.ndim != 1:
        raise InputError(f"image is {binary.dtype} {binary.shape}, expected bool (E,): the pixels of one binary image")


def _draw(decide: Decide, binary: Mask, flip: float, count: int, generator: np.random.Generator) -> Tensor:
    """Classes of ``count`` independently corrupted copies."""
    sizes = [min(BATCH, count - first) for first in range(0, count, BATCH)]
    return torch.cat([decide(binary ^ (generator.random((size, len(binary))) < flip)) for size in sizes])
