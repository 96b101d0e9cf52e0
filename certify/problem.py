"""A verification problem: network, samples, perturbation set, arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import Arithmetic, arithmetic
from neurocert.certify.errors import InputError
from neurocert.models.networks.classifier import Classifier
from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.balls import Ball
from neurocert.perturbations.weights import WeightSet

ARITHMETIC_OF = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True, eq=False)
class Problem:
    """Does the network decide ``labels[i]`` on every point of ``ball`` around ``inputs[i]``?

    Property: f_y - f_j > 0 for every j != y, strictly; a tie is not a decision.

    Attributes:
        network: in evaluation mode.
        inputs: (B, *shape) in the network's dtype.
        labels: (B,) int64.
        ball: the perturbation set, clipped to the network's input range.
        arithmetic: the evaluations that a proof must cover.
        weights: the weights that the network may have; None for those that it has.
    """

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    ball: Ball
    arithmetic: Arithmetic
    weights: WeightSet | None = None

    @property
    def perturbation(self) -> str:
        """The set of inputs, and of weights, in words."""
        return self.ball.describe() + ("" if self.weights is None else f"; {self.weights.describe()}")

    @property
    def semantics(self) -> str:
        """What the network computes beyond its weights, in words."""
        return self.network.semantics.describe() if isinstance(self.network, Classifier) else "a PyTorch module, one forward pass"

    def logits(self, points: Tensor) -> Tensor:
        """(B, *shape) to (B, classes), as the network itself computes them."""
        with torch.no_grad():
            return self.network(points)

    def margins(self, points: Tensor) -> Tensor:
        """f_y - max_{j != y} f_j at ``points``, float64 (B,)."""
        return margins(self.logits(points), self.labels)

    def margin_at(self, index: int, point: Tensor) -> float:
        """The margin of sample ``index`` at ``point`` (*shape), in a forward pass of its own."""
        return float(margins(self.logits(point[None]), self.labels[index : index + 1])[0])

    def with_ball(self, ball: Ball) -> Problem:
        """The same question about another perturbation."""
        return make_problem(self.network, self.inputs, self.labels, ball, self.arithmetic.name, self.weights)


def on(device: torch.device) -> AbstractContextManager[Any]:
    """Inside the block new tensors lie on this device; costs nothing on the CPU, where they lie anyway."""
    return nullcontext() if device.type == "cpu" else device


def make_problem(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    ball: Ball,
    arithmetic_name: str | None = None,
    weights: WeightSet | None = None,
) -> Problem:
    """Checks everything a problem is made of.

    Args:
        arithmetic_name: "real", "float32" or "float64"; by default that of the network's weights.

    Raises:
        InputError: whatever cannot be used, with what was expected.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"network is a {type(network).__name__}, expected a torch.nn.Module", "certify.load(checkpoint) gives one")
    dtype = _weights_dtype(network)
    if not isinstance(ball, Ball):
        raise InputError(f"perturbation is a {type(ball).__name__}, expected a Ball", "use LinfBall(epsilon) or another set of certify")
    if weights is not None and not isinstance(weights, WeightSet):
        raise InputError(f"weights are a {type(weights).__name__}, expected a set of weights", "use WeightBox(relative=0.01)")
    inputs, labels = _tensor(inputs, "inputs"), _tensor(labels, "labels")
    _require_same_device(network, inputs)
    labels = labels.to(inputs.device)
    if inputs.dim() < 2 or not len(inputs) or not inputs.dtype.is_floating_point:
        raise InputError(f"inputs are {inputs.dtype} of shape {tuple(inputs.shape)}, expected floating point (B, *shape) with B >= 1")
    if labels.is_floating_point() or labels.is_complex() or labels.shape != inputs.shape[:1]:
        raise InputError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}, expected {len(inputs)} integers, one for each input")
    if isinstance(network, Classifier):
        ball = ball.clipped_to(network.inputs.low, network.inputs.high)
        if tuple(inputs.shape[1:]) != network.inputs.shape:
            raise InputError(f"inputs have shape {tuple(inputs.shape[1:])}, the network expects {network.inputs.shape}")
    inputs = _exactly(inputs, dtype)
    ball.require_centre(inputs)
    problem = Problem(network, inputs, labels.long(), ball, arithmetic(arithmetic_name or ARITHMETIC_OF[dtype]), weights)
    if weights is not None:
        weights.parameters(network)
    _require_labels(problem)
    return problem


def _require_same_device(network: nn.Module, inputs: Tensor) -> None:
    devices = sorted({str(tensor.device) for tensor in (*network.parameters(), *network.buffers())})
    if devices and devices != [str(inputs.device)]:
        raise InputError(f"the network lies on {', '.join(devices)}, the inputs on {inputs.device}", "move one with .to(device)")


def _tensor(values: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} are a {type(values).__name__}, expected a tensor or an array of numbers: {error}") from error


def _weights_dtype(network: nn.Module) -> torch.dtype:
    parameters = [tensor for tensor in network.state_dict().values() if tensor.dtype.is_floating_point]
    dtypes = {tensor.dtype for tensor in parameters} or {torch.float32}
    if len(dtypes) > 1 or not dtypes <= set(ARITHMETIC_OF):
        raise InputError(f"the network's weights are {sorted(map(str, dtypes))}, expected all float32 or all float64")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in parameters):
        raise InputError("the network's weights hold NaN or infinity, expected finite numbers")
    return dtypes.pop()


def _exactly(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Inputs in the network's dtype; refused where that would change them, since the set is centred on them."""
    converted = inputs.detach().to(dtype)
    if not torch.equal(converted.to(inputs.dtype), inputs) and bool(torch.isfinite(inputs).all()):
        raise InputError(
            f"inputs are {inputs.dtype} and cannot be given exactly to a {dtype} network", f"convert them with inputs.to({dtype})"
        )
    return converted


def _require_labels(problem: Problem) -> None:
    try:
        logits = problem.logits(problem.inputs[:1])
    except RuntimeError as error:
        raise InputError(f"the network rejects inputs of shape {tuple(problem.inputs.shape[1:])}: {str(error).splitlines()[0]}") from error
    if not isinstance(logits, Tensor):
        raise InputError(f"the network returns a {type(logits).__name__}, expected a tensor of logits", "wrap it in a module that does")
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise InputError(f"the network returns shape {tuple(logits.shape)} for one input, expected (1, classes) with at least 2 classes")
    low, high = int(problem.labels.min()), int(problem.labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise InputError(f"labels lie in {low}..{high}, the network has classes 0..{logits.shape[1] - 1}")
