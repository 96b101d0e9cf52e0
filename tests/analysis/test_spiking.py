from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.analysis.spiking import record
from neurocert.models.errors import InputError
from neurocert.models.layers.lif import LIF
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.semantics import FactorLeak, Spiking

Samples = tuple[Tensor, Tensor]
MakeFlex = Callable[[bool], FlexVGG]


class Constant(nn.Module):
    """Neurons without leak and threshold 1, driven by the input at each of 4 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.neurons = LIF(Spiking(1.0, ">=", "soft", 0.0, "in-step", FactorLeak(1.0), 4, "direct", "sum"))

    def forward(self, inputs: Tensor) -> Tensor:
        state, total = None, torch.zeros_like(inputs)
        for _ in range(4):
            state, spikes = self.neurons(state, inputs)
            total = total + spikes
        return total


def test_neurons_fire_as_worked_out_by_hand() -> None:
    """Drives of 1, 1/2, 1/4 and 0 fire at every step, at steps 1 and 3, at step 3, and never."""
    (found,) = record(Constant().eval(), torch.tensor([[1.0, 0.5, 0.25, 0.0], [0.0, 0.5, 0.0, 0.0]]))
    assert (found.layer, found.outputs.shape) == ("neurons", (4, 2, 4))
    assert found.firing_rates.tolist() == [0.5, 0.5, 0.125, 0.0]
    assert found.active_ratio.tolist() == [1 / 8, 3 / 8, 1 / 8, 4 / 8]
    assert found.sparsity.tolist() == [7 / 8, 5 / 8, 7 / 8, 4 / 8]
    steps, neurons = found.raster()
    assert list(zip(steps.tolist(), neurons.tolist(), strict=True)) == [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (3, 2)]
    assert found.raster(1)[0].tolist() == [1, 3]


def test_layers_of_a_network_in_its_order(samples: Samples, small_flex: MakeFlex) -> None:
    layers = record(small_flex(True), samples[0])
    assert [(layer.layer, layer.outputs.shape) for layer in layers] == [("neurons.0", (3, 6, 2, 4, 4)), ("neurons.1", (3, 6, 5))]
    assert all(0 < float(layer.firing_rates.mean()) < 1 for layer in layers)


def test_what_cannot_be_used_is_refused(samples: Samples, small_flex: MakeFlex) -> None:
    with pytest.raises(InputError, match="no sample"):
        record(small_flex(True), samples[0][:0])
    with pytest.raises(InputError, match="training mode"):
        record(small_flex(True).train(), samples[0])
    with pytest.raises(InputError, match="no spiking or clipping neurons"):
        record(small_flex(False), samples[0])
    with pytest.raises(InputError, match="sample is 6"):
        record(small_flex(True), samples[0])[0].raster(6)
