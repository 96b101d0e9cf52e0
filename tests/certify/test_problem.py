"""A problem holds together before anything is computed; whatever does not is refused with what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurocert import certify
from neurocert.certify.errors import ConfigError, InputError
from neurocert.certify.problem import make_problem
from neurocert.models.data.digits import digits
from neurocert.perturbations.balls import Ball, L2Ball, LinfBall
from neurocert.perturbations.weights import WeightBox

DIGITS = digits("test").take(range(3))
INPUTS, LABELS = torch.tensor([[0.5, 0.25], [-0.5, 2.0]]), torch.tensor([0, 1])


class Returns(nn.Module):
    """Passes its input on through a function."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (LinfBall(0.1), LinfBall(0.1, 0.0, 1.0)),
        (L2Ball(0.1, -3.0, 3.0), L2Ball(0.1, 0.0, 1.0)),
        (LinfBall(0.1, 0.0, 7.0), LinfBall(0.1, 0.0, 1.0)),
    ],
)
def test_the_set_is_cut_to_the_range_that_a_network_declares(given: Ball, expected: Ball) -> None:
    problem = make_problem(certify.load("digits-flex-snn"), DIGITS.inputs, DIGITS.labels, given)
    assert problem.ball == expected
    assert problem.perturbation.endswith("ball of radius 0.1, clipped to [0, 1]")
    assert "T=4" in problem.semantics


def test_a_plain_module_declares_no_range() -> None:
    problem = make_problem(nn.Identity(), INPUTS, LABELS, LinfBall(0.1))
    assert (problem.perturbation, problem.semantics) == ("L-infinity ball of radius 0.1", "a PyTorch module, one forward pass")
    assert problem.arithmetic.name == "float32"


def test_weights_that_may_drift_are_part_of_the_words() -> None:
    network = nn.Linear(2, 2)
    problem = make_problem(network, INPUTS, LABELS, LinfBall(0.1), weights=WeightBox(0.01, names=("weight",)))
    assert problem.perturbation == "L-infinity ball of radius 0.1; every weight matching weight off by up to 1 % of itself"
    with pytest.raises(InputError, match="no parameter matches 'scale'"):
        make_problem(network, INPUTS, LABELS, LinfBall(0.1), weights=WeightBox(0.01, names=("scale",)))


def test_margins_are_those_of_the_network() -> None:
    problem = make_problem(certify.load("digits-flex-snn"), DIGITS.inputs, DIGITS.labels, LinfBall(0.1))
    logits = certify.load("digits-flex-snn")(DIGITS.inputs).detach()
    assert torch.equal(problem.logits(DIGITS.inputs), logits) and not problem.logits(DIGITS.inputs).requires_grad
    for index, label in enumerate(DIGITS.labels.tolist()):
        others = [logit for j, logit in enumerate(logits[index].tolist()) if j != label]
        assert float(problem.margins(DIGITS.inputs)[index]) == logits[index, label].item() - max(others)
        assert problem.margin_at(index, DIGITS.inputs[index]) == pytest.approx(float(problem.margins(DIGITS.inputs)[index]), abs=1e-4)


def test_another_ball_asks_the_same_question() -> None:
    problem = make_problem(certify.load("digits-flex-ann"), DIGITS.inputs, DIGITS.labels, LinfBall(0.1), "real")
    other = problem.with_ball(L2Ball(0.5))
    assert (other.ball, other.arithmetic, other.network) == (L2Ball(0.5, 0.0, 1.0), problem.arithmetic, problem.network)
    assert torch.equal(other.inputs, problem.inputs) and torch.equal(other.labels, problem.labels)


@pytest.mark.parametrize(
    "convert", [np.asarray, Tensor.tolist, lambda tensor: tensor.numpy().astype("int8" if tensor.dim() == 1 else "f4")]
)
def test_arrays_and_lists_serve_as_tensors(convert: Callable[[Tensor], Any]) -> None:
    problem = make_problem(nn.Identity(), convert(INPUTS), convert(LABELS), LinfBall(0.1))
    assert torch.equal(problem.inputs, INPUTS) and torch.equal(problem.labels, LABELS) and problem.labels.dtype == torch.int64


def test_inputs_are_converted_only_where_that_is_exact() -> None:
    """The set is centred on the input: another centre would be another claim."""
    fine, coarse = INPUTS.double(), INPUTS.double() + 2.0**-40
    assert make_problem(nn.Linear(2, 2), fine, LABELS, LinfBall(0.1)).inputs.dtype == torch.float32
    assert make_problem(nn.Linear(2, 2).double(), INPUTS, LABELS, LinfBall(0.1)).inputs.dtype == torch.float64
    assert torch.equal(make_problem(nn.Linear(2, 2).double(), coarse, LABELS, LinfBall(0.1)).inputs, coarse)
    with pytest.raises(InputError, match=r"inputs are torch.float64 and cannot be given exactly to a torch.float32 network .*inputs.to"):
        make_problem(nn.Linear(2, 2), coarse, LABELS, LinfBall(0.1))


def test_inputs_are_not_changed_and_carry_no_gradient() -> None:
    inputs = INPUTS.clone().requires_grad_()
    problem = make_problem(nn.Linear(2, 2), inputs, LABELS, LinfBall(0.1))
    assert not problem.inputs.requires_grad and inputs.requires_grad and torch.equal(inputs, INPUTS)


@pytest.mark.parametrize(("network", "name"), [(nn.Linear(2, 2), "float32"), (nn.Linear(2, 2).double(), "float64")])
def test_the_arithmetic_is_that_of_the_weights_unless_named(network: nn.Module, name: str) -> None:
    inputs = INPUTS.to(next(network.parameters()).dtype)
    assert make_problem(network, inputs, LABELS, LinfBall(0.1)).arithmetic.name == name
    assert make_problem(network, inputs, LABELS, LinfBall(0.1), "real").arithmetic.name == "real"
    with pytest.raises(ConfigError, match="arithmetic is 'float16', expected one of real, float32, float64"):
        make_problem(network, inputs, LABELS, LinfBall(0.1), "float16")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": None}, "network is a NoneType, expected a torch.nn.Module"),
        ({"network": "digits-flex-ann"}, r"network is a str, expected a torch.nn.Module \(certify.load"),
        ({"inputs": "x"}, "inputs are a str, expected a tensor or an array of numbers"),
        ({"inputs": None}, "inputs are a NoneType"),
        ({"inputs": [[1.0], [1.0, 2.0]]}, "inputs are a list"),
        ({"inputs": INPUTS[0, 0]}, r"of shape \(\), expected floating point"),
        ({"inputs": INPUTS.to(torch.complex64)}, "inputs are torch.complex64"),
        ({"labels": ["a", "b"]}, "labels are a list, expected a tensor or an array of numbers"),
        ({"labels": None}, "labels are a NoneType"),
        ({"labels": LABELS.to(torch.complex64)}, "labels are torch.complex64 .*expected 2 integers"),
        ({"labels": LABELS[:, None]}, r"of shape \(2, 1\), expected 2 integers"),
        ({"labels": torch.tensor([2**40, 0])}, r"labels lie in 0\.\.1099511627776, the network has classes 0\.\.1"),
        ({"ball": 0.1}, "perturbation is a float, expected a Ball"),
        ({"ball": LinfBall}, "expected a Ball"),
        ({"ball": LinfBall(0.1, -1.0, 1.0)}, r"inputs lie in \[-0.5, 2\], expected \[-1, 1\]"),
        ({"network": Returns(lambda x: (x, x))}, "the network returns a tuple, expected a tensor of logits"),
        ({"network": Returns(lambda x: {"logits": x})}, "the network returns a dict"),
        ({"network": Returns(lambda x: x[:, :1])}, r"the network returns shape \(1, 1\) for one input, .* at least 2 classes"),
        ({"network": Returns(lambda x: x[:, 0])}, r"the network returns shape \(1,\)"),
        ({"network": Returns(lambda x: x @ torch.ones(3, 2))}, r"the network rejects inputs of shape \(2,\): mat1"),
        ({"network": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())}, "expected all float32 or all float64"),
        ({"network": nn.Linear(2, 2).bfloat16()}, r"weights are \['torch.bfloat16'\]"),
    ],
)
def test_refuses(change: dict[str, Any], words: str) -> None:
    given = {"network": nn.Identity(), "inputs": INPUTS, "labels": LABELS, "ball": LinfBall(0.1)}
    with pytest.raises(InputError, match=words):
        make_problem(**(given | change))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (DIGITS.inputs[..., :7], r"inputs have shape \(1, 8, 7\), the network expects \(1, 8, 8\)"),
        (DIGITS.inputs.flatten(1), r"inputs have shape \(64,\)"),
        (DIGITS.inputs * 16, r"inputs lie in \[0, 16\], expected \[0, 1\] \(scale the data"),
        (DIGITS.inputs - 0.5, r"inputs lie in \[-0.5, 0.5\]"),
        (torch.full_like(DIGITS.inputs, torch.nan), "NaN or infinity"),
        (torch.full_like(DIGITS.inputs, torch.inf), "NaN or infinity"),
    ],
)
def test_refuses_what_a_checkpoint_does_not_take(inputs: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_problem(certify.load("digits-flex-ann"), inputs, DIGITS.labels, LinfBall(0.1))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_and_running_statistics_must_be_finite(value: float) -> None:
    for name in ("weight", "running_var"):
        network = nn.Sequential(nn.BatchNorm1d(2)).eval()
        network.state_dict()[f"0.{name}"][0] = value
        with pytest.raises(InputError, match="the network's weights hold NaN or infinity"):
            make_problem(network, INPUTS, LABELS, LinfBall(0.1))
