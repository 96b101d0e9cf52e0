from __future__ import annotations

import pytest
import torch
from pydantic import BaseModel

from neurocert.analysis.routing import LayerRouting
from neurocert.analysis.spiking import Activity
from neurocert.certify.reports.analysis.build import correlation, epoch_means, routing_section, spiking_section, training_section
from neurocert.certify.reports.analysis.figures import raster
from neurocert.certify.reports.analysis.schema import Absent, Correlation, Training


class History(BaseModel):
    """As a checkpoint's metadata hold it."""

    loss: tuple[float, ...] = (1.0, 0.5, 0.25, 0.2)
    train: tuple[float, ...] = (0.5, 0.75, 1.0, 1.0)
    validation: tuple[float, ...] = (0.4, 0.6, 0.8, 0.8)
    balanced: tuple[float, ...] = (0.4, 0.5, 0.8, 0.8)
    validation_loss: tuple[float, ...] = (1.0, 0.75, 0.5, 0.5)
    routing: tuple[dict[str, str | tuple[float, ...]], ...] = (
        {"layer": "a", "conv_ratio": (0.1, 0.2, 0.3, 0.4), "binariness": (0.4, 0.2, 0.3, 0.1)},
        {"layer": "b", "conv_ratio": (0.3, 0.4, 0.5, 0.6), "binariness": (0.2, 0.2, 0.1, 0.1)},
    )


def layer(ratio: float, binariness: float, name: str = "a") -> LayerRouting:
    return LayerRouting(name, ratio, binariness, 1)


def test_a_history_becomes_its_section() -> None:
    training = training_section(History())
    assert isinstance(training, Training)
    assert training.loss == (1.0, 0.5, 0.25, 0.2)
    assert epoch_means(training, "conv_ratio") == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert isinstance(training_section(None), Absent)


def test_masks_are_averaged_both_ways_and_correlated() -> None:
    samples = [(layer(0.1 * k, 0.9 - 0.1 * k), layer(0.1 * k + 0.2, 0.5, "b")) for k in range(5)]
    training = training_section(History())
    section = routing_section([layer(0.2, 0.7), layer(0.4, 0.5, "b")], samples, training)
    assert section.conv_ratios == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert section.binarinesses == pytest.approx([0.7, 0.65, 0.6, 0.55, 0.5])
    assert isinstance(section.correlation, Correlation) and isinstance(section.over_epochs, Correlation)
    assert (section.correlation.r, section.correlation.n) == (pytest.approx(-1.0), 5)
    assert -1 < section.over_epochs.r < -0.5
    without = routing_section([layer(0.2, 0.7)], samples, None)
    assert without.over_epochs == Absent(absent="the checkpoint holds no history of its masks")


def test_masks_that_never_move_have_no_correlation() -> None:
    assert correlation([0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]) == Absent(absent="correlation: the first series does not vary")


def test_rates_are_counted_and_rasters_thinned() -> None:
    """Of 500 neurons the first 100 fire at every step on both samples, the next 100 at one of two steps on the second."""
    outputs = torch.zeros(2, 2, 500)
    outputs[:, :, :100], outputs[1, 1, 100:200] = 1.0, 1.0
    section = spiking_section([Activity("neurons.0", outputs)])
    (found,) = section.layers
    assert found.rate_counts == (300, *[0] * 5, 100, *[0] * 17, 100)
    assert (found.neurons, found.mean_rate, found.silent) == (500, 0.25, 0.6)
    assert found.raster_neurons == tuple(range(0, 500, 3))
    assert {(step, found.raster_neurons[row]) for step, row in found.raster} == {(t, i) for t in range(2) for i in range(0, 100, 3)}
    assert section.active_ratios == found.active_ratios == (0.2, 0.3)


def test_a_layer_that_runs_once_is_left_out_of_the_ratios_of_all() -> None:
    layers = [Activity("once", torch.ones(1, 1, 1)), Activity("always", torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]))]
    section = spiking_section(layers)
    assert [layer.layer for layer in section.layers] == ["once", "always"]
    assert section.active_ratios == (0.5, 0.0)
    assert [len(row) for row in raster(section.layers)["data"][0]["z"]] == [2, 2, 2]
