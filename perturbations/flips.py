"""Flips of binary inputs: at most so many elements, each from 0 to 1 or from 1 to 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Self

import torch
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.perturbations.rounding import TINY, UNIT_ROUNDOFF, minimise_over_box
from neurocert.perturbations.sets import Ball

EAGERNESS = 4.0
"""A full step asks for a flip this many times as strongly as an earlier flip asks to stay, so that first steps exchange flips."""
LARGEST_ENUMERATION = 2**16
LARGEST_COUNT = 2**31 - 1


@dataclass(frozen=True)
class Flips(Ball):
    """{x in {0, 1}^n : at most ``count`` elements differ from the centre}, a Hamming ball.

    Attributes:
        count: flips allowed; a whole number from 0 to ``LARGEST_COUNT``.
    """

    count: int
    low: float = field(init=False, default=0.0)
    high: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or not 0 <= self.count <= LARGEST_COUNT:
            raise InputError(f"flips: count is {self.count!r}, expected a whole number from 0 to {LARGEST_COUNT}")

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        """The count, as a radius."""
        return float(self.count)

    def clipped_to(self, low: float, high: float) -> Self:
        if low > 0 or high < 1:
            raise InputError(f"flips of 0 and 1 leave the input range [{low:g}, {high:g}]", "use a network whose inputs may be 0 and 1")
        return self

    def describe(self) -> str:
        return f"at most {self.count} flip{'s' * (self.count != 1)} of binary elements"

    def require_centre(self, centre: Tensor) -> None:
        if not bool(((centre == 0) | (centre == 1)).all()):
            raise InputError(
                "inputs hold values other than 0 and 1, expected binary ones", "binarise the data, or use another perturbation"
            )

    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        centre = centre.double()
        return (torch.zeros_like(centre), torch.ones_like(centre)) if self.count else (centre, centre)

    def contains(self, points: Tensor, centre: Tensor) -> Tensor:
        binary = ((points == 0) | (points == 1)).flatten(1).all(1)
        return binary & ((points != centre).flatten(1).sum(1) <= self.count)

    def project(self, points: Tensor, centre: Tensor) -> Tensor:
        """Of the elements that moved towards their other value, the ``count`` that moved furthest are flipped."""
        wish = ((points - centre) * (1 - 2 * centre)).flatten(1).nan_to_num(0.0)
        furthest = wish.topk(min(self.count, wish.shape[1]), 1).indices
        flipped = torch.zeros_like(wish, dtype=torch.bool).scatter(1, furthest, True) & (wish > 0)
        return torch.where(flipped.reshape(centre.shape), 1 - centre, centre)

    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        """Random elements, a random number of them."""
        rank = torch.rand(centre.flatten(1).shape, generator=generator).argsort(1).argsort(1)
        number = torch.randint(0, self.count + 1, (len(centre), 1), generator=generator)
        return torch.where((rank < number).reshape(centre.shape), 1 - centre, centre)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """A wish for every element; ``project`` grants the strongest."""
        strongest = gradient.flatten(1).abs().amax(1).clamp(min=1e-30).reshape(-1, *[1] * (gradient.dim() - 1))
        return -EAGERNESS * size / max(1, self.count) * gradient / strongest

    def minimise_linear(self, coefficients: Tensor, centre: Tensor) -> Tensor:
        """At the centre, less the ``count`` largest falls: exact but for rounding."""
        a, middle = coefficients.flatten(2), centre.double().flatten(1)
        falls = (a * (2 * middle - 1)).clamp(min=0.0)
        gain = falls.topk(min(self.count, falls.shape[2]), 2).values.sum(2)
        at_centre = minimise_over_box(a, middle, middle)
        return at_centre - gain * (1 + (falls.shape[2] + 8) * UNIT_ROUNDOFF) - 4 * UNIT_ROUNDOFF * (at_centre.abs() + gain) - TINY

    def size(self, elements: int) -> int:
        return sum(comb(elements, flips) for flips in range(min(self.count, elements) + 1))

    def enumerate(self, centre: Tensor) -> Iterator[Tensor]:
        """Every point around one input (*shape), the fewest flips first.

        Raises:
            InputError: more than ``LARGEST_ENUMERATION`` of them.
        """
        number = self.size(centre.numel())
        if number > LARGEST_ENUMERATION:
            raise InputError(f"{self.describe()} give {number} points, expected at most {LARGEST_ENUMERATION}", "allow fewer flips")
        return (
            flipped(centre, some) for k in range(min(self.count, centre.numel()) + 1) for some in combinations(range(centre.numel()), k)
        )


def flipped(centre: Tensor, elements: tuple[int, ...]) -> Tensor:
    """One input (*shape) with these elements, numbered as if flat, flipped."""
    point = centre.flatten().clone()
    point[list(elements)] = 1 - point[list(elements)]
    return point.reshape(centre.shape)
