"""What has no bound says so before anything is computed, and what leaves a function's domain fails instead of being bounded wrongly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.arithmetic import FLOAT32
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.errors import InputError, NumericalFailure, UnsupportedLayer
from neurocert.perturbations.balls import LinfBall

SHAPE = (2, 3, 4)


class Function(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(2, 2))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> object:
        return self.function(x)


class Counting(Function):
    """Changes its own state."""

    def forward(self, x: Tensor) -> object:
        self.count.add_(1.0)
        return x * self.count


class Attending(nn.Module):
    def __init__(self, *, batch_first: bool = True, **call: object) -> None:
        super().__init__()
        self.attention, self.call = nn.MultiheadAttention(4, 2, batch_first=batch_first), call

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x[:, 0], x[:, 0], x[:, 0], **self.call)[0]


def _scaled_by_samples(x: Tensor) -> Tensor:
    return x * x.shape[0]


def _changed_under_another_name(x: Tensor) -> Tensor:
    y = x * 2
    y.view(-1, 24).add_(1)
    return y


def _added_to(x: Tensor) -> Tensor:
    y = x * 2
    z = y
    z += 1
    return y


REFUSED: dict[str, tuple[Callable[..., object], str]] = {
    "literal number of samples": (lambda x: x.view(2, -1), "samples"),
    "samples moved": (lambda x: x.permute(1, 0, 2, 3), "samples"),
    "samples merged": (lambda x: x.reshape(-1, 4), "expected the samples first"),
    "sum over samples": (lambda x: x - x.mean(0, keepdim=True), "expected the samples first"),
    "sum over everything": (lambda x: x - x.sum(), "expected the samples first"),
    "number of samples": (_scaled_by_samples, "BatchSize"),
    "samples compared": (lambda x: x - x.flip(0), "mixes samples"),
    "broadcast over samples": (lambda x: x.flatten(1) + x[:, 0, 0, :1].expand(-1, 24).sum(1), "rejects inputs|as many dimensions"),
    "random": (lambda x: x + torch.rand(4), "random numbers"),
    "random mask": (lambda x: functional.dropout(x, 0.5), "at random"),
    "narrow type": (lambda x: x.half(), "narrower type"),
    "rounded in between": (lambda x: x.float() * 2, "narrower type"),
    "in place, read again": (lambda x: x.add_(1) + x, "in place"),
    "in place, another name": (_changed_under_another_name, "in place"),
    "in place, seen as a new tensor": (_added_to, "something else than the network"),
    "infinite fill": (lambda x: functional.pad(x, (1, 1), value=float("-inf")), "not finite"),
    "bicubic": (lambda x: functional.interpolate(x, 6, mode="bicubic"), "mode is 'bicubic'"),
    "antialiased": (lambda x: functional.interpolate(x, 2, mode="bilinear", antialias=True), "antialiasing"),
    "weights from the input": (lambda x: functional.linear(x, x[0, 0]), "samples first|depend on the input"),
    "exponent": (lambda x: x**5, "the exponent is 5"),
    "exponent from the input": (lambda x: 2**x, "the exponent"),
    "ends of a clip": (lambda x: x.clamp(2.0, 1.0), "expected low <= high"),
    "clip by the input": (lambda x: x.clamp(min=x), "not finite numbers"),
    "reduced maximum": (lambda x: x.max(1)[0], "expected two tensors"),
    "equality": (lambda x: (x == 1).float(), "no rule"),
    "softmax over samples": (lambda x: x.softmax(0), "other than the samples"),
    "masked attention": (lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True), "masked attention"),
    "pooling with indices": (lambda x: functional.max_pool1d(x.flatten(2), 2, ceil_mode=True), "ceil_mode"),
    "uneven pooling": (lambda x: functional.adaptive_max_pool2d(x, (2, 2)), "expected a divisor"),
    "batch statistics": (lambda x: functional.batch_norm(x, None, None, training=True), "depends on the batch"),
    "a module that is not its own": (lambda x: functional.relu(nn.ReLU()(x)), "cannot be captured"),
    "constant": (lambda x: torch.zeros(2, 3), "does not depend on its input|depends on its input"),
    "alpha": (lambda x: torch.add(x, x, alpha=2), "options"),
    "rounded quotient": (lambda x: torch.div(x, 2.0, rounding_mode="floor"), "options"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_functions(case: str) -> None:
    function, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        capture(Function(function).eval(), SHAPE)


MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "sequence first": (lambda: Attending(batch_first=False, need_weights=False), "batch_first is False"),
    "attention mask": (lambda: Attending(attn_mask=torch.zeros(3, 3), need_weights=False), "masked attention"),
    "attention weights": (Attending, "need_weights=False"),
    "state": (lambda: Counting(lambda x: x), "in place"),
    "running instance norm": (lambda: nn.Sequential(nn.InstanceNorm2d(2, track_running_stats=True)), "running statistics"),
    "parameter of a unit": (lambda: nn.Sequential(nn.ELU(-1.0)), "positive numbers"),
    "bicubic": (lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic")), "mode is 'bicubic'"),
    "reflecting convolution": (lambda: nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")), "padding mode"),
}


@pytest.mark.parametrize("case", MODULES)
def test_refused_modules(case: str) -> None:
    build, words = MODULES[case]
    with pytest.raises(UnsupportedLayer, match=words):
        capture(build().eval(), SHAPE)


def test_everything_that_is_missing_is_named_at_once() -> None:
    network = nn.Sequential(nn.Softsign(), Attending(), Function(lambda x: x**5)).eval()
    with pytest.raises(UnsupportedLayer, match=r"3 layers cannot.*0 \(Softsign\): no rule; 1\.attention.*need_weights.*exponent"):
        capture(network, SHAPE)


def test_in_place_operations_that_nobody_sees_are_welcome() -> None:
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True), nn.Dropout(inplace=True)).eval()
    assert capture(network, SHAPE).shape(capture(network, SHAPE).output) == SHAPE


@pytest.mark.parametrize(
    "function",
    [torch.log, torch.sqrt, torch.rsqrt, torch.reciprocal, lambda x: 1 / x, lambda x: x / x, lambda x: x**-0.5, lambda x: (1000 * x).exp()],
    ids=["log", "sqrt", "rsqrt", "reciprocal", "inverse", "quotient", "power", "overflow"],
)
def test_outside_of_the_domain_there_is_no_bound(function: Callable[[Tensor], Tensor]) -> None:
    graph = capture(Function(function).eval(), (3,))
    ball = LinfBall(0.5)
    for centre in (0.25, -1.0, 0.5):
        points = torch.tensor([[centre, 2.0, 3.0]])
        with pytest.raises(NumericalFailure):
            Propagation(graph, InputSet(ball, points), FLOAT32, refine=True)
