from __future__ import annotations

import pytest
import torch

from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.conv_net import ConvNet
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

SPIKING = Spiking(0.25, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")


def network(spiking: Spiking | None, kernel_size: int = 3, blocks: tuple[tuple[int, int], ...] = ((4, 2), (6, 1))) -> ConvNet:
    torch.manual_seed(3)
    space, classes = InputSpace((2, 7, 6), 0.0, 1.0), ("a", "b", "c")
    return ConvNet(
        space, Semantics(spiking), classes, mean=[0.3, 0.4], std=[0.2, 0.1], blocks=blocks, hidden=(5,), kernel_size=kernel_size
    ).eval()


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@torch.no_grad()
def test_every_kernel_fits_what_follows(kernel_size: int) -> None:
    assert network(None, kernel_size, blocks=((4, 8), (6, 1)))(torch.rand(4, 2, 7, 6)).shape == (4, 3)


@torch.no_grad()
def test_static_network_is_a_stack_of_relus() -> None:
    net, image = network(None), torch.rand(4, 2, 7, 6)
    signal = net.normalise(image)
    for synapse in net.synapses:
        signal = synapse(signal).clamp(min=0)
    assert torch.equal(net(image), net.readout(signal))


@torch.no_grad()
def test_spiking_network_is_the_unrolled_one() -> None:
    net, image = network(SPIKING), torch.rand(8, 2, 7, 6)
    potentials, outputs = [torch.zeros(())] * len(net.synapses), []
    for _ in range(SPIKING.time_steps):
        signal = net.normalise(image)
        for layer, synapse in enumerate(net.synapses):
            potential = 0.5 * potentials[layer] + synapse(signal)
            signal = (potential > 0.25).float()
            potentials[layer] = torch.where(potential > 0.25, torch.zeros(()), potential)
        outputs.append(net.readout(signal))
    assert torch.allclose(net(image), torch.stack(outputs).mean(0), atol=1e-6)
