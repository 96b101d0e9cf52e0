"""The variance inside a layer norm; the rest of it is sums and products."""

from __future__ import annotations

import torch
from torch import Tensor

from neurocert.certify.bounds.call import Call
from neurocert.certify.bounds.compositions import variance
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import Lines, apply_lines
from neurocert.certify.bounds.relaxations.smooth import extremes, smooth_lines
from neurocert.certify.bounds.rules.smooth import SQUARE


def _count(call: Call, x: Tensor) -> int:
    count = 1
    for axis in call.arguments[2]:
        count *= x.shape[axis]
    return count


def _interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    centred = inputs[0]
    least, greatest = extremes(SQUARE.curve, torch.zeros_like(centred.lower)[None], centred.lower, centred.upper)
    axes = tuple(call.arguments[2])
    return ((least[0].clamp(min=0.0).mean(axes, keepdim=True), greatest[0].mean(axes, keepdim=True)),)


def _relax(call: Call, inputs: Inputs) -> tuple[Lines, int]:
    centred = inputs[0]
    return smooth_lines(SQUARE.curve, centred.lower, centred.upper), _count(call, centred.lower)


def _linear(
    call: Call, relaxation: tuple[Lines, int], coefficients: Coefficients, mix: Tensor | None = None
) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    lines, count = relaxation
    shape = lines.below.at_centre.slope.shape[1:]
    back, constant = apply_lines((a / count).expand(*a.shape[:2], *shape), lines)
    return (back, None), constant


def _rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    """Covers two passes, Welford's algorithm, and the mean of squares minus the square of the mean."""
    size = (inputs[1].magnitude ** 2).mean(tuple(call.arguments[2]), keepdim=True)
    return (Rounding(4 * _count(call, inputs[0].lower) + 32, size),)


def _refine(call: Call, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return inputs[0].lower < inputs[0].upper, None


register(
    Rule(
        (variance,),
        "A mean of squares, each convex: chords above, tangents below.",
        "theory: slopes and offsets",
        _interval,
        _relax,
        _linear,
        _rounding,
        loses=True,
        refine=_refine,
    )
)
