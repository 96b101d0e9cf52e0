from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.analysis.hessian import Hessian
from neurocert.analysis.loss_landscape import Landscape, along, landscape, random_direction
from neurocert.analysis.spectrum import random_runs
from neurocert.models.errors import InputError
from neurocert.models.networks.flex_vgg import FlexVGG

Samples = tuple[Tensor, Tensor]
MakeFlex = Callable[[bool], FlexVGG]


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 3, bias=False).double().eval()


def squares(outputs: Tensor, labels: Tensor) -> Tensor:
    return ((outputs - labels[:, None]) ** 2).mean()


def test_surface_of_a_linear_network_is_its_paraboloid() -> None:
    network, inputs, labels = linear(), torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64), torch.tensor([0, 2])
    first, second = random_direction(network, 0), random_direction(network, 1)
    found = landscape(network, inputs, labels, first, second, radius=2.0, points=5, loss=squares)
    assert found.steps == (-2.0, -1.0, 0.0, 1.0, 2.0)
    error = inputs @ network.weight.detach().T - labels[:, None]
    a, b = inputs @ first["weight"].T, inputs @ second["weight"].T
    for y, row in zip(found.steps, found.losses, strict=True):
        for x, loss in zip(found.steps, row, strict=True):
            closed = (error**2 + x * x * a**2 + y * y * b**2 + 2 * x * error * a + 2 * y * error * b + 2 * x * y * a * b).mean()
            assert loss == pytest.approx(float(closed), rel=1e-12)
    assert found.centre == pytest.approx(float((error**2).mean()), rel=1e-12)
    assert found.mean_rise == pytest.approx(2.0 * float((a**2 + b**2).mean()), rel=1e-12)  # the mean of x^2 is 2


def test_filters_of_a_direction_have_the_networks_norms(small_flex: MakeFlex) -> None:
    network = small_flex(False)
    weights, direction = dict(network.named_parameters()), random_direction(network, 5)
    assert direction.keys() == weights.keys()
    for name, weight in weights.items():
        if weight.dim() > 1:
            torch.testing.assert_close(direction[name].flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
        else:
            assert not direction[name].any()


def test_a_seed_gives_its_landscape_again_and_the_network_stays(samples: Samples, small_flex: MakeFlex) -> None:
    network = small_flex(True)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}

    def draw(seed: int) -> Landscape:
        return landscape(network, *samples, random_direction(network, seed), random_direction(network, seed + 1), points=3)

    assert draw(0) == draw(0) != draw(2)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    with torch.no_grad():
        assert draw(0).centre == pytest.approx(float(nn.functional.cross_entropy(network(samples[0]), samples[1])))


def test_curvature_along_an_eigenvector_is_its_eigenvalue(samples: Samples) -> None:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Tanh(), nn.Linear(2, 3)).double().eval()
    (run,) = random_runs(Hessian(network, *samples), 60, 1, seed=0)
    first, second = along(network, run.vectors[0]), along(network, run.vectors[1])
    found = landscape(network, *samples, first, second, radius=1e-4, points=3)
    length = math.sqrt(sum(float(weight.detach().square().sum()) for weight in network.parameters() if weight.dim() > 1))
    assert math.sqrt(sum(float(part.square().sum()) for part in first.values())) == pytest.approx(length)
    bend = (found.losses[1][0] - 2 * found.centre + found.losses[1][2]) / (1e-4 * length) ** 2
    assert bend == pytest.approx(float(run.values[0]), rel=1e-4)
    assert found.cosine == pytest.approx(0.0, abs=1e-9)


def test_what_cannot_be_used_is_refused() -> None:
    network, inputs, labels = linear(), torch.ones(2, 2, dtype=torch.float64), torch.tensor([0, 1])
    plane = random_direction(network, 0), random_direction(network, 1)
    with pytest.raises(InputError, match="points is 4, expected an odd number"):
        landscape(network, inputs, labels, *plane, points=4)
    with pytest.raises(InputError, match="radius is 0"):
        landscape(network, inputs, labels, *plane, radius=0.0)
    with pytest.raises(InputError, match="no sample"):
        landscape(network, inputs[:0], labels[:0], *plane)
    with pytest.raises(InputError, match="training mode"):
        landscape(linear().train(), inputs, labels, *plane)
    with pytest.raises(InputError, match="not finite everywhere within a radius of 1e\\+200"):
        landscape(network, inputs, labels, *plane, radius=1e200, loss=squares)
    with pytest.raises(InputError, match=r"vector: got shape \(5,\), expected \(6,\)"):
        along(network, torch.ones(5))
    with pytest.raises(InputError, match="vector is 0"):
        along(network, torch.zeros(6))
