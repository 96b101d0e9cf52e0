"""Finite sets decided point by point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert import certify
from neurocert.certify.errors import InputError
from neurocert.models.layers.lif import LIF
from neurocert.models.semantics import FactorLeak, Spiking
from neurocert.perturbations.flips import Flips


class Spikes(nn.Module):
    """Two time steps of spiking neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.synapse, self.readout = nn.Linear(8, 12), nn.Linear(12, 2)
        self.neuron = LIF(Spiking(0.3, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 2, "direct", "mean"))

    def forward(self, x: Tensor) -> Tensor:
        state, first = self.neuron(None, self.synapse(x))
        return self.readout(first) + self.readout(self.neuron(state, self.synapse(x))[1])


NETWORKS = {"relu": lambda: nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2)), "spiking": Spikes}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_certified_where_every_point_stands(kind: str, count: int) -> None:
    torch.manual_seed(0)
    network, x = NETWORKS[kind]().eval(), torch.randint(0, 2, (12, 8)).float()
    labels = network(x).argmax(1)
    linear, exact = (certify.verify(network, x, labels, certify.Flips(count), name, attack=None) for name in ("linear", "enumeration"))
    for index in range(len(x)):
        logits = network(torch.stack(list(Flips(count).enumerate(x[index])))).detach().double()
        least = float((logits[:, labels[index]] - logits[:, 1 - labels[index]]).min())
        bound = exact[index].lower_bound
        assert (exact[index].verdict == "certified") == (least > 0)
        assert bound is not None and least - 1e-5 <= bound <= least and (linear[index].lower_bound or 0) <= bound + 1e-5
    certified = sum(certificate.verdict == "certified" for certificate in exact)
    assert certified >= sum(certificate.verdict == "certified" for certificate in linear)
    assert certified == len(x) if count == 0 else certified < len(x)
    assert certified > 0 or count == 2


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_not_certified_has_a_witness(kind: str) -> None:
    """Gradients miss some of them; trying every point does not, however little the attack that was asked for finds."""
    torch.manual_seed(0)
    network, x = NETWORKS[kind]().eval(), torch.randint(0, 2, (12, 8)).float()
    labels = network(x).argmax(1)
    found = certify.verify(network, x, labels, certify.Flips(1), "enumeration", attack="fgsm")
    assert {certificate.verdict for certificate in found} == {"certified", "falsified"}
    for index, certificate in enumerate(found):
        if certificate.witness is not None:
            point = certificate.witness.point[None]
            assert int((point != x[index]).sum()) <= 1 and int(network(point).argmax()) != int(labels[index])


def test_with_uncertain_weights() -> None:
    torch.manual_seed(0)
    network, x = NETWORKS["relu"]().eval(), torch.randint(0, 2, (6, 8)).float()
    labels, weights = network(x).argmax(1), certify.WeightBox(relative=0.01)
    found = certify.verify(network, x, labels, certify.Flips(1), "enumeration", weights=weights)
    fixed = certify.verify(network, x, labels, certify.Flips(1), "enumeration")
    assert all((a.lower_bound or 0) < (b.lower_bound or 0) for a, b in zip(found, fixed, strict=True))
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        changed = weights.extreme(network, generator)
        for index, certificate in enumerate(found):
            logits = torch.func.functional_call(network, changed, (torch.stack(list(Flips(1).enumerate(x[index]))),)).detach().double()
            least = float((logits[:, labels[index]] - logits[:, 1 - labels[index]]).min())
            assert certificate.lower_bound is not None and certificate.lower_bound <= least


def test_too_many_points_are_unknown_and_infinitely_many_refused() -> None:
    network, x = nn.Sequential(nn.Linear(40, 2)).eval(), torch.ones(1, 40)
    labels = network(x).argmax(1)
    (certificate,) = certify.verify(network, x, labels, certify.Flips(5), "enumeration", attack=None)
    assert certificate.verdict == "unknown" and "give 760099 points, more than are enumerated (65536)" in str(certificate.reason)
    with pytest.raises(InputError, match="infinitely many points, expected a finite set"):
        certify.verify(network, x, labels, certify.LinfBall(0.1), "enumeration")
