"""Small problems, and what random points say of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.problem import Problem, make_problem
from neurocert.perturbations.balls import Ball

DRAWS = 200


@pytest.fixture
def peer() -> None:
    """Skips where the package that is compared with is absent."""
    if find_spec("auto_LiRPA") is None:
        pytest.skip("auto_LiRPA is not installed (requirements/peers.txt)")


@pytest.fixture
def problem_of() -> Callable[..., Problem]:
    """``problem_of(network, ball, *shape)``: random inputs, labelled by the network itself; real arithmetic."""

    def make(network: nn.Module, ball: Ball, *shape: int, samples: int = 4) -> Problem:
        inputs = torch.rand(samples, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            labels = network.eval()(inputs).argmax(1)
        return make_problem(network, inputs, labels, ball, "real")

    return make


@pytest.fixture
def least_margins() -> Callable[[Problem], Tensor]:
    """The least margin of each sample over random points of its ball, half of them corners of its box."""

    def sample(problem: Problem) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        least = problem.margins(problem.inputs)
        for draw in range(DRAWS):
            points = problem.ball.sample(problem.inputs, generator)
            if draw % 2:
                sign = torch.randint(0, 2, points.shape, generator=generator) * 2.0 - 1
                points = problem.ball.project(problem.inputs + sign, problem.inputs)
            least = torch.minimum(least, problem.margins(points))
        return least

    return sample
