"""Norm balls around an input, intersected with the input range."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from neurocert.models.errors import InputError
from neurocert.perturbations.rounding import TINY, UNIT_ROUNDOFF, above, at_most_sum, below, inward, minimise_over_box, spread
from neurocert.perturbations.sets import Ball

__all__ = ["BALLS", "Ball", "L1Ball", "L2Ball", "LinfBall", "NormBall", "ball"]

SMALLEST_RADIUS, LARGEST_RADIUS = 1e-100, 1e30
"""Between these no square underflows or overflows in float64, and no step overflows in float32."""
DUAL_BISECTIONS = 24
PROJECTION_BISECTIONS = 40
TITLES = {"linf": "L-infinity", "l2": "L2", "l1": "L1"}
SHARE_OF_STEP = 0.1
"""An L1 step moves this share of the elements, those of the largest gradients."""
SHRINKING = (1.0, 1 - 1e-7, 1 - 1e-6, 1 - 1e-5, 1 - 1e-4, 1 - 1e-3)


@dataclass(frozen=True)
class NormBall(Ball):
    """{x : ||x - centre|| <= epsilon, low <= x <= high}; see ``Ball``.

    Attributes:
        epsilon: radius, in input units; 0, or from ``SMALLEST_RADIUS`` to ``LARGEST_RADIUS``.
        low, high: the input range; infinite where a network declares none.
    """

    epsilon: float
    low: float = -math.inf
    high: float = math.inf
    norm: ClassVar[str]

    def __post_init__(self) -> None:
        is_number = isinstance(self.epsilon, int | float) and not isinstance(self.epsilon, bool)
        if not (is_number and (self.epsilon == 0 or SMALLEST_RADIUS <= self.epsilon <= LARGEST_RADIUS)):
            expected = f"expected 0 or a number from {SMALLEST_RADIUS:g} to {LARGEST_RADIUS:g}"
            raise InputError(f"epsilon is {self.epsilon!r}, {expected}", "epsilon is a radius in input units")
        if not self.low < self.high:
            raise InputError(f"input range is [{self.low}, {self.high}], expected low < high")

    def clipped_to(self, low: float, high: float) -> Self:
        return replace(self, low=max(self.low, low), high=min(self.high, high))

    def describe(self) -> str:
        clip = f", clipped to [{self.low:g}, {self.high:g}]" if math.isfinite(self.low) or math.isfinite(self.high) else ""
        return f"{TITLES[self.norm]} ball of radius {self.epsilon:g}{clip}"

    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        centre = centre.double()
        lower, upper = below(centre - self.epsilon), above(centre + self.epsilon)
        if self.epsilon == 0:
            lower, upper = centre, centre
        return lower.clamp(min=self.low), upper.clamp(max=self.high)


@dataclass(frozen=True)
class LinfBall(NormBall):
    """The L-infinity ball; see ``Ball``. All bounds are exact up to rounding."""

    norm: ClassVar[str] = "linf"
    independent: ClassVar[bool] = True

    def contains(self, points: Tensor, centre: Tensor) -> Tensor:
        points, centre = points.double(), centre.double()
        reach = self._certain_reach()
        near = at_most_sum(points, centre, reach) & at_most_sum(-points, -centre, reach)
        return (near & _in_range(points, self)).flatten(1).all(1)

    def project(self, points: Tensor, centre: Tensor) -> Tensor:
        lower, upper = self._inner_box(centre)
        return torch.minimum(torch.maximum(points.to(centre.dtype), lower), upper)

    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(centre.shape, generator=generator, dtype=centre.dtype) * 2 - 1
        return self.project(centre + self.epsilon * noise, centre)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        return -size * gradient.sign()

    def minimise_linear(self, coefficients: Tensor, centre: Tensor) -> Tensor:
        lower, upper = self.box(centre)
        return minimise_over_box(coefficients, lower, upper)

    def _inner_box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """The largest box of the centre's dtype inside the set; at least the centre itself."""
        reach = self._certain_reach()
        lower, upper = above(centre.double() - reach), below(centre.double() + reach)
        return inward(lower.clamp(min=self.low), upper.clamp(max=self.high), centre)

    def _certain_reach(self) -> float | Tensor:
        """How far an element may certainly move."""
        return self.epsilon


@dataclass(frozen=True)
class L2Ball(NormBall):
    """The Euclidean ball; see ``Ball``. The linear minimum over ball and range is bounded by Lagrangian duality."""

    norm: ClassVar[str] = "l2"

    def contains(self, points: Tensor, centre: Tensor) -> Tensor:
        difference = (points.double() - centre.double()).flatten(1)
        slack = (difference.shape[1] + 8) * UNIT_ROUNDOFF
        near = (difference**2).sum(1) * (1 + 2 * slack) <= self.epsilon**2 * (1 - slack)
        same = (points == centre).flatten(1).all(1)
        return (near | same) & _in_range(points.double(), self).flatten(1).all(1)

    def project(self, points: Tensor, centre: Tensor) -> Tensor:
        difference = points.double() - centre.double()
        length = spread(difference.flatten(1).norm(dim=1), difference)
        return _shrunk(self, difference * (self.epsilon / length.clamp(min=1e-300)).clamp(max=1.0), centre)

    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        direction = torch.randn(centre.shape, generator=generator, dtype=torch.float64)
        dimension = direction[0].numel()
        radius = self.epsilon * torch.rand(len(centre), generator=generator, dtype=torch.float64) ** (1 / dimension)
        scale = spread(radius / direction.flatten(1).norm(dim=1).clamp(min=1e-300), direction)
        return self.project(centre.double() + scale * direction, centre)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        length = spread(gradient.flatten(1).norm(dim=1), gradient)
        return -size * gradient / length.clamp(min=1e-30)

    def minimise_linear(self, coefficients: Tensor, centre: Tensor) -> Tensor:
        """Weak duality: for every multiplier >= 0, sum_i min over the box of (a d + multiplier d^2) - multiplier eps^2
        bounds the minimum of a.d from below; bisection finds a multiplier at which the bound is nearly attained."""
        a = coefficients.flatten(2)
        middle = centre.double().flatten(1)
        lower, upper = self.box(centre)
        down, up = (lower.flatten(1) - middle).clamp(max=0.0), (upper.flatten(1) - middle).clamp(min=0.0)
        down, up = torch.nextafter(down, down - 1), torch.nextafter(up, up + 1)
        at_centre = minimise_over_box(a, middle, middle)
        if self.epsilon == 0:
            return at_centre
        fall = torch.maximum(minimise_over_box(a, down, up), _dual_bound(a, down, up, self.epsilon))
        return at_centre + fall - 4 * UNIT_ROUNDOFF * (at_centre.abs() + fall.abs()) - TINY


@dataclass(frozen=True)
class L1Ball(NormBall):
    """The L1 ball; see ``Ball``. The linear minimum over ball and range is a fractional knapsack, bounded by its dual."""

    norm: ClassVar[str] = "l1"

    def contains(self, points: Tensor, centre: Tensor) -> Tensor:
        difference = (points.double() - centre.double()).flatten(1)
        slack = (difference.shape[1] + 8) * UNIT_ROUNDOFF
        near = difference.abs().sum(1) * (1 + 2 * slack) <= self.epsilon * (1 - slack)
        same = (points == centre).flatten(1).all(1)
        return (near | same) & _in_range(points.double(), self).flatten(1).all(1)

    def project(self, points: Tensor, centre: Tensor) -> Tensor:
        """The nearest point of the ball: every element moves back by the same amount, found by bisection, but not past 0."""
        difference = points.double().clamp(self.low, self.high) - centre.double()
        size = difference.abs()
        low, high = torch.zeros(len(size), dtype=size.dtype), size.flatten(1).amax(1)
        for _ in range(PROJECTION_BISECTIONS):
            middle = (low + high) / 2
            too_long = (size - spread(middle, size)).clamp(min=0.0).flatten(1).sum(1) > self.epsilon
            low, high = torch.where(too_long, middle, low), torch.where(too_long, high, middle)
        inside = size.flatten(1).sum(1) <= self.epsilon
        back = torch.where(inside, 0.0, high)
        return _shrunk(self, difference.sign() * (size - spread(back, size)).clamp(min=0.0), centre)

    def sample(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        """Random shares of a random length, along random signs."""
        shares = -torch.log(torch.rand(centre.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300))
        signs = torch.randint(0, 2, centre.shape, generator=generator) * 2 - 1
        length = self.epsilon * torch.rand(len(centre), generator=generator, dtype=torch.float64).sqrt()
        return self.project(centre.double() + signs * shares * spread(length / shares.flatten(1).sum(1), shares), centre)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        flat = gradient.flatten(1).abs()
        moved = max(1, round(SHARE_OF_STEP * flat.shape[1]))
        largest = torch.zeros_like(flat).scatter_(1, flat.topk(moved, 1).indices, size / moved)
        return -largest.reshape(gradient.shape) * gradient.sign()

    def minimise_linear(self, coefficients: Tensor, centre: Tensor) -> Tensor:
        """Weak duality: for every price >= 0, no change within the budget gains more than
        price epsilon + sum_i room_i max(|a_i| - price, 0); the best price is the |a_i| at which the budget runs out."""
        a, middle = coefficients.flatten(2), centre.double().flatten(1)
        at_centre = minimise_over_box(a, middle, middle)
        if self.epsilon == 0:
            return at_centre
        lower, upper = (end.flatten(1) for end in self.box(centre))
        down, up = (middle - lower) * (1 + 4 * UNIT_ROUNDOFF), (upper - middle) * (1 + 4 * UNIT_ROUNDOFF)
        room = torch.where(a > 0, down, up)
        order = a.abs().expand_as(room).argsort(2, descending=True)
        sizes, rooms = a.abs().expand_as(room).gather(2, order), room.gather(2, order)
        spent = (rooms.cumsum(2) < self.epsilon).sum(2, keepdim=True)
        price = functional.pad(sizes, (0, 1)).gather(2, spent)  # 0 where there is less room than budget
        gain = price[..., 0] * self.epsilon + (rooms * (sizes - price).clamp(min=0.0)).sum(2)
        return at_centre - gain * (1 + 8 * (a.shape[2] + 8) * UNIT_ROUNDOFF) - 4 * UNIT_ROUNDOFF * (at_centre.abs() + gain) - TINY


BALLS: dict[str, type[NormBall]] = {"linf": LinfBall, "l2": L2Ball, "l1": L1Ball}
"""By the names of their norms."""


def ball(norm: str, epsilon: float) -> NormBall:
    """The ball of this norm ("linf", "l2" or "l1") and radius.

    Raises:
        InputError: unknown norm.
    """
    if norm not in BALLS:
        raise InputError(f"norm is {norm!r}, expected one of {', '.join(BALLS)}")
    return BALLS[norm](epsilon)


def _dual_bound(a: Tensor, down: Tensor, up: Tensor, epsilon: float) -> Tensor:
    """max over bisected multipliers of the dual function; (R, B)."""

    def minimiser(multiplier: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(-a / (2 * multiplier[..., None]), down), up)

    high = (a.norm(dim=2) / (2 * epsilon)).clamp(min=1e-300).expand(a.shape[0], down.shape[0])
    low = torch.zeros_like(high)
    for _ in range(DUAL_BISECTIONS):
        middle = ((low + high) / 2).clamp(min=1e-300)
        too_long = (minimiser(middle) ** 2).sum(2) > epsilon**2
        low, high = torch.where(too_long, middle, low), torch.where(too_long, high, middle)
    d = minimiser(high.clamp(min=1e-300))
    linear, quadratic, price = (a * d).sum(2), high * (d**2).sum(2), high * epsilon**2
    slack = 8 * (a.shape[2] + 8) * UNIT_ROUNDOFF * ((a * d).abs().sum(2) + quadratic + price)
    return linear + quadratic - price - slack


def _shrunk(ball: NormBall, move: Tensor, centre: Tensor) -> Tensor:
    """centre + move, clipped to the range and shrunk by as little as makes it certainly a point of the ball."""
    projected = centre
    for factor in reversed(SHRINKING):
        candidate = (centre.double() + move * factor).clamp(ball.low, ball.high).to(centre.dtype)
        projected = torch.where(spread(ball.contains(candidate, centre), candidate), candidate, projected)
    return projected


def _in_range(points: Tensor, ball: NormBall) -> Tensor:
    return (points >= ball.low) & (points <= ball.high)
