from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from neurocert.analysis.routing import binariness, conv_ratio, mask_sensitivity, routing, sensitivity
from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import MaskRouting, PlasticFlex
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

SPIKING = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")


def flex_vgg(semantics: Semantics) -> FlexVGG:
    torch.manual_seed(0)
    inputs = InputSpace((1, 8, 8), 0.0, 1.0)
    network = FlexVGG(inputs, semantics, ("a", "b", "c"), mean=[0.3], std=[0.3], blocks=[(4, 1), (6, 2)], hidden=[8])
    for module in network.modules():
        if isinstance(module, MaskRouting):  # spreads the masks over [0, 1]
            nn.init.uniform_(module.threshold, 0.0, 3.0)
            nn.init.uniform_(module.norm.weight, 1.0, 4.0)
    return network.eval()


def flex(network: FlexVGG, block: int) -> PlasticFlex:
    layer = network.get_submodule(f"synapses.{block}.0")
    assert isinstance(layer, PlasticFlex)
    return layer


def images() -> Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def literal(mask: Tensor) -> tuple[float, float]:
    """Eq. 3.3 and 3.4, value by value."""
    values = [float(m) for m in mask.flatten()]
    ratio = sum(1 for m in values if m > 0.5) / len(values)
    return ratio, 1 - 4 / len(values) * math.fsum(m * (1 - m) for m in values)


def test_statistics_follow_their_equations() -> None:
    mask = torch.tensor([0.0, 0.5, 0.50001, 0.75, 1.0])
    assert (conv_ratio(mask), binariness(mask)) == pytest.approx(literal(mask), rel=1e-12)
    assert conv_ratio(mask) == pytest.approx(3 / 5)
    assert binariness(torch.tensor([0.0, 1.0, 1.0])) == 1.0
    assert binariness(torch.full((4,), 0.5)) == 0.0


def test_static_network_layer_by_layer() -> None:
    network, inputs = flex_vgg(Semantics(None)), images()
    with torch.no_grad():
        signal = network.normalise(inputs)
        masks = [flex(network, 0).mask(signal), flex(network, 1).mask(torch.relu(network.synapses[0](signal)))]
    found = routing(network, inputs)
    assert [layer.layer for layer in found] == ["synapses.0.0", "synapses.1.0"]
    assert [layer.calls for layer in found] == [1, 1]
    for layer, mask in zip(found, masks, strict=True):
        assert (layer.conv_ratio, layer.binariness) == pytest.approx(literal(mask), rel=1e-9)
        assert 0 < layer.conv_ratio < 1


def test_spiking_network_averages_over_its_steps() -> None:
    network, inputs = flex_vgg(Semantics(SPIKING)), images()
    masks: list[Tensor] = []
    with torch.no_grad():
        current = network.synapses[0](network.normalise(inputs))
        state = None
        for _ in range(SPIKING.time_steps):
            state, spikes = network.neurons[0](state, current)
            masks.append(flex(network, 1).mask(spikes))
    first, second = routing(network, inputs)
    assert (first.calls, second.calls) == (1, 3)
    steps = [literal(mask) for mask in masks]
    assert len(set(steps)) > 1
    assert second.conv_ratio == pytest.approx(sum(step[0] for step in steps) / 3, rel=1e-9)
    assert second.binariness == pytest.approx(sum(step[1] for step in steps) / 3, rel=1e-9)


class Failing(nn.Module):
    """Runs its PlasticFlex layer, then raises."""

    def __init__(self) -> None:
        super().__init__()
        self.flex = PlasticFlex(1, 2, (4, 4))

    def forward(self, image: Tensor) -> Tensor:
        self.flex(image)
        raise RuntimeError("after the layer")


def test_hooks_never_stay() -> None:
    network = flex_vgg(Semantics(SPIKING))
    routing(network, images())
    failing = Failing().eval()
    with pytest.raises(RuntimeError, match="after the layer"):
        routing(failing, torch.rand(1, 1, 4, 4))
    for module in (*network.modules(), *failing.modules()):
        assert not module._forward_pre_hooks and not module._forward_hooks


def test_training_mode_and_empty_inputs_are_refused() -> None:
    network = flex_vgg(Semantics(None))
    with pytest.raises(InputError, match="no sample"):
        routing(network, images()[:0])
    with pytest.raises(InputError, match="training mode"):
        routing(network.train(), images())


def test_network_without_plastic_flex_has_no_routing() -> None:
    assert routing(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval(), images()) == ()


def test_sensitivity_is_the_distance_of_the_branches() -> None:
    network, inputs = flex_vgg(Semantics(None)), images()
    with torch.no_grad():
        signal = network.normalise(inputs)
        second = torch.relu(network.synapses[0](signal))
    found = sensitivity(network, inputs)
    assert [layer.layer for layer in found] == ["synapses.0.0", "synapses.1.0"]
    for measured, features, block in zip(found, (signal, second), (0, 1), strict=True):
        layer = flex(network, block)
        with torch.no_grad():
            c, p = layer.convolution(features), layer.alignment(layer.pooling(features))
        expected = [abs(float(a) - float(b)) for a, b in zip(c.flatten(), p.flatten(), strict=True)]
        assert measured.scores.flatten().tolist() == pytest.approx(expected, rel=1e-6)
        assert measured.mean == pytest.approx(math.fsum(expected) / len(expected), rel=1e-6)
        assert measured.greatest == pytest.approx(max(expected), rel=1e-6)


def test_sensitivity_is_the_mask_derivative() -> None:
    """Eq. A.28: a mask that is off by delta moves the output by delta S."""
    layer = flex(flex_vgg(Semantics(None)), 0)
    features = images()
    with torch.no_grad():
        c, p = layer.branches(features)
        mask = layer.mask(features)
        moved = (mask + 0.25) * c + (0.75 - mask) * p
        assert torch.allclose((moved - layer(features)).abs(), 0.25 * mask_sensitivity(layer, features), atol=1e-6)
