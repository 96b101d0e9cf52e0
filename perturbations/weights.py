"""Sets of weights: what drift, mismatch or quantisation may make of a checkpoint.

A weight is one number however often it is used: at every time step and at every position of a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError


@dataclass(frozen=True)
class WeightBox:
    """{W : |W - W0| <= relative |W0| + absolute, element by element}, for the parameters whose names match.

    Attributes:
        relative: share of each weight's size; dimensionless, finite, not negative.
        absolute: in the unit of the weights; finite, not negative.
        names: patterns such as "*.weight" or "readout.*"; the other parameters stay as they are.
    """

    relative: float = 0.0
    absolute: float = 0.0
    names: tuple[str, ...] = ("*.weight", "*.bias", "weight", "bias")

    def __post_init__(self) -> None:
        for name in ("relative", "absolute"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InputError(f"weights: {name} is {value!r}, expected a finite number >= 0")
        if not self.names or isinstance(self.names, str):
            raise InputError(f"weights: names are {self.names!r}, expected a tuple of patterns such as ('*.weight',)")

    def describe(self) -> str:
        """Such as "every weight matching *.weight off by up to 1 % of itself"."""
        parts = [f"{100 * self.relative:g} % of itself"] * (self.relative > 0) + [f"{self.absolute:g}"] * (self.absolute > 0)
        return f"every weight matching {' or '.join(self.names)} off by up to {' plus '.join(parts) or 'nothing'}"

    def parameters(self, network: nn.Module) -> dict[str, Tensor]:
        """The parameters that may change, by name.

        Raises:
            InputError: a pattern that matches none, or a parameter with several names.
        """
        known = dict(network.named_parameters())
        for pattern in self.names:
            if pattern not in WeightBox.names and not any(fnmatchcase(name, pattern) for name in known):
                raise InputError(f"weights: no parameter matches {pattern!r}", f"the network has {', '.join(known)}")
        chosen: dict[str, Tensor] = {
            name: value for name, value in known.items() if any(fnmatchcase(name, pattern) for pattern in self.names)
        }
        for name, value in network.named_parameters(remove_duplicate=False):
            twin = next((first for first, other in chosen.items() if other is value and first != name), None)
            if twin is not None:
                raise InputError(f"weights: {twin} and {name} are one parameter, expected one name for each", "leave it out by its name")
        return chosen

    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Float64 (lower, upper) around a parameter, rounded outward."""
        centre = centre.detach().double()
        radius = self._radius(centre)
        if self.relative == 0 and self.absolute == 0:
            return centre, centre
        infinity = torch.tensor(math.inf, dtype=torch.float64)
        radius = torch.nextafter(radius * (1 + 2.0**-50), infinity)
        return torch.nextafter(centre - radius, -infinity), torch.nextafter(centre + radius, infinity)

    def contains(self, changed: Mapping[str, Tensor], network: nn.Module) -> bool:
        """Whether the changed parameters are certainly in the set, and the others as they were."""
        movable = self.parameters(network)
        for name, centre in network.named_parameters():
            distance = (changed.get(name, centre).detach().double() - centre.detach().double()).abs()
            allowed = self._radius(centre.detach().double()) * (1 - 2.0**-50) if name in movable else torch.zeros_like(distance)
            if not bool((distance <= allowed).all()):
                return False
        return True

    def project(self, name: str, changed: Tensor, network: nn.Module) -> Tensor:
        """The nearest values of the set, in the parameter's dtype, rounded towards the centre."""
        centre = self.parameters(network)[name].detach()
        radius = self._radius(centre.double()) * (1 - 2.0**-20)
        inside = torch.minimum(torch.maximum(changed.detach().double(), centre.double() - radius), centre.double() + radius).to(
            centre.dtype
        )
        far = (inside.double() - centre.double()).abs() > self._radius(centre.double()) * (1 - 2.0**-50)
        return torch.where(far, centre, inside)

    def _radius(self, centre: Tensor) -> Tensor:
        return self.relative * centre.abs() + self.absolute
