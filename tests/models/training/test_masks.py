from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.data.samples import Samples, make_samples
from neurocert.models.errors import RecipeError
from neurocert.models.layers.plastic_flex import MaskRouting, PlasticFlex
from neurocert.models.masks import flex_layers, observed_masks
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import FactorLeak, Semantics, Spiking
from neurocert.models.training.masks import freeze_masks, mask_penalty, require_masks
from neurocert.models.training.recipe import MasksSpec

LIF = Spiking(0.25, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")


def network(spiking: Spiking | None = None) -> FlexVGG:
    torch.manual_seed(0)
    inputs = InputSpace((1, 4, 4), 0.0, 1.0)
    return FlexVGG(inputs, Semantics(spiking), ("a", "b"), mean=[0.5], std=[0.3], blocks=[(3, 1), (2, 2)], hidden=[])


def samples(count: int = 20) -> Samples:
    return make_samples(torch.rand(count, 1, 4, 4), torch.arange(count) % 2, "random")


def literal_mean(values: Sequence[Tensor]) -> float:
    return sum(float(value.mean()) for value in values) / len(values)


def test_penalty_is_equation_3_5_and_its_l1_variant() -> None:
    masks = [torch.tensor([[0.0, 0.25], [1.0, 0.75]]), torch.tensor([[0.5]])]
    squared = (((0.3**2 + 0.05**2 + 0.7**2 + 0.45**2) / 4) + 0.2**2) / 2
    absolute = (((0.3 + 0.05 + 0.7 + 0.45) / 4) + 0.2) / 2
    assert float(mask_penalty(masks, MasksSpec(weight=2.0, target=0.3))) == pytest.approx(2 * squared)
    assert float(mask_penalty(masks, MasksSpec(weight=2.0, target=0.3, penalty="l1"))) == pytest.approx(2 * absolute)
    assert mask_penalty(masks, None) == mask_penalty(masks, MasksSpec(target=0.3)) == mask_penalty([], MasksSpec(weight=1.0)) == 0.0


@pytest.mark.parametrize(("spiking", "rows"), [(None, [5, 5]), (LIF, [5, 15])], ids=["static", "spiking"])
def test_masks_are_observed_with_their_gradient(spiking: Spiking | None, rows: list[int]) -> None:
    net = network(spiking)
    with observed_masks(net) as masks:
        net(torch.rand(5, 1, 4, 4))
    assert [len(mask) for mask in masks] == rows
    mask_penalty(masks, MasksSpec(weight=1.0, target=1.0)).backward()  # type: ignore[union-attr]
    for layer in flex_layers(net).values():
        assert isinstance(layer.routing, MaskRouting)
        assert layer.routing.threshold.grad is not None and layer.routing.threshold.grad.abs().sum() > 0
    net(torch.rand(5, 1, 4, 4))
    assert len(masks) == len(rows), "still observed after the block"


def test_frozen_masks_are_the_binarised_means() -> None:
    net, data = network(), samples()
    for layer in flex_layers(net).values():
        nn.init.uniform_(layer.routing.threshold, -2, 2)  # type: ignore[union-attr, arg-type]
    net.eval()
    expected = []
    with torch.no_grad():
        signal = net.normalise(data.inputs)
        for synapse in net.synapses:
            layer = synapse[0]  # type: ignore[index]
            assert isinstance(layer, PlasticFlex)
            expected.append((layer.mask(signal).mean(0) >= 0.5).float())
            signal = torch.relu(synapse(signal))
    freeze_masks(net, data)
    for layer, stored in zip(flex_layers(net).values(), expected, strict=True):
        assert isinstance(layer.routing, MaskRouting) and layer.routing.activation == "frozen"
        assert torch.equal(layer.routing.stored, stored)
        assert 0 < stored.mean() < 1


def test_masks_that_are_not_there() -> None:
    net = network()
    require_masks(net, MasksSpec(weight=1.0))
    require_masks(nn.Linear(2, 2), None)
    for spec in (MasksSpec(weight=1.0), MasksSpec(freeze_after=1)):
        with pytest.raises(RecipeError, match="layers without a learned mask"):
            require_masks(nn.Linear(2, 2), spec)
        with pytest.raises(RecipeError, match="layers without a learned mask"):
            require_masks(nn.Sequential(PlasticFlex(1, 2, (4, 4), mixing="maximum")), spec)
