"""Sets whose elements range independently, each over an interval of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.perturbations.balls import LinfBall
from neurocert.perturbations.rounding import above, below, inward, minimise_over_box
from neurocert.perturbations.sets import Ball


@dataclass(frozen=True, eq=False)
class Box(Ball):
    """{x : lower <= x <= upper}, the same box for every sample, each of which lies in it.

    Attributes:
        lower, upper: (*shape), finite; held as float64.
        epsilon: 1: attacks measure their steps in the widths of the box.
        low, high: the least of ``lower`` and the greatest of ``upper``.
    """

    lower: Tensor
    upper: Tensor
    epsilon: float = field(init=False, default=1.0)
    low: float = field(init=False)
    high: float = field(init=False)
    independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        lower, upper = (torch.as_tensor(end).detach().double() for end in (self.lower, self.upper))
        if lower.shape != upper.shape or not lower.numel():
            raise InputError(f"box: lower has shape {tuple(lower.shape)} and upper {tuple(upper.shape)}, expected equal ones, not empty")
        if not bool((torch.isfinite(lower) & torch.isfinite(upper) & (lower <= upper)).all()):
            raise InputError(
                "box: a lower end is above its upper end, or is not finite", "expected finite lower <= upper, element by element"
            )
        values = {"lower": lower, "upper": upper, "low": float(lower.min()), "high": float(upper.max())}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def clipped_to(self, low: float, high: float) -> Self:
        return replace(self, lower=self.lower.clamp(min=low), upper=self.upper.clamp(max=high))

    def describe(self) -> str:
        widest = float((self.upper - self.lower).max())
        return f"box of {self.lower.numel()} intervals in [{self.low:g}, {self.high:g}], the widest of width {widest:g}"

    def require_centre(self, centre: Tensor) -> None:
        super().require_centre(centre)
        if centre.shape[1:] != self.lower.shape:
            raise InputError(f"the box has shape {tuple(self.lower.shape)}, the inputs {tuple(centre.shape[1:])}, expected equal ones")
        if not bool(((centre >= self.lower) & (centre <= self.upper)).all()):
            raise InputError("an input lies outside the box", "every input is a point of its own set")

    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        shape = (len(centre), *self.lower.shape)
        return self.lower.expand(shape), self.upper.expand(shape)

    def contains(self, points: Tensor, centre: Tensor) -> Tensor:
        return ((points >= self.lower) & (points <= self.upper)).flatten(1).all(1)

    def project(self, points: Tensor, centre: Tensor) -> Tensor:
        lower, upper = inward(*self.box(centre), centre)
        return torch.minimum(torch.maximum(points.to(centre.dtype), lower), upper)

    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        share = torch.rand(centre.shape, generator=generator, dtype=torch.float64)
        return self.project(self.lower + share * (self.upper - self.lower), centre)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        return -size * (self.upper - self.lower).to(gradient.dtype) * gradient.sign()

    def minimise_linear(self, coefficients: Tensor, centre: Tensor) -> Tensor:
        return minimise_over_box(coefficients, *self.box(centre))


@dataclass(frozen=True, eq=False)
class WeightedLinfBall(LinfBall):
    """{x : |x_i - centre_i| <= epsilon scale_i, low <= x <= high}: pixels that may change more than others, or not at all.

    Attributes:
        scales: (*shape) or what broadcasts to it, finite and not negative; held as float64.
    """

    scales: Tensor = field(default_factory=lambda: torch.ones(()), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        scales = torch.as_tensor(self.scales).detach().double()
        if not bool((torch.isfinite(scales) & (scales >= 0)).all()):
            raise InputError("scales are negative or not finite, expected finite numbers >= 0")
        object.__setattr__(self, "scales", scales)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def describe(self) -> str:
        scales = f"scales {float(self.scales.min()):g} to {float(self.scales.max()):g} of its elements"
        return super().describe().replace("L-infinity ball", f"weighted L-infinity ball ({scales})")

    def require_centre(self, centre: Tensor) -> None:
        super().require_centre(centre)
        shape = centre.shape[1:]
        if self.scales.dim() > len(shape) or any(a not in (1, b) for a, b in zip(self.scales.shape[::-1], shape[::-1], strict=False)):
            raise InputError(f"scales have shape {tuple(self.scales.shape)}, the inputs {tuple(shape)}, expected what broadcasts to it")

    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        centre, reach = centre.double(), self.epsilon * self.scales
        moves = (self.scales > 0) & (self.epsilon > 0)
        lower = torch.where(moves, below(centre - above(reach)), centre)
        upper = torch.where(moves, above(centre + above(reach)), centre)
        return lower.clamp(min=self.low), upper.clamp(max=self.high)

    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(centre.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return self.project(centre + self.epsilon * self.scales * noise, centre)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        return -size * self.scales.to(gradient.dtype) * gradient.sign()

    def _certain_reach(self) -> Tensor:
        return below(self.epsilon * self.scales).clamp(min=0.0)
