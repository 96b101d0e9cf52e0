"""Interval bounds: the value type and the forward traversal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.errors import NumericalFailure

Box = tuple[Tensor, Tensor]
"""(lower, upper) as a rule computes them, before rounding is accounted for."""


@dataclass(frozen=True)
class Interval:
    """lower <= x <= upper, element by element: finite float64 tensors (B, *shape).

    Raises:
        NumericalFailure: NaN, infinity, or lower > upper.
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape:
            raise NumericalFailure(f"bounds of shapes {tuple(self.lower.shape)} and {tuple(self.upper.shape)}")
        if not bool((self.lower <= self.upper).all()):
            raise NumericalFailure("a lower bound that is not at most its upper bound (or is NaN)")
        if self.lower.numel() and not (float(self.lower.detach().amin()) > -torch.inf and float(self.upper.detach().amax()) < torch.inf):
            raise NumericalFailure("an infinite bound")

    @property
    def magnitude(self) -> Tensor:
        """max |x|."""
        return torch.maximum(-self.lower, self.upper)

    @property
    def centre(self) -> Tensor:
        return (self.lower + self.upper) * 0.5

    @property
    def radius(self) -> Tensor:
        return (self.upper - self.lower) * 0.5

    def widened(self, radius: Tensor) -> Interval:
        return Interval(self.lower - radius, self.upper + radius)

    def intersected(self, lower: Tensor, upper: Tensor) -> Interval:
        """The intersection with further sound bounds of the same values."""
        return Interval(torch.maximum(self.lower, lower), torch.minimum(self.upper, upper))
