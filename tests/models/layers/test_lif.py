"""The LIF step against a neuron simulated one scalar at a time, from the words of ``Spiking`` alone."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.models.layers.lif import LIF
from neurocert.models.semantics import EulerLeak, FactorLeak, Spiking

STEPS = 6
LEAKS = {"factor": FactorLeak(0.5), "euler": EulerLeak(dt=0.25, tau=1.0)}
CHOICES = tuple(product((">", ">="), ("hard", "soft"), ("in-step", "delayed"), LEAKS))


def semantics(comparison: str, reset: str, timing: str, leak: str, threshold: float = 1.0) -> Spiking:
    target = 0.25 if reset == "hard" else 0.0
    return Spiking(threshold, comparison, reset, target, timing, LEAKS[leak], STEPS, "direct", "mean")  # type: ignore[arg-type]


def leaked(potential: float, leak: FactorLeak | EulerLeak) -> float:
    """A potential one step later, without input and without reset."""
    if isinstance(leak, FactorLeak):
        return leak.decay * potential
    return potential + (leak.dt / leak.tau) * (0.0 - potential)


def simulate(currents: list[float], spiking: Spiking) -> tuple[list[float], list[int]]:
    """Potentials before reset and spikes of one neuron: leak, reset and input in the order that the words say."""
    leak = spiking.leak
    gain = 1.0 if isinstance(leak, FactorLeak) else leak.dt / leak.tau
    potential, fired = 0.0, False
    potentials, spikes = [], []

    def reset(value: float) -> float:
        if not fired:
            return value
        return spiking.reset_value if spiking.reset == "hard" else value - spiking.threshold

    for current in currents:
        carried = leaked(reset(potential), leak) if spiking.reset_timing == "in-step" else reset(leaked(potential, leak))
        potential = carried + gain * current
        fired = potential > spiking.threshold if spiking.comparison == ">" else potential >= spiking.threshold
        potentials.append(potential)
        spikes.append(int(fired))
    return potentials, spikes


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_step_is_the_scalar_neuron(choice: tuple[str, str, str, str]) -> None:
    spiking = semantics(*choice)
    # Multiples of 1/8, a decay of 1/2 or 3/4 and six steps: exact in float32, so ties with the threshold are ties.
    currents = torch.randint(-16, 48, (STEPS, 400), generator=torch.Generator().manual_seed(0)) / 8
    layer, state, spikes = LIF(spiking), None, []
    for current in currents:
        state, fired = layer(state, current)
        spikes.append(fired)
    expected = [simulate(neuron, spiking) for neuron in currents.T.tolist()]
    assert torch.stack(spikes).T.int().tolist() == [train for _, train in expected]
    assert any(potential == spiking.threshold for potentials, _ in expected for potential in potentials)
    assert any(first and second for _, train in expected for first, second in pairwise(train))


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_carried_potential_is_what_the_next_step_starts_from(choice: tuple[str, str, str, str]) -> None:
    spiking = semantics(*choice)
    first = torch.arange(-16, 48) / 8
    carried, _ = LIF(spiking)(None, first)
    assert carried.tolist() == [simulate([current, 0.0], spiking)[0][1] for current in first.tolist()]


@pytest.mark.parametrize("threshold", [1.0, 0.3, -0.7, 0.0])
@pytest.mark.parametrize(("comparison", "at_tie"), [(">", 0.0), (">=", 1.0)])
def test_exact_tie(threshold: float, comparison: str, at_tie: float) -> None:
    """A float32 potential equal to the float32 threshold is decided by the comparison; its neighbours are not."""
    at = torch.tensor(threshold)
    potentials = torch.stack([at.nextafter(torch.tensor(-math.inf)), at, at.nextafter(torch.tensor(math.inf))])
    _, spikes = LIF(semantics(comparison, "hard", "in-step", "factor", threshold))(None, potentials)
    assert spikes.tolist() == [0.0, at_tie, 1.0]


def test_step_keeps_no_memory() -> None:
    layer = LIF(semantics(">", "soft", "in-step", "factor"))
    current = torch.tensor([0.4, 1.7])
    layer(torch.tensor([5.0, 5.0]), current)
    assert torch.equal(layer(None, current)[1], torch.tensor([0.0, 1.0]))


def test_gradient_reaches_back_through_time() -> None:
    layer, current = LIF(semantics(">", "hard", "in-step", "factor")), torch.tensor([0.6], requires_grad=True)
    state, _ = layer(None, current)
    _, spikes = layer(state, torch.tensor([0.5]))
    spikes.sum().backward()
    assert current.grad is not None and current.grad.item() > 0


def test_unknown_surrogate() -> None:
    with pytest.raises(InputError, match=r"surrogate is 'step'.*sech-squared"):
        LIF(semantics(">", "hard", "in-step", "factor"), "step")
