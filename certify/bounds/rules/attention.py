"""Softmax and log-softmax; what attention is made of besides matrix products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.arithmetic import magnitude
from neurocert.certify.bounds.call import Call, options
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.softmax import LOG_SOFTMAX, SOFTMAX, Outer, Planes, softmax_bounds, softmax_planes

LOGARITHMS = (nn.LogSoftmax, functional.log_softmax, torch.log_softmax, "log_softmax")


def _outer(layer: Any) -> Outer:
    return LOG_SOFTMAX if (type(layer) if isinstance(layer, nn.Module) else layer.target) in LOGARITHMS else SOFTMAX


def _axis(layer: Any, dimensions: int) -> int:
    """Counted from the end."""
    axis = options(layer, dim=None)["dim"] if isinstance(layer, Call) else layer.dim
    return axis if axis < 0 else axis - dimensions


def _last(layer: Any, x: Tensor) -> Tensor:
    return x.movedim(_axis(layer, x.dim()), -1)


def _back(layer: Any, x: Tensor) -> Tensor:
    return x.movedim(-1, _axis(layer, x.dim()))


def _interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    lower, upper = softmax_bounds(_outer(layer), _last(layer, inputs[0].lower), _last(layer, inputs[0].upper))
    return ((_back(layer, lower), _back(layer, upper)),)


def _relax(layer: Any, inputs: Inputs) -> tuple[Planes, Planes, int]:
    lower, upper = inputs[0].lower, inputs[0].upper
    return *softmax_planes(_outer(layer), _last(layer, lower), _last(layer, upper)), _axis(layer, lower.dim())


def _linear(layer: Any, relaxation: tuple[Planes, Planes, int], coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    below, above, axis = relaxation
    a = a.movedim(axis, -1)
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    back = below.move(positive) + above.move(negative)
    return (back.movedim(-1, axis),), dot(positive, below.offset) + dot(negative, above.offset)


def _rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
    """exp(x - max) is off by the rounding of its argument, relative to the range of the logits."""
    ((lower, upper),) = _interval(layer, inputs)
    axis = _axis(layer, lower.dim())
    span = inputs[0].upper.amax(axis, keepdim=True) - inputs[0].lower.amin(axis, keepdim=True)
    size = upper if _outer(layer) is SOFTMAX else magnitude(lower, upper) + inputs[0].magnitude.amax(axis, keepdim=True) + 1
    return (Rounding(2 * lower.shape[axis] + 32, size * (1 + span)),)


def _refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return (inputs[0].lower < inputs[0].upper,)


def _refuses(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    axis = options(layer, dim=None)["dim"] if isinstance(layer, Call) else layer.dim
    dimensions = len(output) + 1
    known = isinstance(axis, int) and axis % dimensions != 0
    return None if known else f"dim is {axis!r}, expected a dimension other than the samples'"


register(
    Rule(
        (nn.Softmax, functional.softmax, torch.softmax, "softmax", *LOGARITHMS),
        "p_i = h(sum_j exp(x_j - x_i)) with h = 1 / S or -log S: monotone in every element, so bounds are exact; linear: tangents "
        "and chords of exp inside a chord or a tangent of h.",
        "theory: slopes and offsets; Wei et al. 2023",
        _interval,
        _relax,
        _linear,
        _rounding,
        loses=True,
        refine=_refine,
        refuses=_refuses,
    )
)
