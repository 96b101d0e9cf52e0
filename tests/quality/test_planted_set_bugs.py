"""Bugs planted in sets, and in the rules of uncertain weights: the conformance kit must find every one, and nothing without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.relaxations import bilinear_map
from neurocert.certify.bounds.relaxations.bilinear_map import Corners
from neurocert.certify.bounds.relaxations.masks import AnyMask
from neurocert.certify.bounds.rules import uncertain
from neurocert.certify.errors import NumericalFailure
from neurocert.certify.testing.conformance import violations
from neurocert.models.layers.plastic_flex import PlasticFlex
from neurocert.perturbations import balls
from neurocert.perturbations.balls import Ball, L1Ball, LinfBall
from neurocert.perturbations.boxes import Box, WeightedLinfBall
from neurocert.perturbations.drift import SharedDrift
from neurocert.perturbations.flips import Flips
from neurocert.perturbations.weights import WeightBox, WeightSet

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
POINT = LinfBall(0.0)


class Twice(nn.Module):
    """One layer used at two steps, and a gate between them."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.flex = nn.Conv2d(2, 2, 1), PlasticFlex(2, 2, (4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.flex(self.shared(x))).flatten(1)[:, :6]


def network(kind: str) -> nn.Module:
    torch.manual_seed(5)
    made: dict[str, Callable[[], nn.Module]] = {
        "relu": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 3)),
        "negative": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 3)),
        "twice": Twice,
    }
    net = made[kind]()
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else torch.randn_like(value))
            if kind == "negative":
                value.copy_(-value.abs())
    return net.eval()


def points(ball: Ball) -> Tensor:
    torch.manual_seed(3)
    binary = isinstance(ball, Flips)
    return torch.randint(0, 2, (3, 2, 4, 4)).float() if binary else torch.rand(3, 2, 4, 4)


def one_flip_forgotten(patch: Patch) -> None:
    true = Flips.minimise_linear
    patch.setattr(Flips, "minimise_linear", lambda self, a, centre: true(Flips(self.count - 1), a, centre))


def one_flip_too_many(patch: Patch) -> None:
    true = Flips.project
    patch.setattr(Flips, "project", lambda self, x, centre: true(Flips(self.count + 1), x, centre))


def flips_of_one_kind(patch: Patch) -> None:
    """Only flips from 0 to 1 are seen."""

    def wrong(self: Flips, coefficients: Tensor, centre: Tensor) -> Tensor:
        a, middle = coefficients.flatten(2), centre.double().flatten(1)
        return (a * middle).sum(2) - (-a * (1 - middle)).clamp(min=0).topk(self.count, 2).values.sum(2)

    patch.setattr(Flips, "minimise_linear", wrong)


def price_of_the_budget_forgotten(patch: Patch) -> None:
    """The L1 ball's dual without its budget."""
    true = L1Ball.minimise_linear
    patch.setattr(L1Ball, "minimise_linear", lambda self, a, centre: true(replace(self, epsilon=self.epsilon / 2), a, centre))


def scales_forgotten(patch: Patch) -> None:
    patch.setattr(WeightedLinfBall, "box", balls.NormBall.box)


def upper_ends_forgotten(patch: Patch) -> None:
    true = Box.minimise_linear
    patch.setattr(Box, "minimise_linear", lambda self, a, centre: true(replace(self, upper=self.lower), a, centre))


def drift_sign_wrong(patch: Patch) -> None:
    """The scalar is sent to the end at which the bound is greatest."""

    def wrong(self: SharedDrift, coefficients: Any, centres: Any) -> Tensor:
        slope = sum((a * self.directions[name]).flatten(2).sum(2) for name, a in coefficients.items())
        at_centre = sum((a * centres[name]).flatten(2).sum(2) for name, a in coefficients.items())
        return at_centre + torch.maximum(self.low * slope, self.high * slope)  # type: ignore[operator]

    patch.setattr(SharedDrift, "minimise_linear", wrong)


def drift_of_one_end(patch: Patch) -> None:
    true = SharedDrift.minimise_linear
    patch.setattr(SharedDrift, "minimise_linear", lambda self, a, centres: true(replace(self, low=0.0), a, centres))


def residual_forgotten(patch: Patch) -> None:
    true = SharedDrift.minimise_linear
    patch.setattr(SharedDrift, "minimise_linear", lambda self, a, centres: true(replace(self, residual=None), a, centres))


def weights_certain(patch: Patch) -> None:
    patch.setattr(WeightBox, "minimise_linear", lambda self, a, centres: _at_centres(a, centres))


def _at_centres(coefficients: Any, centres: Any) -> Tensor:
    return torch.stack([(a * centres[name]).flatten(2).sum(2) for name, a in coefficients.items()]).sum(0)


def absolute_part_forgotten(patch: Patch) -> None:
    true = WeightBox.box
    patch.setattr(WeightBox, "box", lambda self, name, centre: true(replace(self, absolute=0.0), name, centre))


def product_of_radii_forgotten(patch: Patch) -> None:
    """McCormick's constant without the product of the radii."""
    true = uncertain.corners

    def wrong(function: Any, x: Interval, weight: Interval) -> Corners:
        found = true(function, x, weight)
        return replace(found, radii=torch.zeros_like(found.radii))

    patch.setattr(uncertain, "corners", wrong)


def signs_of_inputs_forgotten(patch: Patch) -> None:
    """Products are bounded as if no input were negative."""
    patch.setattr(uncertain, "bilinear_bounds", lambda f, x, w: bilinear_map._nonnegative(f, x.lower, x.upper, w))


def bias_certain(patch: Patch) -> None:
    true = uncertain._parts

    def wrong(layer: Any, inputs: Any) -> Any:
        parts = true(layer, inputs)
        return replace(parts, bias=Interval(parts.bias.centre, parts.bias.centre))

    patch.setattr(uncertain, "_parts", wrong)


def gate_of_one_corner(patch: Patch) -> None:
    true = uncertain._masks

    def wrong(layer: Any, inputs: Any) -> AnyMask:
        masks = true(layer, inputs)
        return replace(masks, masks=masks.masks[:1])

    patch.setattr(uncertain, "_masks", wrong)


def drift(residual: WeightBox | None = None) -> SharedDrift:
    generator = torch.Generator().manual_seed(2)
    directions = {name: torch.randn(value.shape, generator=generator) for name, value in network("relu").named_parameters()}
    return SharedDrift(directions, -0.3, 0.2, residual)


FLIPS, WEIGHTED = Flips(2), WeightedLinfBall(0.1, scales=torch.tensor([3.0, 0.0, 1.0, 2.0]))
BOX = Box(torch.zeros(2, 4, 4), torch.tensor([1.0, 1.0, 2.0, 3.0]).expand(2, 4, 4))
BUGS: dict[str, tuple[str, Ball, WeightSet | None, Plant]] = {
    "one flip forgotten": ("relu", FLIPS, None, one_flip_forgotten),
    "one flip too many": ("relu", FLIPS, None, one_flip_too_many),
    "flips of one kind": ("relu", FLIPS, None, flips_of_one_kind),
    "half of an L1 budget": ("relu", L1Ball(0.5), None, price_of_the_budget_forgotten),
    "scales forgotten": ("relu", WEIGHTED, None, scales_forgotten),
    "upper ends forgotten": ("relu", BOX, None, upper_ends_forgotten),
    "drift's sign wrong": ("relu", POINT, drift(), drift_sign_wrong),
    "drift of one end": ("relu", POINT, drift(), drift_of_one_end),
    "residual forgotten": ("relu", POINT, drift(WeightBox(0.2)), residual_forgotten),
    "weights certain": ("relu", POINT, WeightBox(0.1), weights_certain),
    "absolute part forgotten": ("relu", POINT, WeightBox(0.01, 0.1), absolute_part_forgotten),
    "product of radii forgotten": ("negative", LinfBall(0.3), WeightBox(0.9), product_of_radii_forgotten),
    "signs of inputs forgotten": ("twice", POINT, WeightBox(0.3, names=("shared.*",)), signs_of_inputs_forgotten),
    "bias certain": ("relu", POINT, WeightBox(0.0, 0.5, ("*.bias",)), bias_certain),
    "gate of one corner": ("twice", POINT, WeightBox(0.9, names=("*threshold", "*norm*")), gate_of_one_corner),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_kit_finds_the_bug(bug: str, monkeypatch: Patch) -> None:
    kind, ball, weights, plant = BUGS[bug]
    plant(monkeypatch)
    try:
        found = violations(network(kind), points(ball), ball, weights=weights)
    except NumericalFailure:  # bounds that contradict each other: seen by the engine itself
        return
    assert found


@pytest.mark.parametrize("bug", BUGS)
def test_the_kit_finds_nothing_without_it(bug: str) -> None:
    kind, ball, weights, _ = BUGS[bug]
    assert not violations(network(kind), points(ball), ball, weights=weights)
