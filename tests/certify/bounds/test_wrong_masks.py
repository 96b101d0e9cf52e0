"""Masks that are not what their layer says: bounded as the network computes them, or refused; never bounded as something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.bounds.graph import capture
from neurocert.certify.errors import UnsupportedLayer
from neurocert.certify.testing.conformance import conforms
from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import MaskActivation, MaskRouting, PlasticFlex
from neurocert.models.layers.step import Step
from neurocert.perturbations.balls import LinfBall

SHAPE = (1, 6, 6)


def network(mask: MaskActivation, change: Callable[[MaskRouting], object]) -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    layer = PlasticFlex(1, 3, (6, 6), stride=2, mask="hard-sigmoid" if mask == "frozen" else mask)
    made = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        if mask == "frozen":
            layer.freeze(torch.rand(3, 3, 3, generator=generator))
        assert isinstance(layer.routing, MaskRouting)
        change(layer.routing)
    return made.eval()


def stored(mask: Tensor) -> Callable[[MaskRouting], object]:
    return lambda routing: setattr(routing, "stored", mask)


def _negative_slope(routing: MaskRouting) -> None:
    routing.slope = -2.0


SOUND: dict[str, tuple[MaskActivation, Callable[[MaskRouting], object]]] = {
    "frozen at a half": ("frozen", stored(torch.full((3, 3, 3), 0.5))),
    "frozen outside [0, 1]": ("frozen", stored(torch.linspace(-1, 2, 27).reshape(3, 3, 3))),
    "frozen at negative zero": ("frozen", stored(torch.full((3, 3, 3), -0.0))),
    "negative slope": ("hard-sigmoid", _negative_slope),
    "binary, negative slope": ("binary", _negative_slope),
    "ties": ("binary", lambda routing: (setattr(routing, "norm", None), routing.threshold.data.fill_(0.5))),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_the_rule_reads_may_be_anything(name: str) -> None:
    inputs = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    inputs[0, :, 1::2] = 0.5
    conforms(network(*SOUND[name]), inputs, LinfBall(0.1))


def _unscaled_norm(routing: MaskRouting) -> None:
    norm = nn.BatchNorm2d(3, affine=False)
    assert norm.running_mean is not None
    norm.running_mean.fill_(3.0)
    routing.norm = norm


def put(name: str, value: object) -> Callable[[MaskRouting], object]:
    return lambda routing: setattr(routing, name, value)


REFUSED: dict[str, tuple[MaskActivation, Callable[[MaskRouting], object], str]] = {
    "never stored": ("frozen", stored(torch.full((3, 3, 3), torch.nan)), "the mask is frozen, but none is stored"),
    "one mask for all positions": ("frozen", stored(torch.ones(3, 1, 1)), r"its mask has .* of shape \(3, 1, 1\)"),
    "one threshold for all positions": ("binary", put("threshold", nn.Parameter(torch.zeros(3, 1, 1))), r"of shape \(3, 1, 1\)"),
    "another gate": ("hard-sigmoid", put("gate", nn.Sigmoid()), "its gate is Sigmoid"),
    "a hard gate": ("hard-sigmoid", put("gate", Step(0.0)), "its gate is Step"),
    "another name": ("hard-sigmoid", put("activation", "sigmoid"), "its gate is Hardsigmoid"),
    "another threshold of the gate": ("binary", put("gate", Step(0.7)), "its gate is Step"),
    "ties the other way": ("binary", put("gate", Step(0.0, ">=")), "its gate is Step"),
    "a norm without scale": ("hard-sigmoid", _unscaled_norm, "its logits' norm is BatchNorm2d"),
    "another norm": ("hard-sigmoid", put("norm", nn.GroupNorm(1, 3)), "its logits' norm is GroupNorm"),
    "another mask method": ("hard-sigmoid", put("mask", torch.ones_like), "its method mask was replaced"),
    "another forward": ("binary", put("forward", lambda convolved, pooled: convolved), "its method forward was replaced"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_rule_does_not_read_may_not_differ(name: str) -> None:
    mask, change, message = REFUSED[name]
    with pytest.raises((UnsupportedLayer, InputError), match=message):
        capture(network(mask, change), SHAPE)


def test_a_replaced_method_of_any_layer_is_refused() -> None:
    made = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    made[0].forward = lambda x: x * 2  # type: ignore[method-assign]
    with pytest.raises(UnsupportedLayer, match="its method forward was replaced"):
        capture(made.eval(), (3,))
