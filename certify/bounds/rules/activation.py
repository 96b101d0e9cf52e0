"""Activations: functions applied element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import Lines, apply_lines
from neurocert.certify.bounds.relaxations.piecewise import Function, corners, piecewise_linear_lines
from neurocert.certify.bounds.relaxations.s_shaped import sigmoid_lines
from neurocert.models.semantics import nearest_float32

Pieces = tuple[Function, Sequence[float]]
"""A continuous piecewise-linear function and the points where its slope changes."""


def _register_piecewise(
    layers: tuple[Any, ...], pieces: Callable[[Any], Pieces], operations: Callable[[Any], int], statement: str, source: str
) -> None:
    def interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
        function, breakpoints = pieces(layer)
        values = function(corners(inputs[0].lower, inputs[0].upper, breakpoints))
        return ((values.amin(0), values.amax(0)),)

    def relax(layer: Any, inputs: Inputs) -> Lines:
        function, breakpoints = pieces(layer)
        return piecewise_linear_lines(function, breakpoints, inputs[0].lower, inputs[0].upper)

    def rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
        function, breakpoints = pieces(layer)
        return (Rounding(operations(layer), function(corners(inputs[0].lower, inputs[0].upper, breakpoints)).abs().amax(0)),)

    def refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
        _, breakpoints = pieces(layer)
        crossed = [(inputs[0].lower < b) & (b < inputs[0].upper) for b in breakpoints]
        return (torch.stack(crossed).any(0),)

    register(Rule(layers, statement, source, interval, relax, _along_lines, rounding, refine=refine, mixes=True))


def _along_lines(layer: Any, lines: Lines, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    back, constant = apply_lines(a, lines, mix)
    return (back,), constant


def _relu(layer: Any) -> Pieces:
    return torch.relu, (0.0,)


def _leaky_relu(layer: nn.LeakyReLU) -> Pieces:
    slope = layer.negative_slope
    return lambda x: torch.where(x > 0, x, slope * x), (0.0,)


def _clip(layer: nn.Hardtanh) -> Pieces:
    low, high = float(layer.min_val), float(layer.max_val)
    return lambda x: x.clamp(low, high), (low, high)


def _hard_sigmoid(layer: Any) -> Pieces:
    return lambda x: (x / 6 + 0.5).clamp(0.0, 1.0), (-3.0, 3.0)


def _clip_operations(layer: nn.Hardtanh) -> int:
    ends = (float(layer.min_val), float(layer.max_val))
    return 0 if all(end == nearest_float32(end) for end in ends) else 1


def _sigmoid_interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    return ((torch.sigmoid(inputs[0].lower), torch.sigmoid(inputs[0].upper)),)


def _sigmoid_relax(layer: Any, inputs: Inputs) -> Lines:
    return sigmoid_lines(inputs[0].lower, inputs[0].upper)


def _sigmoid_rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(8, torch.ones_like(inputs[0].lower)),)


def _sigmoid_refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return (inputs[0].lower < inputs[0].upper,)


EXTREMES = "Piecewise linear: extremes lie at the ends and the breakpoints; lines are chords with exact offsets."

_register_piecewise(
    (nn.ReLU, functional.relu, torch.relu, "relu"), _relu, lambda layer: 0, EXTREMES, "theory: slopes and offsets; Zhang et al. 2018"
)
_register_piecewise((nn.LeakyReLU,), _leaky_relu, lambda layer: 1, EXTREMES, "theory: slopes and offsets")
_register_piecewise((nn.Hardtanh, nn.ReLU6), _clip, _clip_operations, EXTREMES, "clip(U, 0, 1) is Eq. 3.8 of the PlasticFlex thesis")
_register_piecewise((nn.Hardsigmoid,), _hard_sigmoid, lambda layer: 6, EXTREMES, "clip(x / 6 + 1 / 2, 0, 1)")
register(
    Rule(
        (nn.Sigmoid, torch.sigmoid, "sigmoid"),
        "Increasing, so interval ends map to interval ends; lines with exact offsets at the tangent points. Any implementation "
        "within 8 roundings of the true value is covered.",
        "theory: slopes and offsets",
        _sigmoid_interval,
        _sigmoid_relax,
        _along_lines,
        _sigmoid_rounding,
        refine=_sigmoid_refine,
        mixes=True,
    )
)
