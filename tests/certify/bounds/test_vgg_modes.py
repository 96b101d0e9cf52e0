"""Every mode of the PlasticFlex networks can be certified: its bounds hold, and ``verify`` decides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert import certify
from neurocert.certify.testing.conformance import conforms
from neurocert.models.layers.encoder import LatencyEncoder
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build
from neurocert.models.semantics import ClipNeurons, FactorLeak, Semantics, Spiking, StepNeurons
from neurocert.perturbations.balls import LinfBall

MODES: dict[str, Spiking | StepNeurons | ClipNeurons | None] = {"static": None} | {
    f"{kind}, {encoding}": neurons
    for encoding in ("direct", "latency", "rate")
    for kind, neurons in (
        ("membrane", Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.95), 2, encoding, "mean")),
        ("step", StepNeurons(0.5, ">", 2, encoding, "sum")),
        ("clip", ClipNeurons(2, encoding, "mean")),
    )
}


def network(mode: str, flex: bool, seed: int = 0) -> Classifier:
    """VGG6 on 4x4 images with random weights and batch statistics."""
    torch.manual_seed(seed)
    net = build(
        "vgg",
        {"depth": 6, "flex": flex, "width": 1 / 64, "dropout": 0.3, "logits": "convolution" if seed % 2 else "threshold"},
        inputs=InputSpace((1, 4, 4), 0.0, 1.0),
        semantics=Semantics(MODES[mode]),
        classes=("a", "b", "c"),
        mean=(0.4,),
        std=(0.3,),
    )
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point and not name.startswith("encoder"):
            noise = torch.randn(value.shape)
            value.copy_(noise.abs() + 0.2 if name.endswith("running_var") else noise)
    return net.eval()


@pytest.mark.parametrize("mode", ["static", "membrane, rate", "step, latency", "clip, direct"])
def test_bounds_hold(mode: str) -> None:
    seed = list(MODES).index(mode)
    centres = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    centres[0, 0, 0] = torch.tensor([0.0, 0.5, 1.0, 0.5])  # ties with the latency encoder
    conforms(network(mode, flex=True, seed=seed), centres, LinfBall(0.05, 0.0, 1.0), seed=seed)


class Latencies(nn.Module):
    """All three steps of an encoder, whose borders 1/3 and 2/3 are no float32 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = LatencyEncoder(3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.encoder(x), 1)


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_bounds_hold_where_latencies_tie(epsilon: float) -> None:
    conforms(Latencies().eval(), torch.tensor([[0.0, 1 / 3, 2 / 3, 1.0]]), LinfBall(epsilon, 0.0, 1.0))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_certified_somewhere(mode: str) -> None:
    net = network(mode, flex=False)
    inputs = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(7))
    labels = net(inputs).argmax(1)
    found = certify.verify(net, inputs, labels, certify.LinfBall(1e-6), method="linear")
    assert any(certificate.verdict == certify.Verdict.CERTIFIED for certificate in found)
