from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.analysis.spiking import Activity, activity, total_active_ratios
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
    network = Constant().eval()
    inputs = torch.tensor([[1.0, 0.5, 0.25, 0.0], [0.0, 0.5, 0.0, 0.0]])
    (found,) = activity(network, inputs)
    assert (found.layer, found.shape, found.neurons) == ("neurons", (4,), 4)
    assert found.rates == (0.5, 0.5, 0.125, 0.0)
    assert found.active_ratios == (1 / 8, 3 / 8, 1 / 8, 4 / 8)
    assert found.raster == ((0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (3, 2))
    assert (found.mean_rate, found.silent) == (0.28125, 0.25)


def test_layers_of_a_network_in_its_order(samples: Samples, small_flex: MakeFlex) -> None:
    network = small_flex(True)
    layers = activity(network, samples[0])
    assert [(layer.layer, layer.shape) for layer in layers] == [("neurons.0", (2, 4, 4)), ("neurons.1", (5,))]
    assert all(len(layer.active_ratios) == 3 for layer in layers)
    for layer in layers:
        assert sum(layer.active_ratios) / 3 == pytest.approx(layer.mean_rate)
        assert 0 < layer.mean_rate < 1
    alone = activity(network, samples[0][:1])[0]
    assert alone.raster == layers[0].raster
    assert len(alone.raster) == round(alone.mean_rate * 3 * 32)


def test_a_clip_stands_for_a_rate() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Hardtanh(0.0, 1.0), nn.Hardtanh(-1.0, 1.0)).eval()
    network[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    (found,) = activity(network, torch.tensor([[0.5, 1.0], [3.0, -0.25]]))
    assert (found.layer, found.rates, found.active_ratios, found.raster) == ("1", (0.75, 0.125), (0.75,), ((0, 0),))


def test_what_an_encoder_fires_is_no_activity() -> None:
    network = nn.Sequential(OrderedDict(encoder=nn.Hardtanh(0.0, 1.0), neurons=nn.Hardtanh(0.0, 1.0))).eval()
    assert [layer.layer for layer in activity(network, torch.ones(1, 2))] == ["neurons"]


def test_a_static_network_has_no_activity(samples: Samples, small_flex: MakeFlex) -> None:
    assert activity(small_flex(False), samples[0]) == ()


def test_ratios_of_all_layers_weigh_neurons_alike() -> None:
    layers = [Activity("a", (3,), (0.0,) * 3, (1.0, 0.0), ()), Activity("b", (1,), (0.0,), (0.0, 0.5), ())]
    assert total_active_ratios(layers) == (0.75, 0.125)
    with pytest.raises(InputError, match=r"got 2 with \[1, 2\] steps"):
        total_active_ratios([layers[0], Activity("b", (1,), (0.0,), (0.0,), ())])
    with pytest.raises(InputError, match="got 0"):
        total_active_ratios([])


def test_what_cannot_be_used_is_refused(samples: Samples, small_flex: MakeFlex) -> None:
    with pytest.raises(InputError, match="no sample"):
        activity(small_flex(True), samples[0][:0])
    with pytest.raises(InputError, match="training mode"):
        activity(small_flex(True).train(), samples[0])
