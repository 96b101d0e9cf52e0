"""Layers and functions beyond the first ones, each in a small network, against what it computes: no bound may be broken."""

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

from neurocert.certify.testing.conformance import conforms
from neurocert.certify.testing.strategies import balls, centres
from neurocert.perturbations.balls import Ball

IMAGE, SEQUENCE, VECTOR = (2, 4, 4), (3, 4), (6,)
Case = tuple[tuple[int, ...], Callable[[], nn.Module]]


class Of(nn.Module):
    """A function after a linear layer that correlates its inputs, with parameters ``w`` to use as constants."""

    def __init__(self, shape: tuple[int, ...], function: Callable[..., Tensor], *constants: tuple[int, ...]) -> None:
        super().__init__()
        self.before, self.function = nn.Linear(shape[-1], shape[-1]), function
        self.constants = nn.ParameterList(torch.zeros(size) for size in constants)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.before(x), *self.constants)


class Then(nn.Module):
    """Layers after a linear layer that correlates their inputs."""

    def __init__(self, shape: tuple[int, ...], *layers: nn.Module) -> None:
        super().__init__()
        self.before, self.layers = nn.Linear(shape[-1], shape[-1]), nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.before(x))


def of(shape: tuple[int, ...], function: Callable[..., Any], *constants: tuple[int, ...]) -> Case:
    return shape, lambda: Of(shape, function, *constants)


def then(shape: tuple[int, ...], *layers: Callable[[], nn.Module]) -> Case:
    return shape, lambda: Then(shape, *(layer() for layer in layers))


def _half_turn(x: Tensor) -> Tensor:
    q, k, v = x.unflatten(2, (2, 2)).flatten(2).chunk(3, 1)
    first, rest = x.split([1, 2], 1)
    a, b, c = x.unbind(1)
    front, back = x.tensor_split(2, 2)
    return torch.cat([q, v, k, first, rest, torch.stack([b, c, a], 1), torch.cat([back, front], 2)], 1)


def _folded(x: Tensor) -> Tensor:
    """What asks for the number of samples and for shapes."""
    samples, tokens, size = x.shape
    y = x.view(samples, -1).reshape(x.size(0), tokens, size).view_as(x).reshape_as(x)
    y = torch.reshape(torch.unsqueeze(y, 1), (-1, tokens, size))
    return torch.flatten(torch.unflatten(y, 1, (1, tokens)).squeeze(1).unsqueeze(1), 1).reshape((samples, size, tokens))


def _turned(x: Tensor) -> Tensor:
    y = torch.permute(x.permute(0, 2, 1), (0, 2, 1)).transpose(1, 2)
    y = torch.transpose(y, -1, -2).swapaxes(1, 2).movedim(1, 2)
    return torch.movedim(torch.swapaxes(y, 1, 2), 2, 1).flip(1).roll(1, 2) + torch.roll(torch.flip(x, (2,)), 1, 1)


def _picked(x: Tensor) -> Tensor:
    one = torch.select(x, 1, 0) + x.select(1, 2) - x[:, 1] + torch.narrow(x, 1, 1, 1).squeeze(1) + torch.squeeze(x.narrow(1, 0, 1), 1)
    index = torch.tensor([2, 0])
    return one + x.index_select(1, index)[:, 0] - torch.index_select(x, 1, index)[:, 1] + x[:, -1, ...] * 0.5 + x[:, ::2].sum(1)


def _split(x: Tensor) -> Tensor:
    a, b, c = torch.unbind(x, 1)
    d, e = torch.split(x, 2, 1)
    f = torch.tensor_split(x, 3, 1)[0]
    return torch.chunk(x, 2, 2)[0].flatten(1) + x.chunk(2, 2)[1].flatten(1) + (a + b - c + d[:, 0] + e[:, 0] + f[:, 0]).repeat(1, 2)[:, :6]


def _repeated(x: Tensor) -> Tensor:
    y = x.unsqueeze(1).expand(-1, 2, -1, -1).flatten(1, 2) + torch.tile(x, (1, 2, 1)) - x.tile((2, 1)) + x.repeat(1, 2, 1)
    y = y - torch.repeat_interleave(x, 2, 1) + x.repeat_interleave(2, dim=1)
    return y[:, :1].expand_as(x) * 0.5 + x


def _joined(x: Tensor, token: Tensor) -> Tensor:
    tokens = torch.cat([token.expand(x.shape[0], -1, -1), x, x.new_zeros(x.size(0), 1, 4)], dim=1)
    stacked = torch.hstack([torch.stack([x, -x], 1).flatten(1, 2), torch.concat([x, x], 1), torch.concatenate([x, x], 1)])
    return torch.cat([tokens, stacked, torch.dstack([x, x])[..., :4]], 1)


CASES: dict[str, Case] = {
    "conv1d": then((2, 7), lambda: nn.Conv1d(2, 4, 3, 2, 2, 2, 2), nn.ReLU, lambda: nn.Conv1d(4, 2, 2, padding="same")),
    "conv1d, valid": then((2, 7), lambda: nn.Conv1d(2, 3, 3, padding="valid"), nn.ReLU),
    "conv2d, same": then(
        IMAGE, lambda: nn.Conv2d(2, 2, (2, 3), padding="same"), nn.ReLU, lambda: nn.Conv2d(2, 2, 3, padding="same", groups=2)
    ),
    "conv3d": then((1, 3, 3, 3), lambda: nn.Conv3d(1, 2, 2, 1, 1), lambda: nn.BatchNorm3d(2), nn.ReLU, lambda: nn.AvgPool3d(2)),
    "functional convolutions": of(
        IMAGE,
        lambda x, w, b, v: functional.linear(functional.conv2d(x, w, b, padding=1), v).relu(),
        (3, 2, 3, 3),
        (3,),
        (2, 4),
    ),
    "functional convolutions, other": of(
        (2, 3, 3),
        lambda x, w, v: (
            functional.conv1d(x.flatten(2), v, stride=2).flatten(1).sum(1, keepdim=True)
            + functional.conv3d(x.unsqueeze(1), w, padding="same").flatten(1)
        ),
        (1, 1, 2, 2, 2),
        (3, 2, 4),
    ),
    "average pools": then(
        IMAGE,
        lambda: nn.AdaptiveAvgPool2d((3, 2)),
        nn.ReLU,
        lambda: nn.Flatten(2),
        lambda: nn.AvgPool1d(3, 2, 1),
        lambda: nn.AdaptiveAvgPool1d(2),
    ),
    "average pools, functional": of(
        IMAGE,
        lambda x: (
            functional.avg_pool2d(x, 2).relu().flatten(1)
            + functional.adaptive_avg_pool2d(x, 2).flatten(1)
            + functional.adaptive_avg_pool1d(functional.avg_pool1d(x.flatten(2), 3, 2), 4).flatten(1)
        ),
    ),
    "average pools in 3d": of((1, 2, 2, 4), lambda x: functional.adaptive_avg_pool3d(functional.avg_pool3d(x, (1, 2, 2)).relu(), 1)),
    "average pools in 3d, modules": then((1, 2, 2, 4), lambda: nn.AvgPool3d((1, 1, 2)), nn.ReLU, lambda: nn.AdaptiveAvgPool3d((1, 2, 1))),
    "sums and means": of(IMAGE, lambda x: (x.mean((2, 3)) + torch.mean(x, (2, 3))).relu() - x.sum(3).sum(dim=2) + torch.sum(x, (2, 3))),
    "resize": then(
        IMAGE,
        lambda: nn.Upsample(scale_factor=2),
        nn.ReLU,
        lambda: nn.Upsample(size=(5, 3), mode="bilinear"),
        lambda: nn.UpsamplingNearest2d(6),
    ),
    "resize, functional": of(
        IMAGE,
        lambda x: (
            functional.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True).relu()
            + functional.interpolate(x.flatten(2), 6, mode="linear").unsqueeze(2)
        ),
    ),
    "resize, corners": then(IMAGE, lambda: nn.UpsamplingBilinear2d(7)),
    "max pools": then(
        IMAGE, lambda: nn.MaxPool2d(3, 1, 1), lambda: nn.AdaptiveMaxPool2d((2, None)), lambda: nn.Flatten(2), lambda: nn.MaxPool1d(3, 2, 1)
    ),
    "max pools, functional": of(
        IMAGE,
        lambda x: (
            functional.max_pool2d(x, 2).flatten(1)
            + functional.adaptive_max_pool2d(x, (2, 2)).flatten(1)
            - functional.max_pool1d(x.flatten(2), 4).flatten(1)
        ),
    ),
    "parts": of(SEQUENCE, _half_turn),
    "shapes": of(SEQUENCE, _folded),
    "axes": of(SEQUENCE, _turned),
    "elements": of(SEQUENCE, _picked),
    "pieces": of(SEQUENCE, _split),
    "repetitions": of(SEQUENCE, _repeated),
    "concatenations": of(SEQUENCE, _joined, (1, 1, 4)),
    "stacked upright": of(IMAGE, lambda x: functional.unfold(x, 2, stride=2).relu().flatten(1) + x.unfold(2, 2, 2).flatten(1)),
    "unfold": then(IMAGE, lambda: nn.Unfold(3, padding=1), nn.ReLU),
    "pads": of(IMAGE, lambda x: functional.pad(x, (1, 0, 2, 1), value=0.3).relu() - functional.pad(x, (1, 0, 2, 1), "replicate")),
    "pad modules": then(
        IMAGE,
        lambda: nn.ConstantPad2d(1, 0.1),
        lambda: nn.ReflectionPad2d(1),
        nn.ReLU,
        lambda: nn.ReplicationPad2d(1),
        lambda: nn.CircularPad2d(1),
    ),
    "pad modules, zero": then(IMAGE, lambda: nn.ZeroPad2d(1), nn.ReLU),
    "pad modules in 1d": then(
        SEQUENCE, lambda: nn.ZeroPad1d(1), lambda: nn.ConstantPad1d(1, -0.2), lambda: nn.ReflectionPad1d(1), lambda: nn.ReplicationPad1d(1)
    ),
    "pad modules, circular": then(SEQUENCE, lambda: nn.CircularPad1d(1), nn.ReLU),
    "pad modules in 3d": then((1, 2, 2, 2), lambda: nn.ZeroPad3d(1), nn.ReLU, lambda: nn.ConstantPad3d(1, 0.5)),
    "shuffles": then((4, 2, 2), lambda: nn.PixelShuffle(2), nn.ReLU, lambda: nn.PixelUnshuffle(2), lambda: nn.ChannelShuffle(2)),
    "shuffles, functional": of(
        (4, 2, 2), lambda x: functional.channel_shuffle(functional.pixel_unshuffle(functional.pixel_shuffle(x, 2).relu(), 2), 2)
    ),
    "unflatten": then(VECTOR, lambda: nn.Unflatten(1, (2, 3)), nn.ReLU, nn.Flatten),
    "unchanged": then(IMAGE, nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.ReLU),
    "unchanged, others": then((2, 7), nn.Dropout1d, nn.ReLU),
    "unchanged in 3d": then((1, 2, 2, 2), nn.Dropout3d, nn.ReLU),
    "unchanged, functional": of(VECTOR, lambda x: functional.dropout(x.contiguous().clone(), training=False).detach() - torch.clone(x)),
    "unchanged, detached": of(VECTOR, lambda x: torch.detach(x).relu() + x.type_as(x) + x.to(x.dtype)),
    "clips": of(
        VECTOR,
        lambda x: (
            x.clamp(-0.1, 0.3)
            + torch.clamp(x, min=0.1)
            - x.clamp_min(0.2)
            + x.clamp_max(max=0.05)
            + torch.clip(x, -0.3, 0.0)
            - x.clip(max=0.2)
        ),
    ),
    "clips, functional": of(
        VECTOR,
        lambda x: (
            functional.hardtanh(x, -0.2, 0.7)
            + functional.relu6(9 * x)
            - functional.hardsigmoid(5 * x)
            + torch.clamp_min(x, -0.1)
            - torch.clamp_max(x, 0.1)
        ),
    ),
    "rectifiers": of(VECTOR, lambda x: functional.leaky_relu(x, -0.3) + torch.abs(x) - abs(x - 0.1) + x.abs() - x.clone().relu_()),
    "rectifiers, learned": then(IMAGE, lambda: nn.PReLU(2), nn.PReLU),
    "rectifiers, learned, functional": of(IMAGE, functional.prelu, (2,)),
    "tanh": then(VECTOR, nn.Tanh, lambda: nn.Linear(6, 3), nn.Tanh),
    "tanh, functional": of(VECTOR, lambda x: torch.tanh(x) - (3 * x).tanh() + functional.tanh(x - 0.3)),
    "error function": of(VECTOR, lambda x: torch.erf(x) - (3 * x).erf() + torch.special.erf(x - 0.2) + torch.special.ndtr(2 * x)),
    "gelu": then(VECTOR, nn.GELU, lambda: nn.Linear(6, 4), lambda: nn.GELU(approximate="tanh")),
    "gelu, functional": of(VECTOR, lambda x: functional.gelu(x) - functional.gelu(2 * x, approximate="tanh")),
    "swish": then(VECTOR, nn.SiLU, nn.Hardswish),
    "swish, functional": of(VECTOR, lambda x: functional.silu(x) - functional.hardswish(4 * x)),
    "exponential units": then(VECTOR, lambda: nn.ELU(1.5), lambda: nn.Linear(6, 4), lambda: nn.CELU(0.5), nn.SELU),
    "exponential units, functional": of(
        VECTOR, lambda x: functional.elu(x, 0.3) - functional.celu(x, 2.0) + functional.selu(x) + torch.celu(x) - torch.selu(x)
    ),
    "softplus": then(VECTOR, lambda: nn.Softplus(2.0, 3.0), lambda: nn.Linear(6, 4), nn.LogSigmoid),
    "softplus, functional": of(VECTOR, lambda x: functional.softplus(x) - functional.softplus(x, 4.0, 1.0) + functional.logsigmoid(x)),
    "exponentials": of(VECTOR, lambda x: torch.exp(x.tanh()) + x.sigmoid().exp() + torch.log(x.abs() + 0.5) - (x.abs() + 0.5).log()),
    "powers": of(VECTOR, lambda x: x**2 - torch.square(x) + x.square() * 0.1 + torch.pow(x, 3) * 0.1 - x.pow(4) * 0.01),
    "roots": of(
        VECTOR,
        lambda x: torch.sqrt(x.abs() + 0.5) - (x.abs() + 0.2).sqrt() + torch.rsqrt(x.abs() + 1) + (x.abs() + 0.5).rsqrt(),
    ),
    "inverses": of(
        VECTOR,
        lambda x: (
            torch.reciprocal(x.abs() + 1)
            - (x.abs() + 0.5).reciprocal()
            + 2 / (x.abs() + 0.5)
            + (x.abs() + 1) ** -1
            - torch.div(-3.0, x.abs() + 1)
        ),
    ),
    "products": of(VECTOR, lambda x: x * x.flip(1) + torch.mul(x, x.roll(1, 1)) - x.mul(x[:, :1])),
    "products, in place": of(VECTOR, lambda x: operator.imul(x + 0.5, x.flip(1))),
    "quotients": of(
        VECTOR,
        lambda x: x / (x.abs() + 0.5) + torch.div(x, x[:, :1].abs() + 1) - x.div(x.abs() + 1) + torch.true_divide(x, x.abs() + 2),
    ),
    "quotients, in place": of(VECTOR, lambda x: operator.itruediv(x + 0.5, x.flip(1).abs() + 0.5)),
    "broadcast sums": of(IMAGE, lambda x, w: (x + x.mean((2, 3), keepdim=True)).relu() - w * x - (w - x[:, :1]), (2, 1, 1)),
    "matrix products": of(SEQUENCE, lambda x: x @ x.mT + torch.matmul(x, x.transpose(1, 2)) - torch.bmm(x, x.mT).relu()),
    "matrix products, methods": of((2, 3, 4), lambda x: x.matmul(x.mT) + x.flatten(1, 2).bmm(x.flatten(1, 2).mT)[:, :3, :3].unsqueeze(1)),
    "matrix products with constants": of(
        SEQUENCE, lambda x, w, v: (v @ x @ w).relu() + torch.matmul(v, x) @ w - (v @ x).matmul(w), (4, 2), (2, 3)
    ),
    "larger and smaller": of(
        VECTOR,
        lambda x, w: (
            torch.maximum(x, x.flip(1))
            - torch.minimum(x, w)
            + torch.max(x, x[:, :1])
            - x.max(w)
            + torch.min(x, x.roll(1, 1))
            - x.min(x.flip(1))
            + x.maximum(w)
            - x.minimum(x[:, 1:2])
        ),
        (6,),
    ),
    "softmax": then(SEQUENCE, lambda: nn.Softmax(-1), lambda: nn.Linear(4, 4), lambda: nn.Softmax(1)),
    "softmax, functional": of(SEQUENCE, lambda x: functional.softmax(x, 1) + torch.softmax(3 * x, -1) - x.softmax(dim=2)),
    "log-softmax": then(VECTOR, lambda: nn.LogSoftmax(1)),
    "log-softmax, functional": of(SEQUENCE, lambda x: functional.log_softmax(x, 1) + torch.log_softmax(x, -1) - x.log_softmax(2)),
}
WIDE = ("exponentials", "powers")
"""Cases whose bounds may be infinite on wide boxes."""


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
@given(data=st.data(), ball=balls(), seed=st.integers(0, 2**16), scale=st.sampled_from([0.3, 1.0, 3.0]), double=st.booleans())
@settings(max_examples=2, deadline=None)
def test_bounds_hold(case: str, data: st.DataObject, ball: Ball, seed: int, scale: float, double: bool) -> None:
    shape, build = CASES[case]
    network, points = weights(build(), seed, scale), data.draw(centres(shape))
    if double:
        network, points = network.double(), points.double()
    conforms(network, points, ball, seed=seed)
