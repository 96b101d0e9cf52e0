"""Neurons without a membrane: a step function of their input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import magnitude, own_radius
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import Lines, apply_lines
from neurocert.certify.bounds.relaxations.steps import step_lines
from neurocert.certify.bounds.window import by_element
from neurocert.models.layers.step import Step


@dataclass(frozen=True)
class Jump:
    """Lines in the distance to the threshold, and the threshold (*shape or one number)."""

    lines: Lines
    threshold: Tensor


def _decided(layer: Step, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """(surely fires, may fire), decided by the declared comparison."""
    ends = inputs[0].lower, inputs[0].upper
    surely, maybe = (end > layer.threshold if layer.comparison == ">" else end >= layer.threshold for end in ends)
    return surely, maybe


def _interval(layer: Step, inputs: Inputs) -> tuple[Box, ...]:
    surely, maybe = _decided(layer, inputs)
    return ((surely.to(inputs[0].lower.dtype), maybe.to(inputs[0].lower.dtype)),)


def _relax(layer: Step, inputs: Inputs) -> Jump:
    """The range of the distance is widened by our rounding of it, unless the comparison is decided without."""
    lower, upper, threshold = inputs[0].lower, inputs[0].upper, layer.threshold
    slack = own_radius(1, magnitude(lower, upper) + threshold.abs())
    below, above = lower - threshold, upper - threshold
    low = torch.where(lower > threshold, (below - slack).clamp(min=1e-300), torch.where(lower == threshold, 0.0, below - slack))
    high = torch.where(upper < threshold, (above + slack).clamp(max=-1e-300), torch.where(upper == threshold, 0.0, above + slack))
    return Jump(step_lines(0.0, float(layer.comparison == ">="), 1.0, low, high), threshold)


def _linear(layer: Step, jump: Jump, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    back, constant = apply_lines(a, jump.lines, mix)
    return (back,), constant - (back * jump.threshold).flatten(2).sum(2)


def _rounding(layer: Step, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, torch.ones_like(inputs[0].lower)),)


def _refine(layer: Step, inputs: Inputs) -> tuple[Tensor | None, ...]:
    surely, maybe = _decided(layer, inputs)
    return (surely != maybe,)


register(
    Rule(
        (Step,),
        "1[x > theta] jumps once, at theta: decided where the bounds lie on one side of it; lines touch an end or the jump, and "
        "their offsets are exact. A tie is decided by the declared comparison.",
        "PlasticFlex thesis Eq. 3.6 without a membrane; theory: slopes and offsets",
        _interval,
        _relax,
        _linear,
        _rounding,
        mixes=True,
        refine=_refine,
        local=by_element,
    )
)
