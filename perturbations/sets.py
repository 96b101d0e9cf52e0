"""What every set of inputs can do: bound a linear function for a proof, and give points to an attack.

A proof needs a set that is never too small and an attack a set that is never too large, so bounds round outward, and
points (``sample``, ``project``) round inward. ``contains`` never says yes wrongly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor

from neurocert.models.errors import InputError


class Ball(ABC):
    """A set of inputs around each input, its centre.

    Batches are (B, *shape); every method treats the samples of a batch separately.

    Attributes:
        epsilon: the set's size; attacks measure their steps in it.
        low, high: a range that holds every element of every point.
        independent: the elements range over ``box``, each on its own, so that interval bounds lose nothing.
    """

    epsilon: float
    low: float
    high: float
    independent: ClassVar[bool] = False

    @abstractmethod
    def clipped_to(self, low: float, high: float) -> Self:
        """The same set intersected with a further range."""

    @abstractmethod
    def describe(self) -> str:
        """Such as "L-infinity ball of radius 0.01, clipped to [0, 1]"."""

    def require_centre(self, centre: Tensor) -> None:
        """Raises InputError unless every element is finite and inside the range."""
        if not bool(torch.isfinite(centre).all()):
            raise InputError("inputs hold NaN or infinity, expected finite numbers")
        if bool((centre < self.low).any()) or bool((centre > self.high).any()):
            got = f"[{float(centre.min()):g}, {float(centre.max()):g}]"
            raise InputError(f"inputs lie in {got}, expected [{self.low:g}, {self.high:g}]", "scale the data to the network's input range")

    @abstractmethod
    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Float64 (lower, upper), rounded outward, of the smallest box around the set."""

    @abstractmethod
    def contains(self, points: Tensor, centre: Tensor) -> Tensor:
        """Bool (B,): True only where the point is certainly in the set."""

    @abstractmethod
    def project(self, points: Tensor, centre: Tensor) -> Tensor:
        """Points of the set near ``points``, in the centre's dtype; each satisfies ``contains``."""

    @abstractmethod
    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        """One random point of the set for each sample, in the centre's dtype."""

    @abstractmethod
    def step(self, gradient: Tensor, size: float) -> Tensor:
        """The step of length ``size`` along which a linear function with this gradient falls fastest."""

    def size(self, elements: int) -> float:
        """How many points the set has around an input of so many elements; infinity unless it is a finite set."""
        return math.inf

    def enumerate(self, centre: Tensor) -> Iterator[Tensor]:
        """Every point around one input (*shape).

        Raises:
            InputError: too many of them.
        """
        raise InputError(f"{self.describe()} has infinitely many points, expected a finite set", "only flips can be enumerated")

    @abstractmethod
    def minimise_linear(self, coefficients: Tensor, centre: Tensor) -> Tensor:
        """A lower bound of ``coefficients . x`` over the set, rounded down.

        Args:
            coefficients: float64 (R, B or 1, *shape): R linear functions for each sample, or shared by all.
            centre: (B, *shape).

        Returns:
            Float64 (R, B).
        """
