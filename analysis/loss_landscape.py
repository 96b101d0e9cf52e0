"""The loss around a network's weights, on a plane through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from neurocert.analysis.hessian import Loss, require_samples
from neurocert.models.errors import InputError

Direction = dict[str, Tensor]
"""A change of each trainable weight, by its name."""


@dataclass(frozen=True)
class Landscape:
    """Losses at w + x d1 + y d2.

    Attributes:
        steps: the values of x and of y, increasing, with 0 in the middle.
        losses: ``losses[j][i]`` belongs to x = steps[i] and y = steps[j].
        cosine: of the angle between the two directions.
    """

    steps: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    cosine: float

    @property
    def centre(self) -> float:
        """The loss at the weights themselves."""
        middle = len(self.steps) // 2
        return self.losses[middle][middle]

    @property
    def mean_rise(self) -> float:
        """Mean over the plane's grid of what the loss exceeds that of the centre by; the lower, the flatter."""
        losses = [loss for row in self.losses for loss in row]
        return math.fsum(losses) / len(losses) - self.centre


def random_direction(network: nn.Module, seed: int) -> Direction:
    """A Gaussian direction with each filter scaled to the norm of the network's own; 0 for weights with one axis.

    A filter is a weight's slice along its first axis. Scaled so, planes of networks whose weights differ in size (which a
    batch norm may undo) can be compared.
    Source: Li et al., NeurIPS 2018, section 4.

    Args:
        seed: of the Gaussian; the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _filter_normalised(weight, generator) for name, weight in _trainable(network).items()}


def along(network: nn.Module, vector: Tensor) -> Direction:
    """The direction of ``vector`` (n,), such as an eigenvector of a ``Hessian``, as long as a filter-normalised one."""
    weights = _trainable(network)
    sizes = [weight.numel() for weight in weights.values()]
    if vector.shape != (sum(sizes),):
        raise InputError(f"vector: got shape {tuple(vector.shape)}, expected ({sum(sizes)},)")
    if not float(vector.norm()) > 0:
        raise InputError("vector is 0 or not a number, expected a direction")
    scaled = vector * (_length([weight for weight in weights.values() if weight.dim() > 1]) / vector.norm())
    return {name: part.view_as(w).to(w) for (name, w), part in zip(weights.items(), scaled.split(sizes), strict=True)}


def landscape(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    first: Direction,
    second: Direction,
    *,
    radius: float = 1.0,
    points: int = 21,
    loss: Loss = functional.cross_entropy,
) -> Landscape:
    """The loss on a square grid of the plane that two directions span. The network is left as it is.

    Args:
        network: in evaluation mode.
        inputs, labels: (B, *shape) and (B,), at least one sample.
        first, second: d1 and d2; see ``random_direction`` and ``along``.
        radius: largest x and y; 1 moves every filter by its own norm.
        points: along each axis; odd, so that the weights themselves are in the middle.
        loss: by default cross-entropy.

    Raises:
        InputError: training mode, no sample, an even grid, a radius that is not positive, or a loss that is not finite.
    """
    require_samples(network, inputs, labels)
    if points < 3 or points % 2 == 0:
        raise InputError(f"points is {points}, expected an odd number of at least 3")
    if not 0 < radius < math.inf:
        raise InputError(f"radius is {radius}, expected a positive number")
    middle = points // 2
    steps = tuple(radius * (index - middle) / middle for index in range(points))
    weights = _trainable(network)

    def value(x: float, y: float) -> float:
        moved = {name: weight + x * first[name] + y * second[name] for name, weight in weights.items()}
        return float(loss(functional_call(network, moved, (inputs,)), labels))

    with torch.no_grad():
        losses = tuple(tuple(value(x, y) for x in steps) for y in steps)
    if not all(math.isfinite(value) for row in losses for value in row):
        raise InputError(f"the loss is not finite everywhere within a radius of {radius:g}", "choose a smaller radius, or float64 weights")
    return Landscape(steps, losses, _cosine(first, second))


def _filter_normalised(weight: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
    if weight.dim() < 2:
        return torch.zeros_like(weight)
    filters, noise = weight.detach().flatten(1), drawn.flatten(1)
    scale = filters.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    return (noise * scale).view_as(weight)


def _trainable(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}


def _length(parts: list[Tensor]) -> float:
    return math.sqrt(math.fsum(float(part.double().square().sum()) for part in parts))


def _cosine(first: Direction, second: Direction) -> float:
    product = math.fsum(float((first[name].double() * second[name].double()).sum()) for name in first)
    lengths = _length(list(first.values())) * _length(list(second.values()))
    return product / lengths if lengths else 0.0
