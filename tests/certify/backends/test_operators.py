from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.backends.auto_lirpa import METHODS, bounded_module, lower_margins
from neurocert.certify.backends.compatibility import contained
from neurocert.certify.problem import Problem
from neurocert.certify.verifiers.margins import capture_problem, margin_bounds, method
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build
from neurocert.models.semantics import EulerLeak, FactorLeak, Semantics, Spiking
from neurocert.perturbations.balls import LinfBall

pytestmark = pytest.mark.usefixtures("peer")

MakeProblem = Callable[..., Problem]
ALL = [0, 1, 2, 3]
HARD = Spiking(
    threshold=1.0,
    comparison=">",
    reset="hard",
    reset_value=0.0,
    reset_timing="in-step",
    leak=FactorLeak(0.5),
    time_steps=3,
    encoding="direct",
    readout="mean",
)
SOFT = Spiking(
    threshold=0.5,
    comparison=">=",
    reset="soft",
    reset_value=0.0,
    reset_timing="delayed",
    leak=EulerLeak(dt=0.001, tau=0.002),
    time_steps=4,
    encoding="direct",
    readout="sum",
)


def flex_vgg(spiking: Spiking | None, mask: str = "hard-sigmoid") -> Classifier:
    """A small network whose neurons are busy."""
    torch.manual_seed(3)
    network = build(
        "flex-vgg",
        {"blocks": [[3, 1], [4, 2]], "hidden": [8], "mask": mask},
        inputs=InputSpace((1, 6, 6), 0.0, 1.0),
        semantics=Semantics(spiking),
        classes=("a", "b", "c"),
        mean=[0.5],
        std=[0.25],
    ).eval()
    with torch.no_grad():
        for synapse, factor in zip(network.synapses, (2.0, 3.0, 4.0), strict=True):
            synapse[1].weight.mul_(factor)
    return network


def windows() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.AvgPool2d(3, 1, 1),
        nn.Hardsigmoid(),
        nn.MaxPool2d(3, 2, 1),
        nn.Flatten(),
        nn.Linear(27, 3),
    ).eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "flex": lambda: flex_vgg(None),
    "flex sigmoid": lambda: flex_vgg(None, "sigmoid"),
    "hard reset": lambda: flex_vgg(HARD),
    "soft reset": lambda: flex_vgg(SOFT),
    "windows": windows,
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
@pytest.mark.parametrize("bound", METHODS)
def test_no_point_goes_below_a_bound(name: str, bound: str, problem_of: MakeProblem, least_margins: Callable[[Problem], Tensor]) -> None:
    problem = problem_of(NETWORKS[name](), LinfBall(0.03), 1, 6, 6)
    bounds = lower_margins(problem, ALL, bound)
    assert not bounds.failures
    assert bool((bounds.lower <= least_margins(problem)).all())


@every_network
def test_intervals_are_the_same(name: str, problem_of: MakeProblem) -> None:
    problem = problem_of(NETWORKS[name](), LinfBall(0.03), 1, 6, 6)
    ours = margin_bounds(problem, capture_problem(problem), method("interval"), ALL).lower
    theirs = lower_margins(problem, ALL, "IBP").lower
    assert bool((theirs <= ours + 1e-5 * ours.abs()).all()), "ours merges every affine layer at the end, theirs the last alone"


@every_network
def test_linear_bounds_gain_on_intervals(name: str, problem_of: MakeProblem) -> None:
    problem = problem_of(NETWORKS[name](), LinfBall(0.005), 1, 6, 6)
    assert float(lower_margins(problem, ALL, "CROWN").lower.sum()) > float(lower_margins(problem, ALL, "IBP").lower.sum())


def test_the_converted_network_computes_the_same(problem_of: MakeProblem) -> None:
    problem = problem_of(flex_vgg(SOFT), LinfBall(0.03), 1, 6, 6)
    inputs = problem.inputs.double()
    with contained():
        converted = bounded_module(problem.network, inputs)(inputs)
    assert torch.equal(converted, copy.deepcopy(problem.network).double()(inputs))


def test_the_network_itself_is_left_alone() -> None:
    network = flex_vgg(HARD)
    before = copy.deepcopy(network.state_dict())
    modules = [type(module) for module in network.modules()]
    bounded_module(network, torch.rand(1, 1, 6, 6))
    assert [type(module) for module in network.modules()] == modules
    assert all(torch.equal(before[key], value) and value.dtype == before[key].dtype for key, value in network.state_dict().items())
