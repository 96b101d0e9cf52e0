"""Networks whose float32 evaluation leaves the real one by more than a plain reading suggests: the bounds must hold it all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.arithmetic import FLOAT32
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.perturbations.balls import LinfBall

TINY, HUGE = 1e-39, 1e35
"""Below the least normal float32, and what makes it matter."""


class Of(nn.Module):
    """A function of the input and of parameters as a network."""

    def __init__(self, function: Callable[..., Tensor], *parameters: Tensor) -> None:
        super().__init__()
        self.function, self.values = function, nn.ParameterList(parameters)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.values)


def subnormal_weights() -> nn.Module:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    for layer, weight in zip(network, (TINY, HUGE), strict=True):
        layer.weight.data = torch.tensor([[weight]])
    return network


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def spread(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, 1000)[None]


TRAPS: dict[str, tuple[nn.Module, Tensor]] = {
    **{f"slope {slope}": (nn.LeakyReLU(slope), spread(-2, 0)) for slope in (0.01, 0.1, 0.3, 0.7)},
    "hard sigmoid near its kink": (nn.Hardsigmoid(), spread(-3, -2.999999)),
    "padding far above the elements": (nn.MaxPool2d(3, 2, 1), torch.full((1, 1, 4, 4), -1e17)),
    "a sum of weights that rounds": (Of(lambda x, p, q: x * ((p + q) - p), torch.tensor([1e8]), torch.tensor([1.0])), torch.ones(1, 1)),
    "standardised weights": (Of(lambda x, w: functional.linear(x, w - w.mean(1, keepdim=True)), drawn(4, 50) + 1000), torch.ones(1, 50)),
    "normalised weights": (Of(lambda x, w: functional.linear(x, functional.normalize(w, dim=1)), drawn(4, 50)), torch.ones(1, 50)),
    "a factor that float32 rounds to 0": (Of(lambda x: x * 1e-50 * 1e30), torch.tensor([[1e20]])),
    "a subnormal factor": (Of(lambda x: x * 1e-40 * 1e30), torch.tensor([[1e12]])),
    "subnormal products": (Of(lambda x: (x * x) * 1e30), torch.tensor([[3e-20, -7e-21]])),
    "subnormal weights": (subnormal_weights(), torch.tensor([[1e4]])),
}


def bounds(network: nn.Module, point: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    graph = simplify(capture(network, tuple(point.shape[1:])), FLOAT32)
    units = torch.eye(graph.shape(graph.output).numel(), dtype=torch.float64)[:, None].unflatten(2, graph.shape(graph.output))
    found = Propagation(graph, InputSet(LinfBall(0.0), point), FLOAT32, refine=True)
    yield found.bounds[graph.output].lower.flatten(), found.bounds[graph.output].upper.flatten()
    yield found.lower(graph.output, units)[:, 0], -found.lower(graph.output, -units)[:, 0]


@pytest.mark.parametrize("trap", TRAPS)
@torch.no_grad()
def test_the_computed_value_lies_within_the_bounds(trap: str) -> None:
    network, point = TRAPS[trap]
    value = network.eval()(point).double().flatten()
    for lower, upper in bounds(network, point):
        assert bool(((lower <= value) & (value <= upper)).all())


@torch.no_grad()
def test_what_flushes_to_zero_lies_within_the_bounds() -> None:
    network, point = TRAPS["subnormal weights"]
    assert float(network.eval()(point)) > 0.5
    for lower, upper in bounds(network, point):
        assert float(lower) <= 0.0 <= float(upper)
