"""Training's routing rule: the engine's bounds, and their derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import rule_for
from neurocert.certify.training.routing import routing_bounds
from neurocert.models.layers.plastic_flex import MaskActivation, MaskRouting


def routing(*, rising: bool, mask: MaskActivation = "hard-sigmoid", slope: float = 6.0, logits_norm: bool = True) -> MaskRouting:
    """A layer of two channels whose masks have kinks all over [-2, 2]."""
    layer = MaskRouting(2, 4, 4, mask, slope=slope, logits_norm=logits_norm).double().eval()
    with torch.no_grad():
        layer.threshold.uniform_(-2, 2)
        if layer.norm is not None:
            layer.norm.weight.uniform_(0.2, 2)
            layer.norm.bias.uniform_(-1, 1)
            if not rising:
                layer.norm.weight[0].neg_()
    return layer


def boxes() -> tuple[Tensor, ...]:
    """C's and P's ends, (3, 2, 4, 4) each."""
    low, other = 2 * torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    return low, low + torch.rand_like(low), other, other + 2 * torch.rand_like(low)


def bounds(layer: MaskRouting, ends: tuple[Tensor, ...]) -> Box:
    (found,) = routing_bounds(layer, (Interval(*ends[:2]), Interval(*ends[2:])))
    return found


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("logits_norm", [True, False])
def test_has_the_engines_bounds(seed: int, logits_norm: bool) -> None:
    torch.manual_seed(seed)
    layer, ends = routing(rising=True, logits_norm=logits_norm), boxes()
    rule = rule_for(layer)
    assert rule is not None
    (expected,) = rule.interval(layer, (Interval(*ends[:2]), Interval(*ends[2:])))
    for found, end in zip(bounds(layer, ends), expected, strict=True):
        assert (found - end).abs().max() <= 1e-13


@pytest.mark.parametrize("seed", range(10))
def test_gradients_are_those_of_the_bounds(seed: int) -> None:
    """By finite differences, in the four ends, the thresholds, and the scale and shift of the logits."""
    torch.manual_seed(seed)
    layer = routing(rising=True)

    def function(*values: Tensor) -> Box:
        given = dict(zip((name for name, _ in layer.named_parameters()), values[4:], strict=True))
        return torch.func.functional_call(Bounds(layer), {f"layer.{name}": value for name, value in given.items()}, values[:4])

    points = [value.detach().clone().requires_grad_() for value in (*boxes(), *layer.parameters())]
    assert torch.autograd.gradcheck(function, points, eps=1e-7, atol=1e-5)


class Bounds(torch.nn.Module):
    """The rule as a function of a layer's parameters."""

    def __init__(self, layer: MaskRouting) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *ends: Tensor) -> Box:
        return bounds(self.layer, ends)


@pytest.mark.parametrize(("mask", "rising"), [("hard-sigmoid", False), ("sigmoid", True), ("binary", True)])
def test_other_masks_have_the_engines_rule(mask: MaskActivation, rising: bool) -> None:
    torch.manual_seed(0)
    layer, ends = routing(rising=rising, mask=mask), boxes()
    rule = rule_for(layer)
    assert rule is not None
    (expected,) = rule.interval(layer, (Interval(*ends[:2]), Interval(*ends[2:])))
    assert all(torch.equal(found, end) for found, end in zip(bounds(layer, ends), expected, strict=True))
