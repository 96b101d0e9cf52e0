"""The classifiers behind the spiking preprocessor: the paper's sizes, and certified in the space of its maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from neurocert.certify.api import verify
from neurocert.models.errors import InputError
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.networks.lenet import LeNet
from neurocert.models.networks.vit import VisionTransformer
from neurocert.models.registry import build
from neurocert.models.semantics import FactorLeak, Semantics, Spiking
from neurocert.perturbations.balls import LinfBall

CLASSES = tuple("0123456789")
STATIC = Semantics(None)
SPIKING = Semantics(Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 2, "direct", "mean"))


def network(name: str, size: int = 28, semantics: Semantics = STATIC, **parameters: Any) -> Classifier:
    torch.manual_seed(0)
    inputs = InputSpace((1, size, size), 0.0, 1.0)
    return build(name, parameters, inputs=inputs, semantics=semantics, classes=CLASSES, mean=(0.1,), std=(1.0,)).eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_convolutional_network_has_the_papers_sizes() -> None:
    model = network("lenet")
    assert isinstance(model, LeNet) and parameters(model) == 340_910
    assert model.embed(torch.zeros(2, 1, 28, 28)).shape == (2, 100)
    assert network("lenet", 105)(torch.zeros(1, 1, 105, 105)).shape == (1, 10)
    assert all(bool((layer.bias == 0).all()) for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


def test_the_transformer_has_the_papers_sizes() -> None:
    model = network("vit")
    assert isinstance(model, VisionTransformer) and model.positions.shape == (1, 50, 128)
    assert model.embed(torch.zeros(2, 1, 28, 28)).shape == (2, 128)
    assert len(model.encoders) == 6 and 790_000 < parameters(model) < 815_000
    assert network("vit", 105, patch=15)(torch.zeros(1, 1, 105, 105)).shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "small"),
    [("lenet", {"channels": (2, 3, 4), "hidden": (8, 6)}), ("vit", {"width": 8, "depth": 1, "heads": 2, "feed_forward": 8})],
)
def test_both_are_certified_in_the_space_of_maps(name: str, small: dict[str, Any]) -> None:
    model, maps = network(name, 8, **small), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = model(maps).argmax(1)
    bounds = [certificate.lower_bound for certificate in verify(model, maps, labels, LinfBall(1e-4))]
    moved = model((maps + 1e-4 * torch.rand(4, 1, 8, 8).sub(0.5).sign()).clamp(0, 1))
    others = moved.scatter(1, labels[:, None], -torch.inf).amax(1)
    reached = moved.gather(1, labels[:, None])[:, 0] - others
    assert all(bound is not None and bound <= margin for bound, margin in zip(bounds, reached.tolist(), strict=True))
    assert max(bound for bound in bounds if bound is not None) > 0


@pytest.mark.parametrize(
    ("name", "size", "wrong", "message"),
    [
        ("vit", 28, {"patch": 5}, "vit: got images 28x28, patch 5"),
        ("vit", 28, {"heads": 3}, "3 heads"),
        ("lenet", 3, {}, "expected at least 4x4"),
        ("lenet", 28, {"channels": (8, 16)}, "channels"),
        ("vit", 28, {"semantics": SPIKING}, "vit: got spiking semantics"),
        ("lenet", 28, {"semantics": SPIKING}, "lenet: got spiking semantics"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, size: int, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(name, size, **wrong)
