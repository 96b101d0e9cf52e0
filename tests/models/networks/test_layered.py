"""The three kinds of neurons in time, each against an unrolled loop written here."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.conv_net import ConvNet
from neurocert.models.semantics import ClipNeurons, Encoding, FactorLeak, Readout, Semantics, Spiking, StepNeurons

STEPS = 5
UNIT = InputSpace((1, 4, 4), 0.0, 1.0)
ENCODINGS: tuple[Encoding, ...] = ("direct", "latency", "rate")


def neurons(kind: str, encoding: Encoding, readout: Readout = "mean") -> Spiking | StepNeurons | ClipNeurons:
    if kind == "clip":
        return ClipNeurons(STEPS, encoding, readout)
    if kind == "step":
        return StepNeurons(0.25, ">", STEPS, encoding, readout)
    return Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.95), STEPS, encoding, readout)


def network(spiking: Spiking | StepNeurons | ClipNeurons, inputs: InputSpace = UNIT) -> ConvNet:
    torch.manual_seed(1)
    net = ConvNet(inputs, Semantics(spiking), ("a", "b", "c"), mean=[0.3], std=[0.2], blocks=[(4, 1), (5, 2)], hidden=[6]).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)  # so that spikes reach the logits
    return net.double()


def encoded(net: ConvNet, image: Tensor, encoding: Encoding) -> list[Tensor]:
    if encoding == "direct":
        return [image] * STEPS
    if encoding == "rate":
        return [(image > net.state_dict()[f"encoder.spikes.{t}.threshold"]).double() for t in range(STEPS)]
    reached = [torch.zeros_like(image), *((image >= (STEPS - t) / STEPS).double() for t in range(STEPS))]
    return [after - before for before, after in pairwise(reached)]


def unrolled(net: ConvNet, image: Tensor, kind: str, encoding: Encoding) -> Tensor:
    """Sum over steps; 0.95 the decay, reset to 0, threshold 1 with a membrane and 1/4 without."""
    potentials: list[Tensor] = [torch.zeros((), dtype=torch.float64)] * len(net.synapses)
    total = torch.zeros(len(image), 3, dtype=torch.float64)
    for presented in encoded(net, image, encoding):
        signals = [(presented - 0.3) / 0.2]
        for layer, synapse in enumerate(net.synapses):
            current = synapse(signals[-1])
            potentials[layer] = 0.95 * potentials[layer] + current
            if kind == "lif":
                signals.append((potentials[layer] > 1).double())
                potentials[layer] = potentials[layer] * (1 - signals[-1])
            else:
                signals.append(current.clamp(0, 1) if kind == "clip" else (current > 0.25).double())
        total += net.readout(signals[-1])
    return total


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["lif", "step", "clip"])
@torch.no_grad()
def test_network_in_time_is_the_unrolled_one(kind: str, encoding: Encoding) -> None:
    net = network(neurons(kind, encoding))
    image = torch.rand(12, 1, 4, 4, dtype=torch.float64)
    expected = unrolled(net, image, kind, encoding)
    assert torch.allclose(net(image), expected / STEPS, atol=1e-6)
    summed = network(neurons(kind, encoding, "sum"))
    summed.load_state_dict(net.state_dict())
    assert torch.allclose(summed(image), expected, atol=1e-6)
    assert expected.std(0).min() > 0.1, "the samples cannot be told apart: this tests nothing"


def test_latency_of_an_input_that_may_be_negative() -> None:
    with pytest.raises(InputError, match=r"latency encoding needs inputs in \[0, 1\], got the range \[-1, 1\]"):
        network(neurons("lif", "latency"), InputSpace((1, 4, 4), -1.0, 1.0))
