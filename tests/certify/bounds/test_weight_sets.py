"""Uncertain weights: no weights of the set, with no input of the set, leave the bounds. No tolerance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from neurocert import certify
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.uncertain import Uncertain
from neurocert.certify.bounds.weights import with_uncertain_weights
from neurocert.certify.errors import InputError, UnsupportedLayer
from neurocert.certify.testing.conformance import arithmetic_of, violations
from neurocert.certify.testing.strategies import spiking
from neurocert.models.data.digits import digits
from neurocert.models.layers.lif import LIF
from neurocert.models.layers.plastic_flex import MaskActivation, PlasticFlex
from neurocert.models.semantics import FactorLeak, Spiking
from neurocert.perturbations.balls import Ball, L2Ball, LinfBall
from neurocert.perturbations.drift import SharedDrift
from neurocert.perturbations.weights import WeightBox


class Recurrent(nn.Module):
    """The same synapses at each of T steps: one set of weights, used T times."""

    def __init__(self, semantics: Spiking) -> None:
        super().__init__()
        self.synapse, self.readout, self.neuron = nn.Linear(3, 4), nn.Linear(4, 2), LIF(semantics)
        self.steps = semantics.time_steps

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, None
        for _ in range(self.steps):
            state, spikes = self.neuron(state, self.synapse(x))
            out = self.readout(spikes) + self.readout(state)
            total = out if total is None else total + out
        assert total is not None
        return total


NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.ReLU(), nn.Linear(5, 3, bias=False)),
    "convolution": lambda: nn.Sequential(nn.Conv2d(2, 4, 2, 1, 1, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 3, 2)),
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2), nn.BatchNorm1d(2)
    ),
}


def randomised(network: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else noise)
    return network.eval()


SETS = st.builds(
    WeightBox,
    relative=st.sampled_from([0.0, 1e-6, 0.01, 0.3]),
    absolute=st.sampled_from([0.0, 1e-6, 0.02]),
    names=st.sampled_from([("*.weight",), ("*.bias",), ("*.weight", "*.bias")]),
)
BALL = LinfBall(0.001)
BALLS = st.sampled_from([LinfBall(0.0), LinfBall(0.1), L2Ball(0.2)])


@pytest.mark.parametrize("kind", NETWORKS)
@given(weights=SETS, ball=BALLS, seed=st.integers(0, 2**16), double=st.booleans())
@settings(max_examples=3, deadline=None)
def test_bounds_hold_for_every_choice_of_weights(kind: str, weights: WeightBox, ball: Ball, seed: int, double: bool) -> None:
    network, centres = randomised(NETWORKS[kind](), seed), torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    if double:
        network, centres = network.double(), centres.double()
    assert violations(network, centres, ball, weights=weights, seed=seed) == []


@given(semantics=spiking(), weights=SETS, ball=BALLS, seed=st.integers(0, 2**16))
@settings(max_examples=4, deadline=None)
def test_weights_are_shared_over_time(semantics: Spiking, weights: WeightBox, ball: Ball, seed: int) -> None:
    network, centres = randomised(Recurrent(semantics), seed), torch.rand(2, 3, generator=torch.Generator().manual_seed(seed))
    assert violations(network, centres, ball, weights=weights, seed=seed) == []


class Gate(nn.Module):
    """A PlasticFlex layer, and a head that reads it."""

    def __init__(self, mask: MaskActivation) -> None:
        super().__init__()
        self.flex, self.head = PlasticFlex(2, 3, (3, 3), mask=mask), nn.Linear(27, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flex(x).flatten(1))


GATES = st.lists(st.sampled_from(["*threshold", "*norm.weight", "*norm.bias", "head.*", "*convolution*"]), min_size=1, unique=True)


@pytest.mark.parametrize("mask", ["sigmoid", "hard-sigmoid", "binary"])
@given(
    names=GATES, relative=st.sampled_from([0.0, 0.05, 1.5]), absolute=st.sampled_from([0.0, 0.3]), ball=BALLS, seed=st.integers(0, 2**16)
)
@settings(max_examples=3, deadline=None)
def test_gates_may_be_uncertain(mask: MaskActivation, names: list[str], relative: float, absolute: float, ball: Ball, seed: int) -> None:
    network, centres = randomised(Gate(mask), seed), torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    assert violations(network, centres, ball, weights=WeightBox(relative, absolute, tuple(names)), seed=seed) == []


DRIFTS = st.builds(
    lambda low, high, relative: (low, high, WeightBox(relative) if relative else None),
    st.sampled_from([0.0, -0.4]),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 0.05]),
)


@pytest.mark.parametrize("kind", [*NETWORKS, "gate"])
@given(drift=DRIFTS, ball=BALLS, seed=st.integers(0, 2**16), double=st.booleans())
@settings(max_examples=3, deadline=None)
def test_weights_that_move_together(
    kind: str, drift: tuple[float, float, WeightBox | None], ball: Ball, seed: int, *, double: bool
) -> None:
    network = randomised((NETWORKS | {"gate": lambda: Gate("hard-sigmoid")})[kind](), seed)
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(2, 2, 3, 3, generator=generator)
    if double:
        network, centres = network.double(), centres.double()
    directions = {name: torch.randn(v.shape, generator=generator) * (v != 0) for name, v in network.named_parameters() if v.dim() > 1}
    assert violations(network, centres, ball, weights=SharedDrift(directions, *drift), seed=seed) == []


class Difference(nn.Module):
    """w x - w x: zero for every w, if w is one number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) - self.layer(x * 1.0)


def test_a_weight_is_one_number_wherever_it_is_used() -> None:
    network = Difference().eval().double()
    graph = with_uncertain_weights(capture(network, (1,)), {"layer.weight"})
    assert len([node for node in graph.nodes if isinstance(node.layer, Uncertain)]) == 2
    centres = torch.ones(1, 1, dtype=torch.float64)
    meant = arithmetic_of(network, centres)
    bounds = Propagation(graph, InputSet(LinfBall(0.0), centres, WeightBox(absolute=0.5)), meant, refine=False)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert float(bounds.bounds[graph.output].lower) <= -1.0
    assert -1e-9 <= float(bounds.lower(graph.output, one)) <= 0.0


def test_exact_at_a_point_and_tight_to_first_order() -> None:
    """On one linear layer at one input the bound is attained at a corner of the weights."""
    network, x = nn.Sequential(nn.Linear(2, 1)).eval().double(), torch.tensor([[0.5, -2.0]], dtype=torch.float64)
    weights = WeightBox(absolute=0.25)
    graph = with_uncertain_weights(capture(network, (2,)), set(weights.parameters(network)))
    bounds = Propagation(graph, InputSet(LinfBall(0.0), x, weights), arithmetic_of(network, x), refine=False)
    weight, bias = network[0].weight.detach(), network[0].bias.detach()
    corners = [float(x[0] @ (weight[0] + 0.25 * torch.tensor(s[:2])) + bias + 0.25 * s[2]) for s in product((-1.0, 1.0), repeat=3)]
    least = float(bounds.lower(graph.output, torch.ones(1, 1, 1, dtype=torch.float64)))
    assert min(corners) - 1e-9 <= least <= min(corners)


def test_drift_is_certified_broken_or_unknown() -> None:
    network, data = certify.load("digits-flex-snn"), digits("test").take(range(2))
    small, large = (
        certify.verify(network, data.inputs, data.labels, certify.LinfBall(0.001), weights=certify.WeightBox(relative))
        for relative in (1e-4, 0.5)
    )
    assert {c.verdict for c in small} == {"certified"} and "0.01 % of itself" in small[0].perturbation
    broken = [c for c in large if c.verdict == "falsified"]
    assert broken and not [c for c in large if c.verdict == "certified"]
    for certificate, inputs, label in zip(large, data.inputs, data.labels, strict=True):
        if certificate.witness is not None and certificate.witness.weights is not None:
            logits = torch.func.functional_call(network, certificate.witness.weights, (certificate.witness.point[None],))[0]
            assert logits[label] <= logits[[k for k in range(10) if k != label]].max() and bool(
                (inputs - certificate.witness.point).abs().max() < 0.0011
            )


def test_weights_without_a_rule_are_named() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.LayerNorm(3, bias=False)).eval()
    with pytest.raises(UnsupportedLayer, match=r"1\.bias, 1\.weight, 2\.weight \(read by no layer of its own\)"):
        certify.verify(network, torch.ones(1, 3), torch.tensor([0]), BALL, weights=certify.WeightBox(0.01))


class Elsewhere(nn.Module):
    """Reads its layer's weight beside the layer, in a way that a trace does not see."""

    def __init__(self, read: Callable[[nn.Linear, Tensor], Tensor], semantics: Spiking | None = None) -> None:
        super().__init__()
        self.layer, self.read, self.neuron = nn.Linear(3, 3), read, None if semantics is None else LIF(semantics)

    def forward(self, x: Tensor) -> Tensor:
        value = self.layer(x) + self.read(self.layer, x)
        return value if self.neuron is None else self.neuron(None, value)[1]


READS: dict[str, Callable[[nn.Linear, Tensor], Tensor]] = {
    "as a constant": lambda layer, x: layer.weight.detach().sum() * 1.0,
    "as a factor": lambda layer, x: x * layer.weight.detach()[0],
    "in a function": lambda layer, x: functional.linear(x, layer.weight),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("semantics", [None, Spiking(0.5, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 1, "direct", "mean")])
def test_weights_that_are_read_elsewhere_are_refused(read: str, semantics: Spiking | None) -> None:
    network = randomised(Elsewhere(READS[read], semantics), 0)
    with pytest.raises(UnsupportedLayer, match=r"not every use of layer\.weight, layer\.bias can be followed"):
        certify.verify(network, torch.ones(1, 3), network(torch.ones(1, 3)).argmax(1), BALL, weights=certify.WeightBox(0.01))


@pytest.mark.parametrize(
    "wrong", [{"relative": -1.0}, {"relative": float("nan")}, {"absolute": float("inf")}, {"relative": True}, {"names": ()}, {"names": "*"}]
)
def test_sets_that_are_none(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="weights: "):
        WeightBox(**wrong)  # type: ignore[arg-type]


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(InputError, match=r"no parameter matches 'conv\*'"):
        WeightBox(0.1, names=("conv*",)).parameters(nn.Linear(2, 2))


def test_containment_is_exact_about_the_others() -> None:
    network = nn.Linear(2, 2)
    box = WeightBox(0.1, names=("weight",))
    assert box.contains({"weight": network.weight * 1.05}, network)
    assert not box.contains({"weight": network.weight * 1.11}, network)
    assert not box.contains({"bias": network.bias + 1e-6}, network)


def test_tied_parameters_are_refused() -> None:
    """Under its other name such a parameter would look certain."""
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).eval()
    network[2].weight = network[0].weight
    with pytest.raises(InputError, match=r"0\.weight and 2\.weight are one parameter"):
        certify.verify(network, torch.ones(1, 3), torch.tensor([0]), BALL, weights=WeightBox(0.1))
    assert set(WeightBox(0.1, names=("*.bias",)).parameters(network)) == {"0.bias", "2.bias"}
