from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.analysis.hessian import CLIP, EXACT, FlatLoss, Hessian
from neurocert.models.errors import InputError
from neurocert.models.layers.surrogate import spike
from neurocert.models.networks.flex_vgg import FlexVGG

Samples = tuple[Tensor, Tensor]
MakeFlex = Callable[[bool], FlexVGG]
DenseHessian = Callable[[nn.Module, Callable[[nn.Module], Tensor]], Tensor]


def dense(hessian: Hessian) -> Tensor:
    return torch.stack([hessian(unit) for unit in torch.eye(hessian.dimension, dtype=hessian.dtype)])


def smooth_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Tanh(), nn.Linear(2, 3)).double().eval()


class Step(nn.Module):
    """Two linear layers with a hard step between them."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = nn.Linear(64, 4), nn.Linear(4, 3)
        self.step = step

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.step(self.first(inputs.flatten(1))))


def test_products_are_those_of_the_dense_matrix(samples: Samples, dense_hessian: DenseHessian) -> None:
    network = smooth_network()
    hessian = Hessian(network, *samples)
    expected = dense_hessian(network, lambda moved: functional.cross_entropy(moved(samples[0]), samples[1]))
    assert hessian.derivative == EXACT
    assert hessian.dimension == len(expected) == 139
    torch.testing.assert_close(dense(hessian), expected, rtol=1e-10, atol=1e-12)


def test_another_loss_has_another_hessian(samples: Samples) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1, bias=False)).double().eval()
    inputs = samples[0]
    hessian = Hessian(network, inputs, samples[1], lambda out, labels: ((out[:, 0] - labels) ** 2).mean())
    flat = inputs.flatten(1)
    torch.testing.assert_close(dense(hessian), 2 * flat.T @ flat / len(flat), rtol=1e-12, atol=1e-14)


def test_gradient_of_a_flex_network_is_its_slope_and_product_its_bend(samples: Samples, small_flex: MakeFlex) -> None:
    network = small_flex(False)
    hessian = Hessian(network, *samples)
    assert hessian.derivative == EXACT
    direction = torch.randn(hessian.dimension, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights, step = list(network.parameters()), 1e-6

    def gradient_at(distance: float) -> Tensor:
        parts = direction.split([weight.numel() for weight in weights])
        with torch.no_grad():
            for weight, part in zip(weights, parts, strict=True):
                weight.add_(distance * part.view_as(weight))
        loss = functional.cross_entropy(network(samples[0]), samples[1])
        return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])

    above = gradient_at(step)
    below = gradient_at(-2 * step)
    torch.testing.assert_close(hessian.gradient, gradient_at(step), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(hessian(direction), (above - below) / (2 * step), rtol=1e-4, atol=1e-6)


def test_spikes_count_with_their_surrogate_and_the_matrix_is_symmetric(samples: Samples, small_flex: MakeFlex) -> None:
    hessian = Hessian(small_flex(True), *samples)
    assert hessian.derivative == "surrogate (sech-squared)"
    matrix = dense(hessian)
    assert float(matrix.abs().max()) > 1e-3
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-9, atol=1e-12)


def test_a_spike_is_bent_as_its_surrogates_integral(samples: Samples, dense_hessian: DenseHessian) -> None:
    """Around the potential u: the hard spike, plus 0.3 (tanh(v) - tanh(u)) of v = potential - threshold."""
    network = Step(lambda potential: spike(potential, 0.2, ">", "sech-squared")).double().eval()

    def smooth(potential: Tensor) -> Tensor:
        fixed = potential.detach()
        return (fixed > 0.2).double() + 0.3 * (torch.tanh(potential - 0.2) - torch.tanh(fixed - 0.2))

    twin = Step(smooth).double().eval()
    expected = dense_hessian(twin, lambda moved: functional.cross_entropy(moved(samples[0]), samples[1]))
    torch.testing.assert_close(dense(Hessian(network, *samples)), expected, rtol=1e-9, atol=1e-12)


def test_clips_are_named_and_bend_nothing(samples: Samples, dense_hessian: DenseHessian) -> None:
    network = Step(nn.Hardtanh(0.0, 1.0)).double().eval()
    hessian = Hessian(network, *samples)
    assert hessian.derivative == CLIP
    expected = dense_hessian(network, lambda moved: functional.cross_entropy(moved(samples[0]), samples[1]))
    torch.testing.assert_close(dense(hessian), expected, rtol=1e-10, atol=1e-12)


def test_what_the_loss_does_not_use_is_flat_without_being_refused(samples: Samples) -> None:
    network = smooth_network()
    network.register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    hessian = Hessian(network, *samples)
    assert hessian.dimension == 142
    assert torch.equal(dense(hessian)[:3], torch.zeros(3, 142, dtype=torch.float64))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda x: (x > 0).double(), r"depends on first\.weight, first\.bias only through a hard step"),
        (torch.sign, "passes through sign, whose derivative is 0"),
        (lambda x: torch.round(torch.sigmoid(x)), "passes through round, whose derivative is 0"),
        (lambda x: (x > 0).double().detach(), "only through a hard step"),
    ],
)
def test_a_hard_step_without_surrogate_is_refused(samples: Samples, step: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(FlatLoss, match=reason):
        Hessian(Step(step).double().eval(), *samples)


def test_a_network_that_is_one_step_is_refused(samples: Samples) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double().eval()
    with pytest.raises(FlatLoss, match="no derivative in any weight"):
        Hessian(network, *samples, loss=lambda out, labels: (out.argmax(1) != labels).double().mean())


def test_what_cannot_be_used_is_refused(samples: Samples) -> None:
    network, (inputs, labels) = smooth_network(), samples
    with pytest.raises(InputError, match="training mode"):
        Hessian(smooth_network().train(), inputs, labels)
    with pytest.raises(InputError, match="no sample"):
        Hessian(network, inputs[:0], labels[:0])
    with pytest.raises(InputError, match=r"labels: got shape \(5,\), expected \(6,\)"):
        Hessian(network, inputs, labels[:5])
    with pytest.raises(InputError, match="the loss is nan"):
        Hessian(network, inputs * math.nan, labels)
    with pytest.raises(InputError, match=r"vector: got shape \(3,\)"):
        Hessian(network, inputs, labels)(torch.ones(3, dtype=torch.float64))
    with pytest.raises(InputError, match="no trainable weights"):
        Hessian(network.requires_grad_(False), inputs, labels)
