"""Sums and differences of two values, and products with constants."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import magnitude, product_magnitude
from neurocert.certify.bounds.call import Call, Repeated, Slot
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register, zero_constant
from neurocert.certify.bounds.window import Window, by_element

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUBTRACTIONS = (operator.sub, operator.isub, torch.sub, "sub")
PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul")
DIVISIONS = (operator.truediv, operator.itruediv, torch.div, torch.true_divide, "div")


def _signs(call: Call) -> tuple[int, int]:
    return (1, -1) if call.target in SUBTRACTIONS else (1, 1)


def constant_of(argument: Any) -> Tensor:
    """A constant argument in float64, broadcastable to a batch."""
    return torch.as_tensor(argument.value if isinstance(argument, Repeated) else argument, dtype=torch.float64)


def operands(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    """The first two arguments as boxes, constants as boxes of one point."""
    boxes = []
    for argument in call.arguments[:2]:
        if isinstance(argument, Slot):
            boxes.append((inputs[argument.index].lower, inputs[argument.index].upper))
        else:
            boxes.append((constant_of(argument),) * 2)
    return tuple(boxes)


def summed_to(a: Tensor, shape: Sequence[int]) -> Tensor:
    """Coefficients (R, B or 1, *broadcast shape) on what was broadcast, as coefficients (R, B or 1, *shape) on what it was before."""
    repeated = [2 + axis for axis, size in enumerate(shape) if size != a.shape[2 + axis]]
    return a.sum(repeated, keepdim=True) if repeated else a


def shapes_of(call: Call, inputs: Inputs) -> tuple[torch.Size, ...]:
    """Of the inputs, without the batch."""
    return tuple(x.lower.shape[1:] for x in inputs)


def _sum_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    (first_lower, first_upper), (second_lower, second_upper) = operands(call, inputs)
    first, second = _signs(call)
    assert first == 1
    return (
        (first_lower + second_lower, first_upper + second_upper)
        if second == 1
        else (first_lower - second_upper, first_upper - second_lower),
    )


def _sum_linear(call: Call, shapes: tuple[torch.Size, ...], coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    back: list[Tensor | None] = [None] * len(shapes)
    constant = zero_constant(coefficients)
    for sign, argument in zip(_signs(call), call.arguments, strict=True):
        if isinstance(argument, Slot):
            back[argument.index] = summed_to(a if sign == 1 else -a, shapes[argument.index])
        else:
            constant = constant + sign * (a * constant_of(argument)).flatten(2).sum(2)
    return tuple(back), constant


def _sum_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    first, second = (magnitude(lower, upper) for lower, upper in operands(call, inputs))
    return (Rounding(3, first + second),)


def _sum_window(call: Call, window: Window, shapes: tuple[torch.Size, ...]) -> tuple[Call, Window] | None:
    return by_element(call, window, shapes) if len(shapes) == 2 else None


def _factor(call: Call) -> Tensor:
    """k of y = k x; the constant operand, or its inverse for a division, or -1."""
    if len(call.arguments) == 1:
        return torch.tensor(-1.0, dtype=torch.float64)
    constant = next(constant_of(argument) for argument in call.arguments if not isinstance(argument, Slot))
    return 1 / constant if call.target in DIVISIONS else constant


def _scale_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    low, high = inputs[0].lower * _factor(call), inputs[0].upper * _factor(call)
    return ((torch.minimum(low, high), torch.maximum(low, high)),)


def _scale_linear(call: Call, shapes: tuple[torch.Size, ...], coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    return (summed_to(a * _factor(call), shapes[0]),), zero_constant(coefficients)


def _scale_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(4 if len(call.arguments) == 2 else 0, product_magnitude(inputs[0].magnitude, _factor(call).abs())),)


def refuses_pair(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    """Refuses options, and broadcasting that would not keep the samples first."""
    if call.keywords or len(call.arguments) != 2:
        return f"got {len(call.arguments)} operands and options {sorted(call.keywords)}, expected 2 and none"
    if any(len(shape) != len(output) for shape in inputs):
        return f"shapes {[tuple(shape) for shape in inputs]} are broadcast to {tuple(output)}, expected as many dimensions in each"
    return _refuses_constants(call, output)


def _refuses_scale(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return refuses_pair(call, inputs, output) if len(call.arguments) > 1 else None


def _refuses_constants(call: Call, output: torch.Size) -> str | None:
    constants = [argument for argument in call.arguments if not isinstance(argument, Slot)]
    if not all(isinstance(constant, int | float | Tensor | Repeated) for constant in constants):
        return f"operands of type {[type(constant).__name__ for constant in constants]}, expected numbers or tensors"
    values = [constant_of(constant) for constant in constants]
    if not all(bool(torch.isfinite(value).all()) for value in values):
        return "a constant operand is not finite"
    if any(value.dim() > len(output) and (value.dim() > len(output) + 1 or len(value) != 1) for value in values):
        return f"a constant of shape {[tuple(value.shape) for value in values]} speaks of several samples"
    if call.target in DIVISIONS and not isinstance(call.arguments[1], Slot) and bool((values[-1].abs() < 1e-30).any()):
        return "division by (nearly) zero"
    return None


register(
    Rule(
        (*SUMS, *SUBTRACTIONS),
        "y = a + b or a - b. Interval arithmetic; linear: coefficients pass through, an identity.",
        "theory: affine layers",
        _sum_interval,
        shapes_of,
        _sum_linear,
        _sum_rounding,
        affine=True,
        loses=True,
        local=_sum_window,
        refuses=refuses_pair,
    )
)
register(
    Rule(
        (*PRODUCTS, *DIVISIONS, operator.neg, torch.neg, "neg"),
        "y = k x with a constant k (or x / k, or -x).",
        "theory: affine layers",
        _scale_interval,
        shapes_of,
        _scale_linear,
        _scale_rounding,
        affine=True,
        refuses=_refuses_scale,
    )
)
