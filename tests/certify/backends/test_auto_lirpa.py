from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.backends import auto_lirpa
from neurocert.certify.backends.auto_lirpa import METHODS, lower_margins
from neurocert.certify.certificate import Verdict
from neurocert.certify.errors import ConfigError, InputError, UnsupportedLayer
from neurocert.certify.problem import Problem
from neurocert.certify.verifiers.margins import MarginBounds, capture_problem, margin_bounds, method
from neurocert.certify.verifiers.verify import verify
from neurocert.models.layers.normalise import Normalise
from neurocert.perturbations.balls import L2Ball, LinfBall

pytestmark = pytest.mark.usefixtures("peer")

MakeProblem = Callable[..., Problem]
LeastMargins = Callable[[Problem], Tensor]
ALL = [0, 1, 2, 3]


def relu_network(seed: int) -> nn.Module:
    """Two convolutions and two linear layers of random sizes."""
    torch.manual_seed(seed)
    first, second, units = (int(size) for size in torch.randint(2, 6, (3,)))
    stride = 1 + seed % 2
    layers = [nn.Conv2d(1, first, 3, stride, 1), nn.ReLU(), nn.Conv2d(first, second, 3, 2, 1), nn.ReLU(), nn.Flatten()]
    features = nn.Sequential(*layers)(torch.zeros(1, 1, 7, 7)).shape[1]
    return nn.Sequential(*layers, nn.Linear(features, units), nn.ReLU(), nn.Linear(units, 3)).eval()


def ours(problem: Problem, name: str) -> Tensor:
    return margin_bounds(problem, capture_problem(problem), method(name), ALL).lower


@pytest.mark.parametrize("seed", range(6))
def test_interval_bounds_agree(seed: int, problem_of: MakeProblem) -> None:
    problem = problem_of(relu_network(seed), LinfBall(0.05), 1, 7, 7)
    torch.testing.assert_close(lower_margins(problem, ALL, "IBP").lower, ours(problem, "interval"), rtol=1e-5, atol=1e-9)


def test_linear_bounds_are_no_worse(problem_of: MakeProblem) -> None:
    """On every sample of twelve networks, within 1e-5 relative: rounding is charged here and not there."""
    for seed in range(12):
        problem = problem_of(relu_network(seed), LinfBall(0.04), 1, 7, 7)
        theirs, here = lower_margins(problem, ALL, "CROWN").lower, ours(problem, "linear")
        assert bool((here >= theirs - 1e-5 * theirs.abs()).all()), f"network {seed}: {here.tolist()} against {theirs.tolist()}"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("ball", [LinfBall(0.05), LinfBall(0.05, 0.0, 1.0), L2Ball(0.2)], ids=["box", "clipped", "euclidean"])
def test_no_point_goes_below_a_bound(name: str, ball: LinfBall | L2Ball, problem_of: MakeProblem, least_margins: LeastMargins) -> None:
    problem = problem_of(relu_network(1), ball, 1, 7, 7)
    least = least_margins(problem)
    assert bool((lower_margins(problem, ALL, name).lower <= least).all())
    assert bool((ours(problem, "linear") <= least).all())


def test_only_the_samples_asked_for_are_bounded(problem_of: MakeProblem) -> None:
    bounds = lower_margins(problem_of(relu_network(0), LinfBall(0.01), 1, 7, 7), [2])
    assert (~bounds.lower.isnan()).nonzero()[:, 0].tolist() == [2]


def test_an_unknown_method_is_refused(problem_of: MakeProblem) -> None:
    with pytest.raises(ConfigError, match="'DeepPoly', expected one of IBP, CROWN-IBP, CROWN"):
        lower_margins(problem_of(relu_network(0), LinfBall(0.01), 1, 7, 7), ALL, "DeepPoly")


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(Normalise([0.5], [0.5]), nn.Flatten(), nn.Linear(49, 3)),
        nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(49, 3)),
        nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(49, 3)),
    ],
    ids=["normalised", "rectified", "flattened"],
)
def test_an_euclidean_ball_that_would_be_lost_is_refused(network: nn.Module, problem_of: MakeProblem) -> None:
    with pytest.raises(UnsupportedLayer, match="loses an L2 ball"):
        lower_margins(problem_of(network, L2Ball(0.1), 1, 7, 7), ALL)


def test_layers_outside_the_list_are_refused(problem_of: MakeProblem) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(49, 3), nn.LeakyReLU())
    with pytest.raises(UnsupportedLayer, match=r"not trusted with 2 \(LeakyReLU\)"):
        lower_margins(problem_of(network, LinfBall(0.1), 1, 7, 7), ALL)


@pytest.mark.parametrize(
    ("lower", "upper", "reason"),
    [(torch.nan, 1.0, "not finite"), (-torch.inf, 1.0, "not finite"), (0.5, 0.4, "above its upper bound"), (5.0, 6.0, "above the margin")],
)
def test_an_impossible_bound_is_unknown(
    lower: float, upper: float, reason: str, problem_of: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(relu_network(0), LinfBall(0.01), 1, 7, 7)
    low, high = torch.full((4, 2), -1.0), torch.full((4, 2), 9.0)
    low[1], high[1] = lower, upper
    monkeypatch.setattr(auto_lirpa, "_margin_range", lambda *_: (low.double(), high.double()))
    bounds = lower_margins(problem, ALL)
    assert reason in bounds.failures[1] and list(bounds.failures) == [1]
    assert bounds.lower.isnan().tolist() == [False, True, False, False]


def test_a_failure_of_the_package_is_an_input_error(problem_of: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(relu_network(0), LinfBall(0.01), 1, 7, 7)

    class Broken:
        def compute_bounds(self, **_: object) -> None:
            raise NotImplementedError("Function `bound_backward` is not supported yet.\nPlease help.")

    monkeypatch.setattr(auto_lirpa, "bounded_module", lambda *_: Broken())
    with pytest.raises(InputError, match="cannot bound the network") as caught:
        lower_margins(problem, ALL)
    assert "Please" not in str(caught.value)


def test_the_method_is_the_lesser_of_both_bounds(problem_of: MakeProblem) -> None:
    problem = problem_of(relu_network(3), LinfBall(0.04), 1, 7, 7)
    both = margin_bounds(problem, capture_problem(problem), method("auto-lirpa"), ALL).lower
    assert torch.equal(both, torch.minimum(ours(problem, "linear"), lower_margins(problem, ALL).lower))


def test_a_bound_of_the_package_alone_certifies_nothing(problem_of: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(relu_network(3), LinfBall(0.5), 1, 7, 7)
    assert not bool((ours(problem, "linear") > 0).any()), "the ball is too small for this test"
    monkeypatch.setattr(auto_lirpa, "lower_margins", lambda *_: MarginBounds(torch.full((4,), 1.0, dtype=torch.float64), {}))
    certificates = verify(problem.network, problem.inputs, problem.labels, problem.ball, "auto-lirpa", attack=None)
    assert {certificate.verdict for certificate in certificates} == {Verdict.UNKNOWN}


def test_a_doubt_of_the_package_is_the_reason_given(problem_of: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(relu_network(3), LinfBall(0.001), 1, 7, 7)
    doubtful = MarginBounds(torch.full((4,), torch.nan, dtype=torch.float64), {1: "auto_LiRPA: a bound is not finite"})
    monkeypatch.setattr(auto_lirpa, "lower_margins", lambda *_: doubtful)
    found = verify(problem.network, problem.inputs, problem.labels, problem.ball, "auto-lirpa", attack=None)[1]
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "auto_LiRPA: a bound is not finite")
