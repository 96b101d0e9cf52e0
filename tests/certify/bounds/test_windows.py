"""Bounds that follow receptive fields are those that follow everything."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import REAL
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.window import Window, tiles, whole
from neurocert.models.layers.lif import LIF
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import PlasticFlex
from neurocert.models.semantics import FactorLeak, Spiking
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall

SHAPE = (2, 9, 8)


class Residual(nn.Module):
    """Two paths with receptive fields of different size, and one that reads the input again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.skip, self.last = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        return torch.relu(self.last(torch.relu(self.second(hidden) + self.skip(x)) - hidden))


class Spikes(nn.Module):
    """A spiking convolution net whose potentials are read out too, so that its first layer stays unrolled."""

    def __init__(self) -> None:
        super().__init__()
        semantics = Spiking(0.3, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 2, "direct", "mean")
        self.first, self.second, self.neuron = nn.Conv2d(2, 3, 3, 2, 1), nn.Conv2d(3, 3, 3, padding=1), LIF(semantics)

    def forward(self, x: Tensor) -> Tensor:
        current, states, total = self.first(x), [None, None], 0.0
        for _ in range(2):
            states[0], spikes = self.neuron(states[0], current)
            states[1], out = self.neuron(states[1], self.second(spikes))
            total = total + out + 0.1 * states[0]
        return total


NETWORKS = {
    "strides, groups, dilation": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, 1, 2, 2, 2),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.1),
        nn.Conv2d(4, 3, 2),
        nn.ReLU(),
    ),
    "more padding than kernel": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 1, 1, 2), nn.ReLU(), nn.Conv2d(3, 3, 3, 1, 3), nn.ReLU(), nn.Conv2d(3, 2, 3)
    ),
    "two paths": Residual,
    "pooling": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2, 2, 1), nn.Conv2d(3, 2, 2), nn.ReLU()
    ),
    "normalised, smooth": lambda: nn.Sequential(
        Normalise((0.1, 0.2), (0.5, 2.0)), nn.Conv2d(2, 3, 3), nn.Sigmoid(), nn.Conv2d(3, 3, 2), nn.Tanh(), nn.AvgPool2d(2), nn.ReLU()
    ),
    "flexible": lambda: nn.Sequential(PlasticFlex(2, 3, SHAPE[1:], stride=1), PlasticFlex(3, 2, SHAPE[1:], stride=1), nn.ReLU()),
    "frozen masks": lambda: nn.Sequential(
        PlasticFlex(2, 3, SHAPE[1:], stride=1, mask="frozen"), PlasticFlex(3, 2, SHAPE[1:], stride=1), nn.ReLU()
    ),
    "spiking": Spikes,
}


def drawn(name: str) -> nn.Module:
    torch.manual_seed(3)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    for path, value in network.named_buffers():
        if path.endswith("stored"):
            value.uniform_()
    return network.eval()


@pytest.mark.parametrize("ball", [LinfBall(0.1), L2Ball(0.3), L1Ball(0.5, 0.0, 1.0)], ids=lambda ball: type(ball).__name__)
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_window_gives_what_all_coefficients_give(name: str, ball: Ball) -> None:
    graph = simplify(capture(drawn(name), SHAPE), REAL)
    centres = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    found, compared = Propagation(graph, InputSet(ball, centres), REAL, refine=True), 0
    for value in [output for node in graph.nodes for output in node.outputs]:
        shape = graph.shape(value)
        for window in list(tiles(shape, 2))[:: max(1, shape[1] * shape[2] // 12)]:
            rows = torch.randn(4, 1, shape[0], window.bottom - window.top, window.right - window.left, dtype=torch.float64)
            everywhere = found.backward(value, whole(shape).take(rows, window))
            torch.testing.assert_close(found.backward(value, rows, window=window), everywhere, rtol=1e-9, atol=1e-9)
            compared += sum(found.backward.reach(value, window)) < sum(found.backward.reach(value, None))
    assert compared >= 5


@torch.no_grad()
def test_each_sample_has_its_own_bounds_however_many_are_done_together(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, centres = simplify(capture(drawn("two paths"), SHAPE), REAL), torch.rand(4, *SHAPE)
    rows = torch.randn(5, 1, *graph.shape(graph.output), dtype=torch.float64)
    together = Propagation(graph, InputSet(LinfBall(0.1), centres), REAL, refine=True).lower(graph.output, rows)
    monkeypatch.setattr("neurocert.certify.bounds.propagation.MEMORY_BUDGET", 1)
    apart = Propagation(graph, InputSet(LinfBall(0.1), centres), REAL, refine=True).lower(graph.output, rows)
    torch.testing.assert_close(together, apart, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (4, 2, 1, 1), (2, 3, 0, 2), (1, 2, 0, 1)])
def test_what_a_window_sees_is_what_moves_it(kernel: int, stride: int, padding: int, dilation: int) -> None:
    convolution = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    x = torch.rand(1, 1, 11, 10, requires_grad=True)
    output = convolution(x)
    window = Window(1, 3, 2, 3)
    (gradient,) = torch.autograd.grad(output[0, :, window.top : window.bottom, window.left : window.right].sum(), x)
    rows, columns = gradient[0, 0].nonzero().unbind(1)
    seen = window.reached_by((kernel,) * 2, (stride,) * 2, (padding,) * 2, (dilation,) * 2).within(x.shape[1:])
    assert (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1) == (
        seen.top,
        seen.bottom,
        seen.left,
        seen.right,
    )


def test_tiles_cover_everything_once() -> None:
    count = torch.zeros(5, 7)
    for window in tiles(torch.Size((3, 5, 7)), 2):
        count[window.top : window.bottom, window.left : window.right] += 1
    assert bool((count == 1).all())


def test_taking_and_giving_back() -> None:
    x, shape = torch.arange(2.0 * 4 * 5).reshape(1, 2, 4, 5) + 1, torch.Size((2, 4, 5))
    window = Window(-1, 2, 3, 6)
    taken = window.take(x, whole(shape))
    assert taken.shape == (1, 2, 3, 3)
    assert bool((taken[..., 1:, :2] == x[..., :2, 3:]).all()) and not bool(taken[..., 0, :].any()) and not bool(taken[..., 2].any())
    back = whole(shape).take(taken, window)
    assert back.shape == x.shape and bool((back[..., :2, 3:] == x[..., :2, 3:]).all()) and int((back != 0).sum()) == 8
