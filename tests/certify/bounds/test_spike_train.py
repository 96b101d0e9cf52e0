"""A spiking layer under a constant current: every train is enumerated, and every bound holds at every current."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import FLOAT32, REAL, Arithmetic
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.passes import collapse_static_currents, merge_equal_nodes, simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.relaxations.spike_train import Pattern, PotentialError, patterns
from neurocert.certify.bounds.spike_train import SpikeTrain
from neurocert.models.layers.lif import LIF, Fire
from neurocert.models.semantics import EulerLeak, FactorLeak, Spiking
from neurocert.perturbations.balls import LinfBall

SEMANTICS = st.builds(
    lambda reset, value, **rest: Spiking(reset=reset, reset_value=value if reset == "hard" else 0.0, **rest),
    threshold=st.sampled_from([1.0, 0.5, 0.1]),
    comparison=st.sampled_from([">", ">="]),
    reset=st.sampled_from(["hard", "soft"]),
    value=st.sampled_from([0.0, 0.25, -0.5]),
    reset_timing=st.sampled_from(["in-step", "delayed"]),
    leak=st.sampled_from([FactorLeak(0.5), FactorLeak(1.0), FactorLeak(0.0), FactorLeak(0.9), EulerLeak(1e-3, 4e-3)]),
    time_steps=st.integers(2, 6),
    encoding=st.just("direct"),
    readout=st.just("mean"),
)
CURRENTS = st.one_of(st.floats(-1, 3, width=32), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 2 / 3, 8 / 15]))


def simulated(fire: Fire, steps: int, current: Fraction) -> tuple[bool, ...]:
    """The spike train in exact arithmetic."""
    threshold, retention, amount = Fraction(fire.threshold), Fraction(fire.retention), Fraction(fire.reset_amount)
    potential, train = current, []
    for _ in range(steps):
        fired = potential > threshold if fire.comparison == ">" else potential >= threshold
        train.append(fired)
        rest = amount if fired and fire.hard else retention * potential - (amount if fired else 0)
        potential = rest + current
    return tuple(train)


def holds(pattern: Pattern, current: Fraction) -> bool:
    above = current > pattern.low or (pattern.low_closed and current == pattern.low)
    return above and (current < pattern.high or (pattern.high_closed and current == pattern.high))


@given(semantics=SEMANTICS, current=CURRENTS)
@settings(max_examples=150, deadline=None)
def test_exactly_one_pattern_at_each_current(semantics: Spiking, current: float) -> None:
    fire, steps = Fire(semantics, "rectangle"), semantics.time_steps
    found = patterns(fire, steps)
    breaks = [Fraction(p.low) for p in found[1:]]
    middles = [(a + b) / 2 for a, b in pairwise(breaks)]
    for exact in (Fraction(current), *breaks, *middles):
        train = simulated(fire, steps, exact)
        assert train in [pattern.least for pattern in found if holds(pattern, exact)]
    assert all(pattern.least == pattern.most for pattern in found)
    if current not in {end for pattern in found for end in (pattern.low, pattern.high)}:
        assert [p.least for p in found if holds(p, Fraction(current))] == [simulated(fire, steps, Fraction(current))]


def test_periods_of_a_hard_reset() -> None:
    """Period k for currents in (theta_k, theta_(k-1)], theta_k = theta (1 - tau) / (1 - tau^k)."""
    fire = Fire(Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean"), "rectangle")
    found = patterns(fire, 4)
    assert [sum(pattern.least) for pattern in found] == [0, 1, 1, 2, 4]
    assert [pattern.high for pattern in found[:-1]] == pytest.approx([8 / 15, 4 / 7, 2 / 3, 1.0])
    assert [pattern.least.index(True) + 1 for pattern in found[1:]] == [4, 3, 2, 1]


@given(semantics=SEMANTICS, current=CURRENTS, error=st.sampled_from([1e-6, 0.01]), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_errors_cover_every_disturbed_train(semantics: Spiking, current: float, error: float, seed: int) -> None:
    fire, steps = Fire(semantics, "rectangle"), semantics.time_steps
    found = patterns(fire, steps, PotentialError(error, error))
    noise = (torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1).tolist()
    threshold, retention, amount = Fraction(fire.threshold), Fraction(fire.retention), Fraction(fire.reset_amount)
    potential, train = Fraction(current), []
    for disturbance in noise:
        fired = potential > threshold if fire.comparison == ">" else potential >= threshold
        train.append(fired)
        rest = amount if fired and fire.hard else retention * potential - (amount if fired else 0)
        potential = rest + Fraction(current) + Fraction(disturbance) * Fraction(error)
    assert any(covers(pattern, train) and holds(pattern, Fraction(current)) for pattern in found)


def covers(pattern: Pattern, train: Sequence[bool]) -> bool:
    return all(least <= spike <= most for least, spike, most in zip(pattern.least, train, pattern.most, strict=True))


def test_many_trains_within_rounding_are_merged_and_still_covered() -> None:
    """Near the least current that ever fires, the period grows without end."""
    fire = Fire(Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 60, "direct", "mean"), "rectangle")
    found = patterns(fire, 60, PotentialError(1e-6, 1e-6))
    assert len(found) < 1000 and any(pattern.least != pattern.most for pattern in found)
    for step in range(-40, 41):
        current = Fraction(1, 2) + Fraction(step, 10**7)
        train = simulated(fire, 60, current)
        assert any(covers(pattern, train) and holds(pattern, current) for pattern in found)


BIASES = [0.0, 0.125, -0.25]


class Unrolled(nn.Module):
    """A weighted sum of the spikes of one layer under one current, which each step computes anew."""

    def __init__(self, semantics: Spiking, weights: list[float]) -> None:
        super().__init__()
        self.synapse, self.neuron, self.weights = nn.Linear(1, 3), LIF(semantics), weights
        nn.init.constant_(self.synapse.weight, 1.0)
        self.synapse.bias.data.copy_(torch.tensor(BIASES))

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, None
        for weight in self.weights:
            state, spikes = self.neuron(state, self.synapse(x))
            total = spikes * weight if total is None else total + spikes * weight
        assert total is not None
        return total


def exact_outputs(network: Unrolled, currents: Tensor) -> Tensor:
    """What the network computes in exact arithmetic; its weights and outputs are short binary fractions."""
    fire, gain, steps = network.neuron.fire, Fraction(network.neuron.gain), len(network.weights)
    trains = [[simulated(fire, steps, gain * (Fraction(c) + Fraction(b))) for b in BIASES] for (c,) in currents.tolist()]
    sums = [[sum(w * s for w, s in zip(network.weights, train, strict=True)) for train in row] for row in trains]
    return torch.tensor(sums, dtype=torch.float64)


@given(
    semantics=SEMANTICS,
    weights=st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.25, 1.0, 3.0]), min_size=2, max_size=5),
    centre=CURRENTS,
    radius=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    arithmetic=st.sampled_from([REAL, FLOAT32]),
    points=st.lists(st.floats(-1, 1), min_size=3, max_size=8),
)
@settings(max_examples=120, deadline=None)
def test_bounds_hold_collapsed_or_not(
    semantics: Spiking, weights: list[float], centre: float, radius: float, arithmetic: Arithmetic, points: list[float]
) -> None:
    network = Unrolled(semantics, weights).eval()
    captured = capture(network, (1,))
    ball, centres = LinfBall(radius), torch.tensor([[centre]])
    currents = torch.cat([ball.project(centres + radius * torch.tensor(point), centres) for point in (-1.0, 0.0, 1.0, *points)])
    with torch.no_grad():
        found = network(currents).double() if arithmetic is FLOAT32 else exact_outputs(network, currents)
    units = torch.eye(3, dtype=torch.float64)[:, None]
    for graph in (captured, simplify(captured, arithmetic)):
        for refine in (False, True):
            bounds = Propagation(graph, InputSet(ball, centres), arithmetic, refine=refine)
            assert bool((found >= bounds.lower(graph.output, units).T).all())
            assert bool((found <= -bounds.lower(graph.output, -units).T).all())
            box = bounds.bounds[graph.output]
            assert bool((box.lower <= found).all()) and bool((found <= box.upper).all())


@given(semantics=SEMANTICS, weights=st.lists(st.sampled_from([-2.0, -1.0, 0.25, 1.0, 3.0]), min_size=2, max_size=5), lower=CURRENTS)
@settings(max_examples=40, deadline=None)
def test_one_neuron_alone_is_bounded_exactly_by_its_hull(semantics: Spiking, weights: list[float], lower: float) -> None:
    """The linear bound at the middle is attained by mixing two currents: no line below the function is higher there."""
    network = Unrolled(semantics, weights).eval().double()
    graph = simplify(capture(network, (1,)), REAL)
    centres = torch.tensor([[lower + 0.25]], dtype=torch.float64)
    bounds = Propagation(graph, InputSet(LinfBall(0.25), centres), REAL, refine=False)
    grid = torch.linspace(lower, lower + 0.5, 401, dtype=torch.float64)[:, None]
    values = network(grid)[:, :1].detach()
    proved = float(bounds.lower(graph.output, torch.eye(3, dtype=torch.float64)[:1, None]))
    assert proved <= float(values.min()) + 1e-9


def test_merging_and_collapsing_leave_one_node() -> None:
    semantics = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean")
    captured = capture(Unrolled(semantics, [1.0, 2.0, 3.0]).eval(), (1,))
    merged = merge_equal_nodes(captured)
    assert sum(isinstance(node.layer, nn.Linear) for node in captured.nodes) == 3
    assert sum(isinstance(node.layer, nn.Linear) for node in merged.nodes) == 1
    collapsed = collapse_static_currents(merged, REAL)
    assert not any(isinstance(node.layer, Fire) for node in collapsed.nodes)
    assert [node.layer.steps for node in collapsed.nodes if isinstance(node.layer, SpikeTrain)] == [3]


class KeepsAPotential(Unrolled):
    """Reads out the potential after one of its steps as well, so they are needed one by one."""

    def __init__(self, semantics: Spiking, kept: int) -> None:
        super().__init__(semantics, [1.0] * semantics.time_steps)
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        current, states, total = self.synapse(x), [None], 0.0
        for _ in self.weights:
            state, spikes = self.neuron(states[-1], current)
            states.append(state)
            total = total + spikes
        return total + states[self.kept]


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_potential_that_is_used_keeps_its_steps(kept: int) -> None:
    semantics = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")
    graph = simplify(capture(KeepsAPotential(semantics, kept).eval(), (1,)), REAL)
    assert sum(isinstance(node.layer, Fire) for node in graph.nodes) == 3


def test_the_train_is_what_the_steps_compute() -> None:
    fire = Fire(Spiking(1.0, ">=", "soft", 0.0, "delayed", FactorLeak(0.75), 5, "direct", "mean"), "rectangle")
    currents = torch.linspace(-1, 3, 400)
    train = torch.stack(SpikeTrain(fire, 5, FLOAT32)(currents), 1).bool().tolist()
    assert [tuple(row) for row in train] == [simulated(fire, 5, Fraction(c)) for c in currents.tolist()]
