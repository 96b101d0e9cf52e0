from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

SPIKING = Spiking(0.25, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 5, "direct", "mean")


def network(spiking: Spiking | None, hidden: tuple[int, ...] = (8,), width: float = 1.0) -> FlexVGG:
    torch.manual_seed(3)
    space = InputSpace((1, 8, 8), 0.0, 1.0)
    return FlexVGG(
        space, Semantics(spiking), ("a", "b", "c"), mean=[0.3], std=[0.2], blocks=[(4, 1), (6, 2)], hidden=hidden, width=width
    ).eval()


def literal_spiking(net: FlexVGG, image: Tensor, steps: int) -> list[Tensor]:
    """Logits of each step: the same image presented anew, a fresh current through every layer, hard reset to 0, decay 1/2."""
    potentials: list[Tensor] = [torch.zeros(())] * len(net.synapses)
    outputs = []
    for _ in range(steps):
        signal = net.normalise(image)
        for layer, synapse in enumerate(net.synapses):
            potential = 0.5 * potentials[layer] + synapse(signal)
            signal = (potential > 0.25).float()
            potentials[layer] = torch.where(potential > 0.25, torch.zeros(()), potential)
        outputs.append(net.readout(signal))
    return outputs


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
@torch.no_grad()
def test_spiking_network_is_the_unrolled_one(hidden: tuple[int, ...]) -> None:
    net, image = network(SPIKING, hidden), torch.rand(16, 1, 8, 8)
    outputs = literal_spiking(net, image, SPIKING.time_steps)
    assert any(not torch.equal(outputs[0], output) for output in outputs[1:])
    assert torch.allclose(net(image), torch.stack(outputs).mean(0), atol=1e-6)


@torch.no_grad()
def test_sum_readout_is_the_mean_times_the_steps() -> None:
    image = torch.rand(4, 1, 8, 8)
    summed = network(replace(SPIKING, readout="sum"))(image)
    assert torch.allclose(summed, 5 * network(SPIKING)(image), atol=1e-5)


@torch.no_grad()
def test_static_network_is_a_stack_of_relus() -> None:
    net, image = network(None), torch.rand(4, 1, 8, 8)
    signal = net.normalise(image)
    for synapse in net.synapses:
        signal = synapse(signal).clamp(min=0)
    assert torch.equal(net(image), net.readout(signal))


@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch() -> None:
    net, image = network(SPIKING), torch.rand(8, 1, 8, 8)
    assert torch.allclose(net(image)[3:4], net(image[3:4]), atol=1e-6)


def test_width_multiplies_sizes_down_to_one() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in network(None, width=0.5).named_parameters()}
    assert shapes["synapses.0.0.convolution.weight"] == (2, 1, 3, 3)
    assert shapes["synapses.1.0.convolution.weight"] == (3, 2, 3, 3)
    assert shapes["synapses.2.1.weight"] == (4, 3 * 4 * 4)
    assert dict(network(None, width=0.01).named_parameters())["synapses.1.0.convolution.weight"].shape == (1, 1, 3, 3)
