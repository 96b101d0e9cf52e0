"""Every registered layer, alone and in company, against what it computes; a layer without a case fails."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.spike_train import SpikeTrain
from neurocert.certify.bounds.uncertain import Uncertain, UncertainRouting
from neurocert.certify.testing.conformance import conforms
from neurocert.certify.testing.strategies import balls, centres, spiking
from neurocert.models.layers.lif import LIF, Fire
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import ChannelAlignment, MaskRouting, PlasticFlex
from neurocert.models.semantics import FactorLeak, Spiking
from neurocert.perturbations.balls import Ball, LinfBall

IMAGE = (2, 4, 4)
SPIKING = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")


class Of(nn.Module):
    """A function as a module, after a linear layer that correlates its inputs."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.before, self.function = nn.Conv2d(2, 2, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.before(x))


class Routed(nn.Module):
    """Both branches of a MaskRouting from one input."""

    def __init__(self, mask: Any) -> None:
        super().__init__()
        self.branches, self.routing = nn.ModuleList([nn.Conv2d(2, 2, 1) for _ in range(2)]), MaskRouting(2, 4, 4, mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.routing(*(branch(x) for branch in self.branches))


class Steps(nn.Module):
    """Two layers of LIF neurons, T steps."""

    def __init__(self, semantics: Spiking) -> None:
        super().__init__()
        self.first, self.second, self.steps = nn.Linear(4, 5), nn.Linear(5, 3), semantics.time_steps
        self.neurons = nn.ModuleList([LIF(semantics), LIF(semantics)])

    def forward(self, x: Tensor) -> Tensor:
        current = self.first(x)
        states: list[Tensor | None] = [None, None]
        total: Tensor | None = None
        for _ in range(self.steps):
            states[0], spikes = self.neurons[0](states[0], current)
            states[1], out = self.neurons[1](states[1], self.second(spikes))
            read = out * 0.5 + states[1] * 0.25
            total = read if total is None else total + read
        assert total is not None
        return total


def _flat(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *layers)


CASES: dict[str, tuple[tuple[Any, ...], Callable[[], nn.Module]]] = {
    "relu": ((nn.ReLU, functional.relu, torch.relu, "relu"), lambda: Of(lambda x: functional.relu(x) - torch.relu(x - 0.25) + (-x).relu())),
    "relu module": ((), lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2))),
    "leaky relu": ((nn.LeakyReLU,), lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.LeakyReLU(0.1), nn.Conv2d(3, 2, 2))),
    "steep leaky relu": ((), lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.LeakyReLU(3.0), nn.Conv2d(3, 2, 2))),
    "clip": ((nn.Hardtanh, nn.ReLU6), lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Hardtanh(-0.1, 0.3), nn.Conv2d(2, 2, 1), nn.ReLU6())),
    "hard sigmoid": ((nn.Hardsigmoid,), lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Hardsigmoid(), nn.Conv2d(2, 2, 2))),
    "sigmoid": ((nn.Sigmoid, torch.sigmoid, "sigmoid"), lambda: Of(lambda x: torch.sigmoid(x) - (3 * x).sigmoid())),
    "sigmoid module": ((), lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.Sigmoid(), nn.Conv2d(2, 1, 2))),
    "linear": ((nn.Linear, nn.Flatten), lambda: _flat(nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 4, bias=False))),
    "convolution": ((nn.Conv2d,), lambda: nn.Sequential(nn.Conv2d(2, 4, (3, 2), (2, 1), (2, 0), (1, 2), 2), nn.ReLU(), nn.Conv2d(4, 2, 1))),
    "batch norm": (
        (nn.BatchNorm2d,),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3, affine=False)),
    ),
    "batch norm 1d": ((nn.BatchNorm1d,), lambda: _flat(nn.Linear(32, 4), nn.BatchNorm1d(4), nn.ReLU())),
    "normalise": ((Normalise,), lambda: nn.Sequential(Normalise((0.1, -0.2), (0.3, 2.0)), nn.Conv2d(2, 2, 2))),
    "average pool": ((nn.AvgPool2d,), lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.AvgPool2d(3, 1, 1), nn.ReLU(), nn.AvgPool2d(2))),
    "average pool, ceil": ((), lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False))),
    "alignment": (
        (ChannelAlignment,),
        lambda: nn.Sequential(ChannelAlignment(2, 5), nn.ReLU(), ChannelAlignment(5, 3), ChannelAlignment(3, 3)),
    ),
    "max pool": ((nn.MaxPool2d,), lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 2))),
    "max pool, dilated": ((), lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.MaxPool2d(2, 1, 1, 2), nn.Conv2d(2, 1, 2))),
    "sums": (
        (operator.add, operator.iadd, torch.add, "add", "add_", operator.sub, operator.isub, torch.sub, "sub"),
        lambda: Of(lambda x: (x + torch.relu(x)).add(torch.sub(x, 0.1)).sub(torch.add(x, 2.0)) - (1.5 - x)),
    ),
    "products": (
        (operator.mul, operator.imul, torch.mul, "mul", operator.truediv, operator.itruediv, torch.div, torch.true_divide, "div"),
        lambda: Of(lambda x: torch.mul(torch.relu(x) * 3.0, -0.7).mul(0.1) / 0.3 + torch.div(x, 7.0).div(-2.0)),
    ),
    "negation": ((operator.neg, torch.neg, "neg"), lambda: Of(lambda x: -torch.relu(x) + torch.neg(x).relu() + x.neg())),
    "flatten": ((torch.flatten, "flatten"), lambda: nn.Sequential(Of(lambda x: torch.flatten(x, 1)), nn.Linear(32, 3))),
    "flatten method": ((), lambda: nn.Sequential(Of(lambda x: torch.relu(x).flatten(1)), nn.Linear(32, 3))),
    "routing, hard sigmoid": ((MaskRouting,), lambda: nn.Sequential(Routed("hard-sigmoid"), nn.Conv2d(2, 2, 2))),
    "routing, sigmoid": ((), lambda: nn.Sequential(Routed("sigmoid"), nn.Conv2d(2, 2, 2))),
    "plastic flex": ((), lambda: nn.Sequential(PlasticFlex(2, 3, (4, 4), stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 2))),
}
LEARNED_ELSEWHERE = (Fire, SpikeTrain, Uncertain, UncertainRouting)
"""Met by the tests below and those of weight sets; ``coverage/test_complete.py`` sees to it that every layer is met somewhere."""


def weights(network: nn.Module, seed: int, scale: float) -> nn.Module:
    """Random weights and batch statistics; scaled; some exactly 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if not value.dtype.is_floating_point:
            continue
        noise = torch.randn(value.shape, generator=generator)
        noise[torch.rand(value.shape, generator=generator) < 0.1] = 0.0
        value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else noise * scale)
    return network.eval()


@pytest.mark.parametrize("case", CASES)
@given(ball=balls(), points=centres(IMAGE), seed=st.integers(0, 2**16), scale=st.sampled_from([1.0, 1.0, 1e-3, 1e3]), double=st.booleans())
@settings(max_examples=5, deadline=None)
def test_bounds_hold(case: str, ball: Ball, points: Tensor, seed: int, scale: float, double: bool) -> None:
    network = weights(CASES[case][1](), seed, scale)
    if double:
        network, points = network.double(), points.double()
    conforms(network, points, ball, seed=seed)


@given(
    semantics=spiking(),
    ball=balls(),
    points=centres((4,)),
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
    double=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_bounds_of_spiking_layers_hold(semantics: Spiking, ball: Ball, points: Tensor, seed: int, scale: float, double: bool) -> None:
    network = weights(Steps(semantics), seed, scale)
    if double:
        network, points = network.double(), points.double()
    conforms(network, points, ball, seed=seed)


@given(semantics=spiking(), seed=st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_currents_that_tie_with_the_threshold(semantics: Spiking, seed: int) -> None:
    """Weights and inputs on a grid: potentials meet thresholds exactly."""
    network = weights(Steps(semantics), seed, 1.0)
    for value in network.state_dict().values():
        value.copy_((value * 4).round() / 4)
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(-4, 5, (3, 4), generator=generator) / 4
    for radius in (0.0, 0.25):
        conforms(network, points, LinfBall(radius), seed=seed)
        conforms(network.double(), points.double(), LinfBall(radius), seed=seed)
        network = network.float()
