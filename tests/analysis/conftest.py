"""Small networks whose losses, spikes and derivatives can be worked out otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

SPIKING = Spiking(0.3, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")
DenseHessian = Callable[[nn.Module, Callable[[nn.Module], Tensor]], Tensor]


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 1, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture
def small_flex() -> Callable[[bool], FlexVGG]:
    """A tiny Flex-VGG in float64: ``small_flex(spiking)``."""

    def make(spiking: bool) -> FlexVGG:
        torch.manual_seed(0)
        inputs = InputSpace((1, 8, 8), 0.0, 1.0)
        semantics = Semantics(SPIKING if spiking else None)
        network = FlexVGG(inputs, semantics, ("a", "b", "c"), mean=[0.3], std=[0.3], blocks=[(2, 2)], hidden=[5])
        return network.double().eval()

    return make


@pytest.fixture
def dense_hessian() -> DenseHessian:
    """The Hessian entry by entry, of ``function(network)`` in the network's weights."""

    def compute(network: nn.Module, function: Callable[[nn.Module], Tensor]) -> Tensor:
        weights = dict(network.named_parameters())
        sizes = [weight.numel() for weight in weights.values()]

        class Moved(nn.Module):
            def __init__(self, parts: dict[str, Tensor]) -> None:
                super().__init__()
                self.parts = parts

            def forward(self, inputs: Tensor) -> Tensor:
                return functional_call(network, self.parts, (inputs,))

        def value(flat: Tensor) -> Tensor:
            parts = {name: p.view_as(w) for (name, w), p in zip(weights.items(), flat.split(sizes), strict=True)}
            return function(Moved(parts))

        here = torch.cat([weight.detach().flatten() for weight in weights.values()])
        found = torch.autograd.functional.hessian(value, here)
        assert isinstance(found, Tensor)
        return found

    return compute
