"""Comparisons, normalisations, attention, spiking cells and masks, and small networks of all of them, certified end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.testing.conformance import conforms
from neurocert.certify.testing.strategies import balls, centres, spiking
from neurocert.models.layers.cuba_lif import CubaLIF
from neurocert.models.layers.plastic_flex import MaskRouting, PlasticFlex, RoutingOptions
from neurocert.models.layers.readout import LeakyIntegrator
from neurocert.models.layers.recurrent_lif import RecurrentLIF
from neurocert.models.layers.step import Step
from neurocert.models.semantics import Comparison, EulerLeak, FactorLeak, Spiking
from neurocert.perturbations.balls import Ball, LinfBall

SEQUENCE, VECTOR = (3, 4), (6,)
Case = tuple[tuple[int, ...], Callable[[], nn.Module]]


class Of(nn.Module):
    """A function after a linear layer that correlates its inputs, with parameters to use as constants."""

    def __init__(self, shape: tuple[int, ...], function: Callable[..., Tensor], *constants: tuple[int, ...]) -> None:
        super().__init__()
        self.before, self.function = nn.Linear(shape[-1], shape[-1]), function
        self.constants = nn.ParameterList(torch.zeros(size) for size in constants)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.before(x), *self.constants)


class Attending(nn.Module):
    """Attention by its module and by its function."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x, x, 0.5 * x, need_weights=False)[0] + functional.scaled_dot_product_attention(x, x, x, scale=0.3)


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, one block with a GELU perceptron, logits."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(1, 4, 2, 2), nn.Parameter(torch.zeros(1, 1, 4))
        self.positions = nn.Parameter(torch.zeros(1, 3, 4))
        self.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(3))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.perceptron = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.perceptron(self.norms[1](x))
        return self.head(self.norms[2](x)[:, 0])


class Residual(nn.Module):
    """Two residual blocks, one with a projection, and a global average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
        self.first = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
        self.second = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4))
        self.projection = nn.Conv2d(3, 4, 1, 2)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x = functional.relu(x + self.first(x))
        y = self.second(x)
        y += self.projection(x)
        return self.head(self.pool(torch.relu(y)).flatten(1))


class Normed(nn.Module):
    """``functional.batch_norm`` with stored statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.weight = nn.Conv2d(2, 2, 1), nn.Parameter(torch.zeros(2))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("running_var", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(self.before(x), self.mean, self.running_var, self.weight).relu()


def of(shape: tuple[int, ...], function: Callable[..., Tensor], *constants: tuple[int, ...]) -> Case:
    return shape, lambda: Of(shape, function, *constants)


def _flex(**routing: Unpack[RoutingOptions]) -> Case:
    return (2, 4, 4), lambda: nn.Sequential(PlasticFlex(2, 3, (4, 4), stride=2, **routing), nn.ReLU(), nn.Conv2d(3, 2, 2))


def _frozen() -> nn.Module:
    flex = PlasticFlex(2, 3, (4, 4), stride=2)
    flex.freeze(torch.rand(3, 2, 2))
    return nn.Sequential(flex, nn.ReLU(), nn.Conv2d(3, 2, 2))


CASES: dict[str, Case] = {
    "comparisons with numbers": of(
        VECTOR,
        lambda x: (x > 0.3).float() + torch.ge(x, 0.1) * x - x.lt(-0.1).double() + (x <= 0.2).to(x.dtype) + torch.gt(x, 0.0),
    ),
    "comparisons of values": of(
        VECTOR,
        lambda x, w: (x > x.flip(1)).type_as(x) + (x[:, :1] <= x) * x - x.gt(w).float() + torch.lt(x, w) * 0.5 + x.ge(w) + x.le(0.1),
        (6,),
    ),
    "comparisons by their long names": of(
        VECTOR,
        lambda x: torch.greater(x, 0.1) * x + x.greater(0.2) + torch.greater_equal(x, 0.0) + x.greater_equal(x.flip(1)) + x.less(0.5),
    ),
    "comparisons from below": of(
        VECTOR, lambda x: torch.less(x, 0.25) * x + (x < 0.2) + torch.less_equal(x, -0.1) + x.less_equal(0.3) + (x > 0.1) + torch.le(x, 0.4)
    ),
    "steps": of(
        VECTOR,
        lambda x, w: torch.heaviside(x.detach(), w[:1] * 0 + 0.5) + x.detach().heaviside(w[:1] * 0),
        (1,),
    ),
    "signs": of(VECTOR, lambda x: torch.sign(x) - x.sign() * 0.5 + torch.sgn(x - 0.1) * x - x.sgn()),
    "choices": of(
        VECTOR,
        lambda x, w: torch.where(x > 0, x, w) - torch.where(~(x <= 0.2), x.tanh(), 0.0) + x.where(x.flip(1) >= 0.1, -x),
        (6,),
    ),
    "choices by a constant": of(VECTOR, lambda x, w: torch.where(w > 0, x, -x).relu(), (6,)),
    "masks turned round": of(
        VECTOR,
        lambda x: torch.logical_not(x > 0) * x + (x > 0.1).logical_not() + torch.bitwise_not(x > 0.2) * x + (x > 0.3).bitwise_not(),
    ),
    "layer norm": (
        SEQUENCE,
        lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.LayerNorm((3, 4), elementwise_affine=False)),
    ),
    "layer norm, functional": of(SEQUENCE, lambda x, w, b: functional.layer_norm(x, (4,), w, b, 1e-3), (4,), (4,)),
    "group norms": ((4, 2, 2), lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.InstanceNorm2d(4, affine=True))),
    "group norm, functional": of((4, 3), lambda x, w: functional.group_norm(x, 2, w, eps=0.1), (4,)),
    "instance norm in 1d": ((4, 3), lambda: nn.Sequential(nn.Linear(3, 3), nn.InstanceNorm1d(4))),
    "batch norm, functional": ((2, 3, 3), Normed),
    "attention": (SEQUENCE, Attending),
    "encoder layer": (SEQUENCE, lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=True, activation="gelu")),
    "encoder": (
        SEQUENCE,
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 1, nn.LayerNorm(4), enable_nested_tensor=False
        ),
    ),
    "vision transformer": ((1, 2, 4), VisionTransformer),
    "residual network": ((1, 5, 5), Residual),
    "binary masks": _flex(mask="binary"),
    "frozen masks": ((2, 4, 4), _frozen),
    "binary masks that learn by a hard sigmoid": _flex(mask="hard-sigmoid-ste", slope=0.3),
    "sloped sigmoid masks without a norm": _flex(mask="sigmoid", slope=3.0, logits_norm=False),
    "the greater branch": _flex(mixing="maximum"),
    "local masks, sigmoid": _flex(mask="sigmoid", logits="convolution", slope=2.0),
    "local masks, hard sigmoid": _flex(mask="hard-sigmoid", logits="convolution", logits_norm=False),
    "local masks, binary": _flex(mask="binary", logits="convolution"),
    "steps of one threshold": ((2, 4, 4), lambda: nn.Sequential(nn.Conv2d(2, 3, 3), Step(0.25), nn.Conv2d(3, 2, 2), Step(0.0, ">="))),
    "steps of many thresholds": (VECTOR, lambda: nn.Sequential(nn.Linear(6, 6), Step(torch.zeros(6)), nn.Linear(6, 2))),
}


def weights(network: nn.Module, seed: int, scale: float) -> nn.Module:
    """Random weights and batch statistics; scaled; some exactly 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.randn(value.shape, generator=generator)
            noise[torch.rand(value.shape, generator=generator) < 0.1] = 0.0
            value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else noise * scale)
    return network.eval()


@pytest.mark.parametrize("case", CASES)
@given(data=st.data(), ball=balls(), seed=st.integers(0, 2**16), scale=st.sampled_from([0.3, 1.0]), double=st.booleans())
@settings(max_examples=2, deadline=None)
def test_bounds_hold(case: str, data: st.DataObject, ball: Ball, seed: int, scale: float, double: bool) -> None:
    shape, build = CASES[case]
    network, points = weights(build(), seed, scale), data.draw(centres(shape))
    if double:
        network, points = network.double(), points.double()
    conforms(network, points, ball, seed=seed)


class Cells(nn.Module):
    """Current-based neurons, recurrent neurons and a leaky readout, T steps."""

    def __init__(self, semantics: Spiking, synapse: FactorLeak | EulerLeak) -> None:
        super().__init__()
        self.first, self.second, self.steps = nn.Linear(4, 5), nn.Linear(5, 4), semantics.time_steps
        self.cuba, self.recurrent = CubaLIF(semantics, synapse), RecurrentLIF(4, semantics)
        self.readout, self.logits = LeakyIntegrator(synapse), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        current, states = self.first(x), (None, None, None)
        for _ in range(self.steps):
            cuba, spikes = self.cuba(states[0], current)
            recurrent, spikes = self.recurrent(states[1], self.second(spikes))
            states = (cuba, recurrent, self.readout(states[2], self.logits(spikes)))
        assert states[2] is not None
        return states[2]


@given(
    semantics=spiking(3),
    synapse=st.sampled_from([FactorLeak(0.5), EulerLeak(1e-3, 5e-3)]),
    ball=balls(),
    points=centres((4,)),
    seed=st.integers(0, 2**16),
    double=st.booleans(),
)
@settings(max_examples=7, deadline=None)
def test_bounds_of_spiking_cells_hold(
    semantics: Spiking, synapse: FactorLeak | EulerLeak, ball: Ball, points: Tensor, seed: int, double: bool
) -> None:
    network = weights(Cells(semantics, synapse), seed, 1.0)
    if double:
        network, points = network.double(), points.double()
    conforms(network, points, ball, seed=seed)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=4, deadline=None)
def test_pooled_values_that_tie_with_a_binary_mask(seed: int) -> None:
    """Everything on a grid, and batch norms that change nothing: logits are exactly 0 in places."""
    network = weights(nn.Sequential(PlasticFlex(2, 2, (4, 4), mask="binary"), nn.Conv2d(2, 2, 2)), seed, 1.0)
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_((value * 4).round() / 4 if "norm" not in name else torch.full_like(value, float("var" in name or "weight" in name)))
    points = torch.randint(-4, 5, (2, 2, 4, 4), generator=torch.Generator().manual_seed(seed)) / 4
    for radius in (0.0, 0.25):
        conforms(network, points, LinfBall(radius), seed=seed)


class Mirrored(nn.Module):
    """One routed value: P = x, C = -x."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.routing = MaskRouting(1, 1, 1, "binary")
        self.routing.threshold.data.fill_(threshold)

    def forward(self, x: Tensor) -> Tensor:
        return self.routing(-x, x)


@pytest.mark.parametrize("distance", [0.0, 2.0**-24, -(2.0**-24), 2.0**-20, -(2.0**-20)])
def test_pooled_values_within_rounding_of_a_binary_mask(distance: float) -> None:
    conforms(Mirrored(1.0 - distance).eval(), torch.ones(1, 1, 1, 1), LinfBall(0.0))


class Compared(nn.Module):
    def __init__(self, comparison: Callable[..., Tensor]) -> None:
        super().__init__()
        self.comparison = comparison

    def forward(self, x: Tensor) -> Tensor:
        return self.comparison(x, 0.25).float() - 0.5 * self.comparison(x[:, :1], x).float()


@pytest.mark.parametrize("comparison", [torch.gt, torch.ge, torch.lt, torch.le])
@pytest.mark.parametrize(
    "ball", [LinfBall(0.0), LinfBall(0.5, -1.0, 0.25), LinfBall(0.5, 0.25, 1.0)], ids=["tie", "tie above", "tie below"]
)
def test_comparisons_that_tie(comparison: Callable[..., Tensor], ball: LinfBall) -> None:
    conforms(Compared(comparison).eval(), torch.full((1, 3), 0.25), ball)


@pytest.mark.parametrize("comparison", [">", ">="])
@pytest.mark.parametrize(
    "ball", [LinfBall(0.0), LinfBall(0.5, -1.0, 0.25), LinfBall(0.5, 0.25, 1.0)], ids=["tie", "tie above", "tie below"]
)
def test_steps_that_tie(comparison: Comparison, ball: LinfBall) -> None:
    conforms(nn.Sequential(Step(0.25, comparison)).eval(), torch.full((1, 3), 0.25), ball)
