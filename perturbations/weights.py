"""Sets of weights: what drift, mismatch or quantisation may make of a checkpoint.

A weight is one number however often it is used: at every time step and at every position of a convolution. As with sets
of inputs, bounds round outward, and the weights that a set hands out round inward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.rounding import above, below, minimise_over_box, sum_down

LEAST = 2.0**-1074
"""The smallest positive float64."""
Weights = dict[str, Tensor]
"""Parameters by name."""


class WeightSet(ABC):
    """A set of weights around those that a network has; one choice holds for a whole forward pass, and for every sample."""

    @abstractmethod
    def describe(self) -> str:
        """Such as "every weight matching *.weight off by up to 1 % of itself"."""

    @abstractmethod
    def parameters(self, network: nn.Module) -> Weights:
        """The parameters that may change, as the network has them.

        Raises:
            InputError: names or shapes that are not the network's, or a parameter with several names.
        """

    @abstractmethod
    def box(self, name: str, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Float64 (lower, upper) around one parameter, rounded outward."""

    @abstractmethod
    def minimise_linear(self, coefficients: Mapping[str, Tensor], centres: Mapping[str, Tensor]) -> Tensor:
        """A lower bound of the sum of ``coefficients . weights`` over the set, rounded down.

        Args:
            coefficients: by parameter, float64 (R, B or 1, *shape).
            centres: the network's own, (*shape).

        Returns:
            Float64 (R, B or 1).
        """

    @abstractmethod
    def contains(self, changed: Mapping[str, Tensor], network: nn.Module) -> bool:
        """Whether the changed parameters are certainly in the set, and the others as they were."""

    @abstractmethod
    def corner(self, along: Mapping[str, Tensor], network: nn.Module) -> Weights:
        """The weights of the set that lie furthest along a direction, by parameter; they satisfy ``contains``."""

    @abstractmethod
    def sample(self, network: nn.Module, generator: torch.Generator) -> Weights:
        """Random weights of the set; they satisfy ``contains``."""

    @abstractmethod
    def extreme(self, network: nn.Module, generator: torch.Generator) -> Weights:
        """Random weights of the set's border, where searches start; they satisfy ``contains``."""


@dataclass(frozen=True, eq=False)
class WeightBox(WeightSet):
    """{W : |W - W0| <= relative |W0| + absolute + radii, element by element}, for the parameters whose names match.

    Attributes:
        relative: share of each weight's size; dimensionless, finite, not negative.
        absolute: in the unit of the weights; finite, not negative.
        names: patterns such as "*.weight" or "readout.*", by default all; the other parameters stay as they are.
        radii: further radii of single weights by parameter, such as k deviations of each device; of the parameter's shape.
    """

    relative: float = 0.0
    absolute: float = 0.0
    names: tuple[str, ...] = ("*",)
    radii: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("relative", "absolute"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InputError(f"weights: {name} is {value!r}, expected a finite number >= 0")
        if isinstance(self.names, str) or not (self.names or self.radii):
            raise InputError(f"weights: names are {self.names!r}, expected a tuple of patterns such as ('*.weight',)")
        radii = {name: torch.as_tensor(radius).detach().double() for name, radius in self.radii.items()}
        for name, radius in radii.items():
            if not bool((torch.isfinite(radius) & (radius >= 0)).all()):
                raise InputError(f"weights: radii of {name} are negative or not finite, expected finite numbers >= 0")
        object.__setattr__(self, "radii", radii)

    def describe(self) -> str:
        parts = [f"{100 * self.relative:g} % of itself"] * (self.relative > 0) + [f"{self.absolute:g}"] * (self.absolute > 0)
        parts += [f"its own radius ({', '.join(self.radii)})"] * bool(self.radii)
        which = "" if "*" in self.names else f" matching {' or '.join(self.names)}"
        return f"every weight{which} off by up to {' plus '.join(parts) or 'nothing'}"

    def parameters(self, network: nn.Module) -> Weights:
        known = dict(network.named_parameters())
        for pattern in self.names:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise InputError(f"weights: no parameter matches {pattern!r}", f"the network has {', '.join(known)}")
        require_shapes(self.radii, network)
        chosen: Weights = {name: value for name, value in known.items() if self._matches(name)}
        require_one_name(chosen, network)
        return chosen

    def box(self, name: str, centre: Tensor) -> tuple[Tensor, Tensor]:
        centre = centre.detach().double()
        radius = self.radius(name, centre)
        outward = above(radius * (1 + 2.0**-50))
        moves = radius > 0
        return torch.where(moves, below(centre - outward), centre), torch.where(moves, above(centre + outward), centre)

    def minimise_linear(self, coefficients: Mapping[str, Tensor], centres: Mapping[str, Tensor]) -> Tensor:
        return sum_down(torch.stack([least_over(a, *self.box(name, centres[name])) for name, a in coefficients.items()]))

    def contains(self, changed: Mapping[str, Tensor], network: nn.Module) -> bool:
        movable = self.parameters(network)
        for name, centre in network.named_parameters():
            distance = (changed.get(name, centre).detach().double() - centre.detach().double()).abs()
            allowed = self._certain_radius(name, centre.detach().double()) if name in movable else torch.zeros_like(distance)
            if not bool((distance <= allowed).all()):
                return False
        return True

    def project(self, name: str, changed: Tensor, network: nn.Module) -> Tensor:
        """The nearest values of the set, in the parameter's dtype, rounded towards the centre."""
        centre = self.parameters(network)[name].detach()
        radius = self._certain_radius(name, centre.double())
        near = radius * (1 - 2.0**-20)
        inside = torch.minimum(torch.maximum(changed.detach().double(), centre.double() - near), centre.double() + near).to(centre.dtype)
        far = (inside.double() - centre.double()).abs() > radius
        return torch.where(far, centre, inside)

    def corner(self, along: Mapping[str, Tensor], network: nn.Module) -> Weights:
        reach = {name: self.radius(name, value.detach().double()) for name, value in self.parameters(network).items()}
        return self._moved({name: 2 * reach[name] * along[name].double().sign() for name in reach}, network)

    def sample(self, network: nn.Module, generator: torch.Generator) -> Weights:
        moves = {}
        for name, value in self.parameters(network).items():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float64) * 2 - 1
            moves[name] = noise * self.radius(name, value.detach().double())
        return self._moved(moves, network)

    def extreme(self, network: nn.Module, generator: torch.Generator) -> Weights:
        along = {name: torch.randn(value.shape, generator=generator) for name, value in self.parameters(network).items()}
        return self.corner(along, network)

    def radius(self, name: str, centre: Tensor) -> Tensor:
        """How far each weight of a parameter may move: to a few roundings, and 0 only where it may not move at all."""
        if not self._matches(name):
            return torch.zeros_like(centre)
        share = torch.where((centre != 0) & (self.relative > 0), (self.relative * centre.abs()).clamp(min=LEAST), 0.0)
        return share + self.absolute + self.radii.get(name, torch.zeros((), dtype=centre.dtype))

    def _certain_radius(self, name: str, centre: Tensor) -> Tensor:
        """How far it certainly may."""
        return below(self.radius(name, centre) * (1 - 2.0**-50)).clamp(min=0.0)

    def _matches(self, name: str) -> bool:
        return name in self.radii or any(fnmatchcase(name, pattern) for pattern in self.names)

    def _moved(self, moves: Weights, network: nn.Module) -> Weights:
        return {
            name: self.project(name, value.detach().double() + moves[name], network) for name, value in self.parameters(network).items()
        }


def least_over(coefficients: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The least of ``coefficients . w`` over a box of one parameter, rounded down; (R, B or 1, *shape) to (R, B or 1)."""
    rows = coefficients.flatten(0, 1)[:, None]
    return minimise_over_box(rows, lower[None], upper[None])[:, 0].unflatten(0, coefficients.shape[:2])


def require_shapes(tensors: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raises InputError unless every tensor has the name and the shape of a parameter."""
    known = dict(network.named_parameters())
    for name, tensor in tensors.items():
        if name not in known:
            raise InputError(f"weights: the network has no parameter {name!r}", f"it has {', '.join(known)}")
        if tensor.shape != known[name].shape:
            raise InputError(f"weights: got shape {tuple(tensor.shape)} for {name}, expected {tuple(known[name].shape)}")


def require_one_name(chosen: Weights, network: nn.Module) -> None:
    """Raises InputError where the network knows a chosen parameter under a second name."""
    for name, value in network.named_parameters(remove_duplicate=False):
        twin = next((first for first, other in chosen.items() if other is value and first != name), None)
        if twin is not None:
            raise InputError(f"weights: {twin} and {name} are one parameter, expected one name for each", "leave it out by its name")
