from __future__ import annotations

import pytest
import torch
from torch import nn

from neurocert import certify
from neurocert.analysis.routing import sensitivity
from neurocert.certify.errors import InputError
from neurocert.certify.sensitivity import sensitivity_bounds
from neurocert.models.layers.plastic_flex import RoutingOptions
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

SPIKING = Spiking(0.5, ">", "hard", 0.0, "in-step", FactorLeak(0.95), 3, "direct", "mean")
OPTIONS: dict[str, RoutingOptions] = {"threshold": {}, "convolution": {"logits": "convolution"}, "maximum": {"mixing": "maximum"}}


def network(spiking: Spiking | None, routing: RoutingOptions) -> FlexVGG:
    torch.manual_seed(4)
    inputs = InputSpace((1, 5, 5), 0.0, 1.0)
    return FlexVGG(
        inputs, Semantics(spiking), ("a", "b"), mean=[0.4], std=[0.3], blocks=[(3, 1), (2, 2)], hidden=[], width=1.0, **routing
    ).eval()


@pytest.mark.parametrize("method", ["interval", "linear"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("spiking", [None, SPIKING], ids=["static", "spiking"])
def test_no_input_of_the_set_exceeds_the_bound(spiking: Spiking | None, option: str, method: str) -> None:
    net, ball = network(spiking, OPTIONS[option]), certify.LinfBall(0.05, 0.0, 1.0)
    centres = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    bounds = sensitivity_bounds(net, centres, ball, method)
    assert [bound.layer for bound in bounds] == ["synapses.0.0", "synapses.1.0"]
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        for bound, seen in zip(bounds, sensitivity(net, ball.sample(centres, generator)), strict=True):
            assert (seen.scores <= bound.scores).all()
            assert seen.greatest <= float(bound.greatest.max())
            assert (seen.scores.double().flatten(1).mean(1) <= bound.mean).all()


def test_at_radius_0_the_bound_is_the_sensitivity() -> None:
    net, centres = network(None, {}).double(), torch.rand(2, 1, 5, 5, dtype=torch.float64)
    for bound, seen in zip(sensitivity_bounds(net, centres, certify.LinfBall(0.0)), sensitivity(net, centres), strict=True):
        assert torch.allclose(bound.scores, seen.scores, atol=1e-9)


def test_linear_is_at_least_as_tight() -> None:
    net, centres = network(None, {}), torch.rand(2, 1, 5, 5)
    interval, linear = (sensitivity_bounds(net, centres, certify.LinfBall(0.05), method) for method in ("interval", "linear"))
    assert all((tight.scores <= loose.scores).all() for tight, loose in zip(linear, interval, strict=True))
    assert float(linear[1].greatest.max()) < float(interval[1].greatest.max())


def test_what_has_no_sensitivity() -> None:
    with pytest.raises(InputError, match="network has no PlasticFlex layers"):
        sensitivity_bounds(nn.Linear(2, 2).eval(), torch.zeros(1, 2), certify.LinfBall(0.1))
    with pytest.raises(InputError, match="method is 'exact', expected one of interval, linear"):
        sensitivity_bounds(network(None, {}), torch.zeros(1, 1, 5, 5), certify.LinfBall(0.1), "exact")
