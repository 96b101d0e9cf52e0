"""Uncertain weights: no weights of the set, with no input of the set, leave the bounds. No tolerance."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert import certify
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.uncertain import Uncertain
from neurocert.certify.bounds.weights import with_uncertain_weights
from neurocert.certify.errors import InputError, UnsupportedLayer
from neurocert.certify.testing.conformance import arithmetic_of
from neurocert.certify.testing.strategies import spiking
from neurocert.models.data.digits import digits
from neurocert.models.layers.lif import LIF
from neurocert.models.semantics import Spiking
from neurocert.perturbations.balls import Ball, L2Ball, LinfBall
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


def changed_weights(network: nn.Module, weights: WeightBox, seed: int, count: int) -> list[dict[str, Tensor]]:
    """Random corners and random inner points of the set."""
    generator, found = torch.Generator().manual_seed(seed), []
    for index in range(count):
        changed = {}
        for name, value in weights.parameters(network).items():
            noise = torch.rand(value.shape, generator=generator).to(value.dtype) * 2 - 1
            reach = 3 * (weights.relative * value.abs() + weights.absolute)
            changed[name] = weights.project(name, value.detach() + reach * (noise.sign() if index % 2 else noise / 3), network)
        assert weights.contains(changed, network)
        found.append(changed)
    return found


def violations(network: nn.Module, centres: Tensor, ball: Ball, weights: WeightBox, seed: int) -> int:
    meant, names = arithmetic_of(network, centres), set(weights.parameters(network))
    graph = with_uncertain_weights(simplify(capture(network, tuple(centres.shape[1:])), meant), names)
    unit = torch.eye(graph.shape(graph.output).numel(), dtype=torch.float64)[:, None].unflatten(2, graph.shape(graph.output))
    bounds = []
    with torch.no_grad():
        for refine in (False, True):
            found = Propagation(graph, InputSet(ball, centres, weights), meant, refine=refine)
            box = found.bounds[graph.output]
            bounds.append((box.lower.flatten(1), box.upper.flatten(1)))
            bounds.append((found.lower(graph.output, unit).T, -found.lower(graph.output, -unit).T))
        generator, broken = torch.Generator().manual_seed(seed), 0
        for changed in changed_weights(network, weights, seed, 12):
            for points in (centres, ball.sample(centres, generator), ball.project(centres + torch.randn_like(centres).sign(), centres)):
                outputs = torch.func.functional_call(network, changed, (points,)).flatten(1).double()
                broken += sum(int(((outputs < lower) | (outputs > upper)).sum()) for lower, upper in bounds)
    return broken


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
@settings(max_examples=8, deadline=None)
def test_bounds_hold_for_every_choice_of_weights(kind: str, weights: WeightBox, ball: Ball, seed: int, double: bool) -> None:
    network, centres = randomised(NETWORKS[kind](), seed), torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    if double:
        network, centres = network.double(), centres.double()
    assert violations(network, centres, ball, weights, seed) == 0


@given(semantics=spiking(), weights=SETS, ball=BALLS, seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_weights_are_shared_over_time(semantics: Spiking, weights: WeightBox, ball: Ball, seed: int) -> None:
    network, centres = randomised(Recurrent(semantics), seed), torch.rand(2, 3, generator=torch.Generator().manual_seed(seed))
    assert violations(network, centres, ball, weights, seed) == 0


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
    network, data = certify.load("digits-flex-snn"), digits("test").take(range(6))
    names = tuple(name for name, _ in network.named_parameters() if "routing" not in name)
    small, large = (
        certify.verify(network, data.inputs, data.labels, certify.LinfBall(0.001), weights=certify.WeightBox(relative, names=names))
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
    network, data = certify.load("digits-flex-ann"), digits("test").take([0])
    with pytest.raises(UnsupportedLayer, match=r"routing\.threshold.*MaskRouting"):
        certify.verify(network, data.inputs, data.labels, BALL, weights=certify.WeightBox(0.01, names=("*threshold",)))


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
