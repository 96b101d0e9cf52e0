"""auto_LiRPA as a second opinion: its bounds of our problems, and our relaxations among its operators.

Its bounds are computed in float64 and account for no rounding, its own or the network's, so none of them is a proof.
``--method auto-lirpa`` therefore reports the lesser of its CROWN bound and our linear bound: what that certifies is proved
here and confirmed there. What it is known to bound wrongly is refused, not returned:

| refused | because |
|---|---|
| every layer and function outside ``TRANSLATED`` and ``OPERATORS`` | comparisons are wrong at ties, some matrix products are unsound |
| an L2 ball around anything but a linear or convolution layer | the first elementwise operation loses the ball: width 0 |
| NaN, infinity, lower above upper or above the margin at the centre | the bound of that sample is unknown |

An L2 ball is not clipped to the input range there, which can only loosen a bound.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.backends.compatibility import contained, library
from neurocert.certify.backends.operators import with_operators
from neurocert.certify.bounds.call import Call
from neurocert.certify.bounds.graph import Graph, Node, capture
from neurocert.certify.bounds.registry import layer_name
from neurocert.certify.errors import ConfigError, InputError, UnsupportedLayer
from neurocert.certify.problem import Problem
from neurocert.certify.verifiers.margins import MarginBounds, margin_coefficients
from neurocert.models.layers.lif import Fire
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import ChannelAlignment, MaskRouting
from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.balls import L2Ball, LinfBall

METHODS = ("IBP", "CROWN-IBP", "CROWN")
OPERATORS = (Fire, MaskRouting, nn.Hardsigmoid, nn.MaxPool2d, nn.AvgPool2d)
"""Layers that it bounds by our rules: its own know no spikes with a reset and no masks, and want windows that do not overlap."""
LINEAR = (nn.Linear, nn.Conv2d)
FLATTENING = (nn.Flatten, torch.flatten, "flatten")
TRANSLATED = {
    *LINEAR, *FLATTENING, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.Sigmoid, Normalise, ChannelAlignment,
    operator.add, operator.iadd, operator.sub, operator.mul, operator.truediv, operator.neg,
    torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.relu, functional.relu, torch.sigmoid,
    "add", "add_", "sub", "mul", "div", "neg", "relu", "sigmoid",
}  # fmt: skip
"""What it bounds by its own rules, and was seen to bound rightly."""
WITHOUT_SPARSITY: dict[str, Any] = {"sparse_intermediate_bounds": False, "sparse_conv_intermediate_bounds": False}
"""For L2 balls: which neurons to skip is decided by intervals, and these are not trusted there."""
BATCH = 16
"""Samples bounded together."""
SANITY = 1e-9
"""Relative slack when a bound is compared with a value that it must not exceed; no proof rests on it."""
RAISES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What it raises on a network or a shape that it does not handle."""


def bounded_module(network: nn.Module, inputs: Tensor, options: dict[str, Any] | None = None) -> Any:
    """A ``BoundedModule`` of a float64 copy of ``network``, with our relaxations of PlasticFlex masks, spikes and resets,
    hard sigmoids and max pooling of any window. Use it inside ``compatibility.contained``.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), an example.
        options: its ``bound_opts``.

    Raises:
        InputError: auto_LiRPA is missing, or cannot convert the network.
    """
    lirpa = library()
    double, operators = with_operators(network, OPERATORS)
    # A relaxation here needs coefficients as plain tensors, not as the patches of a convolution.
    defaults = {"conv_mode": "matrix"} if operators else {}
    try:
        with contained():
            return lirpa.BoundedModule(double, inputs.double(), bound_opts={**defaults, **(options or {})}, custom_ops=operators)
    except RAISES as error:
        raise InputError(f"auto_LiRPA {lirpa.__version__} cannot convert the network: {_first_line(error)}") from error


def lower_margins(problem: Problem, indices: list[int], method: str = "CROWN") -> MarginBounds:
    """auto_LiRPA's lower bounds of min_{j != y} f_y - f_j: no proofs, see above.

    Args:
        indices: the samples to bound; all others stay NaN.
        method: one of ``METHODS``.

    Raises:
        InputError: auto_LiRPA is missing or fails on the network.
        UnsupportedLayer: the network or the ball is among those that it is known to bound wrongly.
    """
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    graph = capture(problem.network, tuple(problem.inputs.shape[1:]))
    _require_translated(graph)
    _require_ball(problem, graph)
    options = {} if isinstance(problem.ball, LinfBall) else WITHOUT_SPARSITY
    module = bounded_module(problem.network, problem.inputs[:1], options)
    lower = torch.full((len(problem.inputs),), torch.nan, dtype=torch.float64)
    failures: dict[int, str] = {}
    for start in range(0, len(indices), BATCH):
        batch = indices[start : start + BATCH]
        below, above = _margin_range(module, problem, batch, method)
        failures |= _doubts(below, above, problem, batch)
        kept = [position for position, index in enumerate(batch) if index not in failures]
        lower[[batch[position] for position in kept]] = below[kept].amin(1)
    return MarginBounds(lower, failures)


def _margin_range(module: Any, problem: Problem, batch: list[int], method: str) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds (B, classes - 1) of f_y - f_j."""
    lirpa, centres = library(), problem.inputs[batch].double()
    classes = problem.logits(problem.inputs[:1]).shape[1]
    specification = margin_coefficients(problem.labels[batch], classes).transpose(0, 1)
    try:
        with contained(), torch.no_grad():
            inputs = lirpa.BoundedTensor(centres, _perturbation(lirpa, problem, centres))
            lower, upper = module.compute_bounds(x=(inputs,), C=specification, method=method)
    except RAISES as error:
        raise InputError(f"auto_LiRPA {lirpa.__version__} cannot bound the network ({method}): {_first_line(error)}") from error
    return lower, upper


def _perturbation(lirpa: Any, problem: Problem, centres: Tensor) -> Any:
    if isinstance(problem.ball, LinfBall):
        lower, upper = problem.ball.box(centres)
        return lirpa.PerturbationLpNorm(norm=math.inf, eps=problem.ball.epsilon, x_L=lower, x_U=upper)
    return lirpa.PerturbationLpNorm(norm=2, eps=problem.ball.epsilon)


def _doubts(lower: Tensor, upper: Tensor, problem: Problem, batch: list[int]) -> dict[int, str]:
    """Why the bounds of a sample cannot be right."""
    at_centre = margins(problem.logits(problem.inputs[batch]), problem.labels[batch])
    finite = (torch.isfinite(lower) & torch.isfinite(upper)).all(1)
    ordered = (lower <= upper).all(1)
    below = lower.amin(1) <= at_centre + SANITY * (1 + at_centre.abs())
    reasons = ("a bound is not finite", "a lower bound is above its upper bound", "the bound is above the margin at the centre")
    doubts: dict[int, str] = {}
    for reason, holds in zip(reasons, (finite, ordered, below), strict=True):
        for position in (~holds).nonzero()[:, 0].tolist():
            doubts.setdefault(batch[position], f"auto_LiRPA: {reason}")
    return doubts


def _require_translated(graph: Graph) -> None:
    unknown = [f"{node.path} ({layer_name(node.layer)})" for node in graph.nodes if _kind(node) not in {*TRANSLATED, *OPERATORS}]
    if unknown:
        raise UnsupportedLayer(
            f"auto_LiRPA is not trusted with {', '.join(dict.fromkeys(unknown))}", "use our own methods, which have rules for these"
        )


def _require_ball(problem: Problem, graph: Graph) -> None:
    """An L2 ball must reach a linear or convolution layer first, and weights are certain."""
    if problem.weights is not None:
        raise InputError("auto_LiRPA is asked about uncertain weights", "use our own methods")
    if isinstance(problem.ball, LinfBall):
        return
    if not isinstance(problem.ball, L2Ball):
        raise InputError(f"auto_LiRPA has no {problem.ball.describe()}", "use an L-infinity or an L2 ball, or our own methods")
    untouched = {graph.input}
    for node in graph.nodes:
        if not untouched.intersection(node.inputs):
            continue
        if _kind(node) in FLATTENING:
            untouched.update(node.outputs)
        elif _kind(node) not in LINEAR:
            raise UnsupportedLayer(
                f"auto_LiRPA loses an L2 ball in {node.path} ({layer_name(node.layer)}): its intervals there have width 0",
                "use our own methods, or an L-infinity ball",
            )


def _kind(node: Node) -> Any:
    return node.layer.target if isinstance(node.layer, Call) else type(node.layer)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
