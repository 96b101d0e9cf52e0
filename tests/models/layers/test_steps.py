"""Current-based and recurrent neurons and the leaky readout against their equations, written out in plain numbers."""

from __future__ import annotations

import pytest
import torch

from neurocert.models.layers.cuba_lif import CubaLIF
from neurocert.models.layers.readout import LeakyIntegrator
from neurocert.models.layers.recurrent_lif import RecurrentLIF
from neurocert.models.semantics import EulerLeak, FactorLeak, Spiking

SPIKING = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean")
DRIVES = (0.75, 0.5, 1.5, -0.25)


def test_a_leaky_integrator_is_its_equation() -> None:
    layer, state, expected = LeakyIntegrator(EulerLeak(0.25, 1.0)), None, 0.0
    for drive in DRIVES:
        state = layer(state, torch.tensor([[drive]]))
        expected = 0.75 * expected + 0.25 * drive
        assert state.item() == pytest.approx(expected, rel=1e-6)


def test_current_based_neurons_are_their_equations() -> None:
    layer, state = CubaLIF(SPIKING, FactorLeak(0.5)), None
    current = carried = 0.0
    fired = []
    for drive in DRIVES:
        state, spikes = layer(state, torch.tensor([[drive]]))
        current = 0.5 * current + drive
        potential = carried + current
        spike = potential > 1.0
        carried = 0.0 if spike else 0.5 * potential
        fired.append(spike)
        assert (state[0].item(), state[1].item(), spikes.item()) == (current, carried, float(spike))
    assert set(fired) == {True, False}


def test_recurrent_neurons_are_their_equations() -> None:
    layer, state = RecurrentLIF(2, SPIKING), None
    weights = [[0.5, -1.0], [2.0, 0.25]]
    layer.recurrent.weight.data.copy_(torch.tensor(weights))
    carried, before, fired = [0.0, 0.0], [0.0, 0.0], []
    for drive in DRIVES:
        state, spikes = layer(state, torch.tensor([[drive, 2 * drive]]))
        heard = [sum(w * s for w, s in zip(row, before, strict=True)) for row in weights]
        potentials = [c + i + h for c, i, h in zip(carried, (drive, 2 * drive), heard, strict=True)]
        before = [float(v > 1.0) for v in potentials]
        carried = [0.0 if s else 0.5 * v for s, v in zip(before, potentials, strict=True)]
        fired += before
        assert spikes.tolist() == [before] and state[0].tolist() == [carried]
    assert set(fired) == {0.0, 1.0}
