"""Activations: functions applied element by element."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.call import Call, options
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import EXACT, Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import Lines, apply_lines
from neurocert.certify.bounds.relaxations.piecewise import Function, corners, piecewise_linear_lines
from neurocert.certify.bounds.relaxations.s_shaped import sigmoid_lines
from neurocert.certify.bounds.window import by_element
from neurocert.models.semantics import nearest_float32

Pieces = tuple[Function, Sequence[float]]
"""A continuous piecewise-linear function and the points where its slope changes."""


def _register_piecewise(
    layers: tuple[Any, ...],
    pieces: Callable[[Any], Pieces],
    operations: Callable[[Any], int],
    statement: str,
    source: str,
    refuses: Callable[..., str | None] = lambda layer, inputs, output: None,
    between: float = 0.0,
    *,
    increasing: bool = False,
) -> None:
    """Registers a piecewise-linear function.

    Args:
        between: bounds what the evaluation meets on the way from the first to the last breakpoint.
        increasing: so that bounds map to bounds.
    """

    def interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
        function, breakpoints = pieces(layer)
        if increasing:
            return ((function(inputs[0].lower), function(inputs[0].upper)),)
        values = function(corners(inputs[0].lower, inputs[0].upper, breakpoints))
        return ((values.amin(0), values.amax(0)),)

    def relax(layer: Any, inputs: Inputs) -> Lines:
        function, breakpoints = pieces(layer)
        return piecewise_linear_lines(function, breakpoints, inputs[0].lower, inputs[0].upper)

    def rounding(layer: Any, inputs: Inputs) -> tuple[Rounding | None, ...]:
        if not operations(layer):
            return (EXACT,)
        function, breakpoints = pieces(layer)
        lower, upper = inputs[0].lower, inputs[0].upper
        size = function(corners(lower, upper, breakpoints)).abs().amax(0)
        reached = (lower < breakpoints[-1]) & (upper > breakpoints[0])
        return (Rounding(operations(layer), torch.where(reached, size.clamp(min=between), size)),)

    def refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
        _, breakpoints = pieces(layer)
        crossed = [(inputs[0].lower < b) & (b < inputs[0].upper) for b in breakpoints]
        return (torch.stack(crossed).any(0),)

    register(
        Rule(
            layers, statement, source, interval, relax, along_lines, rounding, refine=refine, mixes=True, local=by_element, refuses=refuses
        )
    )


def along_lines(layer: Any, lines: Lines, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    """The linear rule of every function of one element."""
    (a,) = coefficients
    assert a is not None
    back, constant = apply_lines(a, lines, mix)
    return (back,), constant


def _relu(layer: Any) -> Pieces:
    return torch.relu, (0.0,)


def _leaky_relu(layer: Any) -> Pieces:
    given = options(layer, negative_slope=0.01) if isinstance(layer, Call) else vars(layer)
    slope = given["negative_slope"]
    return lambda x: torch.where(x > 0, x, slope * x), (0.0,)


def _prelu(layer: Any) -> Pieces:
    weight = options(layer, weight=None)["weight"] if isinstance(layer, Call) else layer.weight

    def function(points: Tensor) -> Tensor:
        """(points, B, C, ...), one slope for each channel or for all."""
        return torch.where(points > 0, points, weight.reshape(-1, *[1] * max(0, points.dim() - 3)) * points)

    return function, (0.0,)


def _absolute(layer: Any) -> Pieces:
    return torch.abs, (0.0,)


def _ends(layer: Any) -> tuple[float | None, float | None]:
    """(low, high) of a clip."""
    if not isinstance(layer, Call):
        return layer.min_val, layer.max_val
    if layer.target is functional.relu6:
        return 0.0, 6.0
    if layer.target is functional.hardtanh:
        given = options(layer, min_val=-1.0, max_val=1.0)
        return given["min_val"], given["max_val"]
    names = {torch.clamp_min: ("min",), "clamp_min": ("min",), torch.clamp_max: ("max",), "clamp_max": ("max",)}
    given = options(layer, **dict.fromkeys(names.get(layer.target, ("min", "max"))))
    return given.get("min"), given.get("max")


def _clip(layer: Any) -> Pieces:
    low, high = _ends(layer)
    return lambda x: x.clamp(low, high), [float(end) for end in (low, high) if end is not None]


def _hard_sigmoid(layer: Any) -> Pieces:
    return lambda x: (x / 6 + 0.5).clamp(0.0, 1.0), (-3.0, 3.0)


def _clip_operations(layer: Any) -> int:
    return 0 if all(end is None or float(end) == nearest_float32(float(end)) for end in _ends(layer)) else 1


def _refuses_clip(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    low, high = _ends(layer)
    numbers = [end for end in (low, high) if end is not None]
    if not numbers or not all(isinstance(end, int | float) and math.isfinite(end) for end in numbers):
        return "its ends are not finite numbers"
    return None if low is None or high is None or low <= high else f"its ends are {low} and {high}, expected low <= high"


def _refuses_inputs(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return None if len(inputs) == 1 else "its slopes depend on the input"


def _sigmoid_interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    return ((torch.sigmoid(inputs[0].lower), torch.sigmoid(inputs[0].upper)),)


def _sigmoid_relax(layer: Any, inputs: Inputs) -> Lines:
    return sigmoid_lines(inputs[0].lower, inputs[0].upper)


def _sigmoid_rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(8, torch.ones_like(inputs[0].lower)),)


def _sigmoid_refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return (inputs[0].lower < inputs[0].upper,)


EXTREMES = "Piecewise linear: extremes lie at the ends and the breakpoints; lines are chords with exact offsets."

CLIPS = (torch.clamp, "clamp", torch.clip, "clip", torch.clamp_min, "clamp_min", torch.clamp_max, "clamp_max")

_register_piecewise(
    (nn.ReLU, functional.relu, torch.relu, "relu", "relu_"),
    _relu,
    lambda layer: 0,
    EXTREMES,
    "theory: slopes and offsets; Zhang et al. 2018",
    increasing=True,
)
_register_piecewise((nn.LeakyReLU, functional.leaky_relu), _leaky_relu, lambda layer: 3, EXTREMES, "theory: slopes and offsets")
_register_piecewise((nn.PReLU, functional.prelu), _prelu, lambda layer: 3, EXTREMES, "theory: slopes and offsets", _refuses_inputs)
_register_piecewise((torch.abs, operator.abs, "abs"), _absolute, lambda layer: 0, EXTREMES, "theory: slopes and offsets")
_register_piecewise(
    (nn.Hardtanh, nn.ReLU6, functional.hardtanh, functional.relu6, *CLIPS),
    _clip,
    _clip_operations,
    EXTREMES,
    "clip(U, 0, 1) is Eq. 3.8 of the PlasticFlex thesis",
    _refuses_clip,
    increasing=True,
)
_register_piecewise(
    (nn.Hardsigmoid, functional.hardsigmoid),
    _hard_sigmoid,
    lambda layer: 6,
    EXTREMES,
    "clip(x / 6 + 1 / 2, 0, 1)",
    between=1.0,
    increasing=True,
)
register(
    Rule(
        (nn.Sigmoid, torch.sigmoid, "sigmoid"),
        "Increasing, so interval ends map to interval ends; lines with exact offsets at the tangent points. Any implementation "
        "within 8 roundings of the true value is covered.",
        "theory: slopes and offsets",
        _sigmoid_interval,
        _sigmoid_relax,
        along_lines,
        _sigmoid_rounding,
        refine=_sigmoid_refine,
        mixes=True,
        local=by_element,
    )
)
