"""Weights that move together: one scalar (dose, time, temperature, context) moves them all along known directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.rounding import TINY, UNIT_ROUNDOFF, above, below, paired_dot, sum_down
from neurocert.perturbations.weights import WeightBox, Weights, WeightSet, least_over, require_one_name, require_shapes

STORED = 2.0**-23
"""Relative: weights on a line are stored as the float32 nearest to it (at most half of this away), and belong to the set."""
SMALLEST = 2.0**-148


@dataclass(frozen=True, eq=False)
class SharedDrift(WeightSet):
    """{W : |W - (W0 + c directions)| <= residual, for one c in [low, high]}, up to the rounding of stored weights.

    Attributes:
        directions: by parameter, of its shape: how far a weight moves when c grows by 1.
        low, high: the scalar's range, which holds 0: W0 is in the set.
        residual: an independent deviation of each weight, on top; None for none.
    """

    directions: Mapping[str, Tensor]
    low: float
    high: float
    residual: WeightBox | None = None

    def __post_init__(self) -> None:
        directions = {name: torch.as_tensor(value).detach().double() for name, value in self.directions.items()}
        if not directions:
            raise InputError("drift: got no directions, expected one or more, by parameter")
        for name, value in directions.items():
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"drift: the direction of {name} is not finite")
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (self.low, self.high))
        if not (numbers and -math.inf < self.low <= 0 <= self.high < math.inf):
            raise InputError(f"drift: the scalar's range is [{self.low!r}, {self.high!r}], expected finite low <= 0 <= high")
        object.__setattr__(self, "directions", directions)

    def describe(self) -> str:
        residual = "" if self.residual is None else f", then {self.residual.describe()}"
        return f"{', '.join(self.directions)} moved along given directions by one scalar in [{self.low:g}, {self.high:g}]{residual}"

    def parameters(self, network: nn.Module) -> Weights:
        require_shapes(self.directions, network)
        residual = {} if self.residual is None else self.residual.parameters(network)
        chosen: Weights = {name: value for name, value in network.named_parameters() if name in self.directions or name in residual}
        require_one_name(chosen, network)
        return chosen

    def box(self, name: str, centre: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._residual_box(name, centre)
        direction = self._direction(name, centre)
        down, up = torch.minimum(self.low * direction, self.high * direction), torch.maximum(self.low * direction, self.high * direction)
        moves = direction != 0
        return torch.where(moves, below(lower + below(down)), lower), torch.where(moves, above(upper + above(up)), upper)

    def minimise_linear(self, coefficients: Mapping[str, Tensor], centres: Mapping[str, Tensor]) -> Tensor:
        """The box of residuals on its own, plus c times one number: at an end of c's range."""
        fixed = sum_down(torch.stack([least_over(a, *self._residual_box(name, centres[name])) for name, a in coefficients.items()]))
        slope, error = torch.zeros_like(fixed), torch.zeros_like(fixed)
        for name, a in coefficients.items():
            rows, direction = a.flatten(2), self._direction(name, centres[name]).flatten()[None]
            flat = rows.flatten(0, 1)[:, None]
            slope = slope + paired_dot(flat, direction)[:, 0].unflatten(0, a.shape[:2])
            size = paired_dot(flat.abs(), direction.abs())[:, 0].unflatten(0, a.shape[:2])
            error = error + 4 * (rows.shape[2] + len(coefficients) + 8) * UNIT_ROUNDOFF * size + TINY
        moved = torch.minimum(self.low * slope, self.high * slope) - max(-self.low, self.high) * error
        return sum_down(torch.stack([fixed, moved - 8 * UNIT_ROUNDOFF * moved.abs()]))

    def contains(self, changed: Mapping[str, Tensor], network: nn.Module) -> bool:
        """Each weight admits an interval of c; they, and the scalar's range, must have a point in common."""
        movable, low, high = self.parameters(network), self.low, self.high
        for name, value in network.named_parameters():
            centre = value.detach().double()
            moved = changed.get(name, value).detach().double() - centre
            if name not in movable:
                if bool((moved != 0).any()):
                    return False
                continue
            reach, direction = self._reach(name, centre, 1 - 2.0**-10), self._direction(name, centre)
            if not bool(((direction != 0) | (moved.abs() <= reach)).all()):
                return False
            drifts = direction != 0
            ends = torch.stack([moved - reach, moved + reach])[:, drifts] / direction[drifts]
            if ends.numel():
                low, high = max(low, float(ends.amin(0).max())), min(high, float(ends.amax(0).min()))
        return low <= high

    def corner(self, along: Mapping[str, Tensor], network: nn.Module) -> Weights:
        rise = sum(float((along[name].double() * direction).sum()) for name, direction in self.directions.items())
        residual = {} if self.residual is None else self.residual.corner(along, network)
        return self._at(self.high if rise > 0 else self.low, residual, network)

    def sample(self, network: nn.Module, generator: torch.Generator) -> Weights:
        return self._at(self._scalar(generator), {} if self.residual is None else self.residual.sample(network, generator), network)

    def extreme(self, network: nn.Module, generator: torch.Generator) -> Weights:
        return self._at(self._scalar(generator), {} if self.residual is None else self.residual.extreme(network, generator), network)

    def _scalar(self, generator: torch.Generator) -> float:
        return self.low + (self.high - self.low) * float(torch.rand((), generator=generator, dtype=torch.float64))

    def _at(self, scalar: float, residual: Weights, network: nn.Module) -> Weights:
        return {
            name: (residual.get(name, value).detach().double() + scalar * self._direction(name, value)).to(value.dtype)
            for name, value in self.parameters(network).items()
        }

    def _direction(self, name: str, centre: Tensor) -> Tensor:
        return self.directions[name] if name in self.directions else torch.zeros(centre.shape, dtype=torch.float64)

    def _reach(self, name: str, centre: Tensor, share: float = 1.0) -> Tensor:
        """How far a weight may be from W0 + c direction; ``share`` is that of the rounding of stored weights."""
        residual = torch.zeros_like(centre) if self.residual is None else self.residual.radius(name, centre)
        furthest = max(-self.low, self.high) * self._direction(name, centre).abs()
        stored = share * STORED * (centre.abs() + furthest + residual) + SMALLEST
        return residual + torch.where(furthest + residual > 0, stored, 0.0)

    def _residual_box(self, name: str, centre: Tensor) -> tuple[Tensor, Tensor]:
        centre = centre.detach().double()
        reach = self._reach(name, centre)
        outward = above(reach * (1 + 2.0**-50))
        return torch.where(reach > 0, below(centre - outward), centre), torch.where(reach > 0, above(centre + outward), centre)
