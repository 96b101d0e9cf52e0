"""The event-driven simulation against a literal one: dense matrices, no cut-off, one neuron's equation at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.models.snan.network import Network
from neurocert.models.snan.presentation import present
from neurocert.models.snan.simulation import Simulation
from neurocert.models.snan.synapses import RELEASE_UNIT, SILENT_SLOPES
from neurocert.models.snan.tensor_engine import count_spikes
from neurocert.models.snan.training import imprint


def dense(network: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W_EE, W_EI, W_IE with W[i, j] from i to j."""
    cells, interneurons = network.settings.excitatory**2, network.settings.inhibitory**2
    found = []
    for targets, weights, count in (
        (network.excitatory_targets, network.excitatory_weights, cells),
        (network.interneuron_targets, network.interneuron_weights, interneurons),
        (network.inhibitory_targets, network.inhibitory_weights, cells),
    ):
        matrix = np.zeros((len(targets), count))
        for source in range(len(targets)):
            for target, weight in zip(targets[source], weights[source], strict=True):
                matrix[source, target] = weight * 1e-6
        found.append(matrix)
    return found[0], found[1], found[2]


class Literal:
    """The equations as they are printed, a step at a time, for one image and fixed calcium."""

    def __init__(self, network: Network) -> None:
        self.network, (self.ee, self.ei, self.ie) = network, dense(network)
        cells, interneurons = len(self.ee), len(self.ie)
        self.v, self.u = np.full(cells, -71.9795475755463), np.full(cells, -12.8842919091830)
        self.vi, self.ui = np.full(interneurons, -71.9795475755463), np.full(interneurons, -12.8842919091830)
        self.current, self.inner = np.zeros(cells), np.zeros(interneurons)
        self.side, self.together, self.modulated, self.step = network.calcium.shape[0], {}, {}, 0

    def zone(self, row: int, column: int) -> np.ndarray:
        grid = np.zeros((self.network.settings.excitatory,) * 2, bool)
        grid[3 * row : 3 * row + 4, 3 * column : 3 * column + 4] = True
        return grid.reshape(-1)

    def advance(self, stimulus: np.ndarray) -> np.ndarray:
        def neurons(v: np.ndarray, u: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            spiked = v >= 30.0
            v, u = np.where(spiked, -65.0, v), np.where(spiked, u + 2.0, u)
            v = v + 0.1 * (0.04 * v**2 + 5 * v + 140 - u + current)
            return np.minimum(v, 30.0), u + 0.1 * 0.1 * (0.2 * v - u)

        self.v, self.u = neurons(self.v, self.u, stimulus + self.current)
        self.vi, self.ui = neurons(self.vi, self.ui, self.inner)
        spikes = self.v >= 30.0
        gain = np.ones_like(self.v)
        for row in range(self.side):
            for column in range(self.side):
                zone = self.zone(row, column)
                if spikes[zone].sum() >= 8:
                    self.together[row, column] = self.step
                gain[zone] = 3.0 if self.step <= self.modulated.get((row, column), -1) else 1.0
        self.synapses(gain)
        if (self.step + 1) % 10 == 0:
            for place, last in self.together.items():
                if self.step - last <= 50 and self.network.calcium[place] > 0.15:
                    self.modulated[place] = self.step + 200
        self.step += 1
        return spikes

    def synapses(self, gain: np.ndarray) -> None:
        s, si = (1.0 / (1.0 + np.exp(-v / 0.2)) for v in (self.v, self.vi))
        self.current = np.maximum(gain * (s @ self.ee) * (0.0 - self.v), 0.0) + (si @ self.ie) * (-90.0 - self.v)
        self.inner = (s @ self.ei) * (0.0 - self.vi)


def literal_counts(network: Network, image: np.ndarray) -> np.ndarray:
    model, counts = Literal(network), np.zeros(len(image), int)
    for step in range(300):
        counts += model.advance(8.0 * image if step < 200 else np.zeros(len(image)))
    return counts


def noisy(patterns: np.ndarray, copies: int, share: float = 0.15) -> np.ndarray:
    images = np.tile(patterns, (copies, 1))
    return images ^ (np.random.default_rng(1).random(images.shape) < share)


def test_counts_are_those_of_the_literal_equations(trained: Network, patterns: np.ndarray) -> None:
    images = noisy(patterns, 2)
    counts = present(trained, images)
    assert np.array_equal(counts, [literal_counts(trained, image) for image in images])
    assert counts.max() > 3 and len(np.unique(counts)) > 3


def test_potentials_stay_with_the_literal_ones(trained: Network, patterns: np.ndarray) -> None:
    simulation, model, image = Simulation(trained), Literal(trained), noisy(patterns, 1)[0]
    for _ in range(100):
        simulation.step(8.0 * image[None])
        model.advance(8.0 * image)
        assert np.abs(simulation.potential[0] - model.v).max() < 1e-5
    assert np.ptp(model.v) > 20


def test_the_reference_can_tell_modulation_from_none(trained: Network, patterns: np.ndarray) -> None:
    calm = trained.with_calcium(np.zeros_like(trained.calcium))
    assert (trained.calcium > 0.15).any()
    assert not np.array_equal(present(calm, patterns), present(trained, patterns))


@pytest.mark.parametrize("workers", [1, 3])
def test_counts_do_not_depend_on_the_batch(trained: Network, patterns: np.ndarray, workers: int) -> None:
    images = noisy(patterns, 7)
    together = present(trained, images, workers=workers)
    assert np.array_equal(together, np.concatenate([present(trained, image[None]) for image in images]))
    assert np.array_equal(together[::-1], present(trained, images[::-1]))


def test_the_tensor_engine_counts_the_same(trained: Network, patterns: np.ndarray) -> None:
    images = noisy(patterns, 3)
    counts = count_spikes(trained, torch.from_numpy(np.where(images, 8.0, 0.0)), torch.device("cpu"))
    assert np.array_equal(counts.numpy(), present(trained, images))


def test_no_image_gives_no_counts(trained: Network) -> None:
    assert present(trained, np.zeros((0, 169), bool)).shape == (0, 169)


@pytest.mark.parametrize("images", [np.zeros((1, 168), bool), np.zeros((1, 169)), np.zeros((1, 13, 13), bool)])
def test_images_of_another_kind_are_refused(trained: Network, images: Any) -> None:
    with pytest.raises(InputError, match=r"expected bool \(B, 169\)"):
        present(trained, images)


def test_training_is_that_of_the_literal_rule(untrained: Network, patterns: np.ndarray) -> None:
    learned = imprint(untrained, patterns, astrocytes=False)
    ee, ie = literal_training(untrained, patterns)
    assert np.array_equal(np.round(dense(learned)[0] * 1e6), np.round(ee * 1e6))
    assert np.array_equal(np.round(dense(learned)[2] * 1e6), np.round(ie * 1e6))
    assert (ee > 0.04).any() and (ie > 0.01).any()


def literal_training(network: Network, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coincidences of one pulse of each pattern, on dense matrices; no current reaches excitatory neurons from synapses."""
    model = Literal(network)
    present_ee, present_ie, rate = model.ee > 0, model.ie > 0, np.zeros(len(model.v))
    for image in patterns:
        for step in range(50):
            model.current = np.zeros_like(model.current)
            model.advance(80.0 * image if step < 20 else np.zeros(len(image)))
            active, inner = model.v > 25, model.vi > 25
            if step == 49:
                model.v[:], model.u[:], model.vi[:], model.ui[:] = (
                    -71.9795475755463,
                    -12.8842919091830,
                    -71.9795475755463,
                    -12.8842919091830,
                )
                rate[:] = 0.0
                model.synapses(np.ones_like(model.v))
            rate = (1 - 200 * 1e-4) * rate
            rate = np.where(active, np.minimum(1.0, rate + 0.5), rate)
            model.ee = np.minimum(model.ee + 0.007 * present_ee * np.outer(active, active), 0.05)
            model.ie = np.minimum(model.ie + 0.007 * present_ie * np.outer(inner, rate < 0.3), 0.05)
    return model.ee, model.ie


def test_a_release_is_neglected_only_below_half_its_unit() -> None:
    assert 1.0 / (1.0 + math.exp(SILENT_SLOPES)) <= RELEASE_UNIT / 2
