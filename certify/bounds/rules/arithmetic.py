"""Sums and differences of two values, and products with constants."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import magnitude
from neurocert.certify.bounds.call import Call, Slot
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register, zero_constant

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUBTRACTIONS = (operator.sub, operator.isub, torch.sub, "sub")
DIVISIONS = (operator.truediv, operator.itruediv, torch.div, torch.true_divide, "div")


def _signs(call: Call) -> tuple[int, int]:
    return (1, -1) if call.target in SUBTRACTIONS else (1, 1)


def _operands(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    """The two operands as boxes, constants as boxes of one point."""
    boxes = []
    for argument in call.arguments:
        if isinstance(argument, Slot):
            boxes.append((inputs[argument.index].lower, inputs[argument.index].upper))
        else:
            constant = torch.as_tensor(argument, dtype=torch.float64)
            boxes.append((constant, constant))
    return tuple(boxes)


def _sum_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    (first_lower, first_upper), (second_lower, second_upper) = _operands(call, inputs)
    first, second = _signs(call)
    assert first == 1
    return (
        (first_lower + second_lower, first_upper + second_upper)
        if second == 1
        else (first_lower - second_upper, first_upper - second_lower),
    )


def _count(call: Call, inputs: Inputs) -> int:
    return len(inputs)


def _sum_linear(call: Call, count: int, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    back: list[Tensor | None] = [None] * count
    constant = zero_constant(coefficients)
    for sign, argument in zip(_signs(call), call.arguments, strict=True):
        if isinstance(argument, Slot):
            back[argument.index] = a if sign == 1 else -a
        else:
            constant = constant + sign * (a * torch.as_tensor(argument, dtype=a.dtype)).flatten(2).sum(2)
    return tuple(back), constant


def _sum_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    first, second = (magnitude(lower, upper) for lower, upper in _operands(call, inputs))
    return (Rounding(3, first + second),)


def _factor(call: Call, inputs: Inputs = ()) -> Tensor:
    """k of y = k x; the constant operand, or its inverse for a division, or -1."""
    if len(call.arguments) == 1:
        return torch.tensor(-1.0, dtype=torch.float64)
    constant = next(torch.as_tensor(argument, dtype=torch.float64) for argument in call.arguments if not isinstance(argument, Slot))
    return 1 / constant if call.target in DIVISIONS else constant


def _scale_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    low, high = inputs[0].lower * _factor(call), inputs[0].upper * _factor(call)
    return ((torch.minimum(low, high), torch.maximum(low, high)),)


def _scale_linear(call: Call, factor: Tensor, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    return (a * factor,), zero_constant(coefficients)


def _scale_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(4 if len(call.arguments) == 2 else 0, inputs[0].magnitude * _factor(call).abs()),)


def _refuses_sum(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if call.keywords or len(call.arguments) != 2:
        return f"options {sorted(call.keywords)} are not supported"
    slots = [argument for argument in call.arguments if isinstance(argument, Slot)]
    if any(shape != output for shape in inputs) or len(slots) != len(inputs):
        return f"shapes {[tuple(shape) for shape in inputs]} are broadcast to {tuple(output)}"
    return _refuses_constants(call)


def _refuses_scale(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if len(inputs) != 1 or (not isinstance(call.arguments[0], Slot) and call.target in DIVISIONS):
        return "products of two uncertain values, and division by one, have no rule"
    if call.keywords or inputs[0] != output:
        return f"options {sorted(call.keywords)} or broadcasting to {tuple(output)} are not supported"
    return _refuses_constants(call)


def _refuses_constants(call: Call) -> str | None:
    constants = [argument for argument in call.arguments if not isinstance(argument, Slot)]
    if not all(isinstance(constant, int | float | Tensor) for constant in constants):
        return f"operands of type {[type(constant).__name__ for constant in constants]}, expected numbers or tensors"
    values = [torch.as_tensor(constant, dtype=torch.float64) for constant in constants]
    if not all(bool(torch.isfinite(value).all()) for value in values):
        return "a constant operand is not finite"
    if call.target in DIVISIONS and any(bool((value.abs() < 1e-30).any()) for value in values):
        return "division by (nearly) zero"
    return None


register(
    Rule(
        (*SUMS, *SUBTRACTIONS),
        "y = a + b or a - b. Interval arithmetic; linear: coefficients pass through, an identity.",
        "theory: affine layers",
        _sum_interval,
        _count,
        _sum_linear,
        _sum_rounding,
        affine=True,
        loses=True,
        refuses=_refuses_sum,
    )
)
register(
    Rule(
        (operator.mul, operator.imul, torch.mul, "mul", *DIVISIONS, operator.neg, torch.neg, "neg"),
        "y = k x with a constant k (or x / k, or -x).",
        "theory: affine layers",
        _scale_interval,
        _factor,
        _scale_linear,
        _scale_rounding,
        affine=True,
        refuses=_refuses_scale,
    )
)
