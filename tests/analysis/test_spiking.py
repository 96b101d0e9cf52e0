"""Recorded activity against a loop over the steps, written here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert.analysis.spiking import Activity, record
from neurocert.models.errors import InputError
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import ClipNeurons, FactorLeak, Semantics, Spiking, StepNeurons

LIF = Spiking(0.5, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean")


def network(spiking: Spiking | StepNeurons | ClipNeurons | None) -> FlexVGG:
    torch.manual_seed(0)
    inputs = InputSpace((1, 4, 4), 0.0, 1.0)
    return FlexVGG(inputs, Semantics(spiking), ("a", "b"), mean=[0.5], std=[0.3], blocks=[(3, 1)], hidden=[5], mask="binary").eval()


def literal_spikes(net: FlexVGG, image: Tensor) -> list[list[Tensor]]:
    """Spikes by layer and step."""
    potentials, spikes = [torch.zeros(())] * 2, [[], []]
    for _ in range(4):
        signal = net.normalise(image)
        for layer, synapse in enumerate(net.synapses):
            potential = 0.5 * potentials[layer] + synapse(signal)
            signal = (potential > 0.5).float()
            potentials[layer] = potential * (1 - signal)
            spikes[layer].append(signal)
    return spikes


@torch.no_grad()
def test_record_is_what_the_neurons_said() -> None:
    net, image = network(LIF), torch.rand(6, 1, 4, 4)
    found, expected = record(net, image), literal_spikes(net, image)
    assert [activity.layer for activity in found] == ["neurons.0", "neurons.1"]
    for activity, spikes in zip(found, expected, strict=True):
        assert torch.equal(activity.outputs, torch.stack(spikes))
    assert 0 < found[0].outputs.mean() < 1


def test_statistics_value_by_value() -> None:
    outputs = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])  # 2 steps, 2 samples, 3 neurons
    activity = Activity("neurons.0", outputs)
    assert activity.firing_rates.tolist() == [0.0, 0.25, 0.75]
    assert activity.active_ratio.tolist() == pytest.approx([3 / 6, 1 / 6])
    assert activity.sparsity.tolist() == pytest.approx([3 / 6, 5 / 6])
    steps, neurons = activity.raster(0)
    assert list(zip(steps.tolist(), neurons.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert activity.raster(1)[0].tolist() == [0]
    with pytest.raises(InputError, match=r"sample is 2, expected 0\.\.1"):
        activity.raster(2)


@torch.no_grad()
@pytest.mark.parametrize("spiking", [StepNeurons(0.2, ">", 3, "rate", "mean"), ClipNeurons(3, "latency", "mean")], ids=["step", "clip"])
def test_neurons_without_a_membrane(spiking: StepNeurons | ClipNeurons) -> None:
    found = record(network(spiking), torch.rand(2, 1, 4, 4))
    assert [(activity.layer, *activity.outputs.shape) for activity in found] == [("neurons.0", 3, 2, 3, 4, 4), ("neurons.1", 3, 2, 5)]


def test_nothing_to_record() -> None:
    with pytest.raises(InputError, match="has no spiking or clipping neurons"):
        record(network(None), torch.rand(1, 1, 4, 4))
    with pytest.raises(InputError, match="network is in training mode"):
        record(nn.Linear(2, 2), torch.rand(1, 2))
    with pytest.raises(InputError, match="inputs hold no sample"):
        record(network(LIF), torch.rand(0, 1, 4, 4))
