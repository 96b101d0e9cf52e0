"""A whole analysis of shipped networks, small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurocert.certify import analyse, analyser
from neurocert.certify.errors import ConfigError
from neurocert.certify.reports.analysis.config import AnalysisConfig
from neurocert.certify.reports.analysis.schema import Absent, Analysis, Attacks, Landscapes, Masks, Spectrum, Spikes, from_json, to_json
from neurocert.models.checkpoints import Checkpoint, load
from neurocert.models.data.source import load_samples
from neurocert.models.errors import CheckpointError, InputError
from neurocert.models.networks.conv_net import ConvNet

SMALL: dict[str, Any] = {"samples": 8, "epsilons": (0.0, 0.05, 0.3), "attacks": ("fgsm",), "points": 3}


@pytest.fixture(scope="module")
def snn() -> Analysis:
    return analyse(AnalysisConfig("digits-flex-snn", **SMALL))


def test_every_section_of_a_spiking_flex_network(snn: Analysis) -> None:
    network, data = load("digits-flex-snn").network, load_samples("digits").take(range(8))
    with torch.no_grad():
        logits = network(data.inputs)
    loss = float(functional.cross_entropy(logits.double(), data.labels))
    assert isinstance(snn.attacks, Attacks) and isinstance(snn.landscape, Landscapes) and isinstance(snn.hessian, Spectrum)
    assert isinstance(snn.routing, Masks) and isinstance(snn.spiking, Spikes)
    assert snn.clean.count == snn.attacks.curves[0].unbroken[0].count == int((logits.argmax(1) == data.labels).sum())
    assert snn.landscape.random.centre == pytest.approx(loss, rel=1e-5)
    assert snn.hessian.loss == pytest.approx(loss, rel=1e-5)
    assert snn.hessian.derivative == "surrogate (sech-squared)"
    assert snn.hessian.parameters == snn.network.parameters
    assert snn.hessian.top[0].converged and snn.hessian.top[0].value > snn.hessian.least.value
    assert snn.landscape.random.mean_rise > 0
    assert len(snn.routing.conv_ratios) == 8
    assert len(snn.spiking.active_ratios) == 4
    assert from_json(to_json([snn])) == (snn,)


def test_the_same_configuration_gives_the_same_numbers(snn: Analysis) -> None:
    again = analyse(AnalysisConfig("digits-flex-snn", figures=("hessian", "landscape"), **SMALL))
    assert (again.hessian, again.landscape) == (snn.hessian, snn.landscape)
    assert (again.attacks, again.spiking) == (None, None)
    other = analyse(AnalysisConfig("digits-flex-snn", figures=("landscape-surface",), seed=7, **SMALL))
    assert isinstance(other.landscape, Landscapes) and isinstance(snn.landscape, Landscapes)
    assert other.landscape.random != snn.landscape.random
    assert other.landscape.eigenvectors == Absent(absent="not asked for")


def test_sections_that_do_not_apply_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load("digits-flex-ann")
    torch.manual_seed(0)
    network = ConvNet(
        checkpoint.network.inputs, checkpoint.semantics, checkpoint.network.classes, mean=[0.3], std=[0.3], blocks=[(2, 2)], hidden=[]
    ).eval()

    def plain(name: str) -> Checkpoint:
        return replace(checkpoint, network=network)

    def flat(*arguments: Any) -> None:
        raise analyser.FlatLoss("the loss passes through sign, whose derivative is 0 almost everywhere", "give it a surrogate")

    monkeypatch.setattr(analyser, "load", plain)
    found = analyse(AnalysisConfig("plain", figures=("routing", "spiking", "hessian"), **SMALL))
    assert found.routing == Absent(absent="The network has no PlasticFlex layer")
    assert isinstance(found.spiking, Absent) and "no spiking or clipping neurons" in found.spiking.absent
    assert isinstance(found.hessian, Spectrum) and found.hessian.derivative == "exact (where it exists)"
    monkeypatch.setattr(analyser, "Hessian", flat)
    refused = analyse(AnalysisConfig("plain", figures=("landscape", "hessian"), **SMALL))
    assert isinstance(refused.hessian, Absent) and "passes through sign" in refused.hessian.absent
    assert isinstance(refused.landscape, Landscapes) and refused.landscape.eigenvectors == refused.hessian


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, inputs=np.zeros((3, 1, 8, 8), np.float32), labels=np.zeros(3, np.int64))
    with pytest.raises(ConfigError, match=r"few\.npz has 3, expected at least 4"):
        analyse(AnalysisConfig("digits-flex-ann", data=str(few)))
    with pytest.raises(ConfigError, match="asked for number 500"):
        analyse(AnalysisConfig("digits-flex-ann", samples=501))
    with pytest.raises(CheckpointError, match="no checkpoint named 'absent'"):
        analyse(AnalysisConfig("absent"))
    with pytest.raises(InputError, match="attack is 'cw'"):
        analyse(AnalysisConfig("digits-flex-ann", attacks=("cw",)))
