"""Products, quotients, matrix products, maxima and minima of two values."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import FLOOR, magnitude, product_magnitude
from neurocert.certify.bounds.call import Call, Slot, apply
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.bilinear import Pair, matmul_bounds, matmul_planes, product_bounds, product_planes
from neurocert.certify.bounds.relaxations.lines import Lines, apply_lines
from neurocert.certify.bounds.relaxations.piecewise import piecewise_linear_lines
from neurocert.certify.bounds.relaxations.smooth import extremes, smooth_lines
from neurocert.certify.bounds.rules.affine import SOURCE, AffineMap, by_differentiation, register_affine, sizes
from neurocert.certify.bounds.rules.arithmetic import DIVISIONS, PRODUCTS, constant_of, operands, refuses_pair, summed_to
from neurocert.certify.bounds.rules.smooth import RECIPROCAL
from neurocert.certify.errors import NumericalFailure

MATRIX_PRODUCTS = (operator.matmul, torch.matmul, "matmul", torch.bmm, "bmm")
MAXIMA, MINIMA = (torch.maximum, "maximum", torch.max, "max"), (torch.minimum, "minimum", torch.min, "min")
SAMPLES = 3


def _pair(call: Call, inputs: Inputs) -> Pair:
    return Pair(*operands(call, inputs))


def _product_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    return (product_bounds(_pair(call, inputs)),)


def _product_linear(call: Call, pair: Pair, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    on_x, on_y, constant = product_planes(a, pair, mix)
    return (summed_to(on_x, pair.x[0].shape[1:]), summed_to(on_y, pair.y[0].shape[1:])), constant


def _product_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    x, y = (magnitude(*box) for box in operands(call, inputs))
    return (Rounding(2, product_magnitude(x, y)),)


def _uncertain(call: Call, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return tuple(x.lower < x.upper for x in inputs)


def _inverse(call: Call, inputs: Inputs) -> Box:
    """Bounds of 1 / y."""
    lower, upper = operands(call, inputs)[1]
    if not bool((lower > 0).all()):
        raise NumericalFailure(f"division by values that must be positive, got a lower bound of {float(lower.min()):g}")
    least, greatest = extremes(RECIPROCAL.curve, torch.zeros_like(lower)[None], lower, upper)
    return least[0], greatest[0]


def _quotient_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    return (product_bounds(Pair(operands(call, inputs)[0], _inverse(call, inputs))),)


def _quotient_relax(call: Call, inputs: Inputs) -> tuple[Pair, Lines]:
    numerator, denominator = operands(call, inputs)
    return Pair(numerator, _inverse(call, inputs)), smooth_lines(RECIPROCAL.curve, *denominator)


def _quotient_linear(
    call: Call, relaxation: tuple[Pair, Lines], coefficients: Coefficients, mix: Tensor | None = None
) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    pair, lines = relaxation
    on_x, on_inverse, constant = product_planes(a, pair, mix)
    on_y, more = apply_lines(summed_to(on_inverse, pair.y[0].shape[1:]), lines)
    if isinstance(call.arguments[0], Slot):
        return (summed_to(on_x, pair.x[0].shape[1:]), on_y), constant + more
    known = (on_x * pair.x[0]).flatten(2).sum(2)
    return (on_y,), constant + more + known


def _quotient_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(4, product_magnitude(magnitude(*operands(call, inputs)[0]), _inverse(call, inputs)[1])),)


def _matmul_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    return (matmul_bounds(*operands(call, inputs)),)


def _matmul_linear(call: Call, boxes: tuple[Box, ...], coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    *back, constant = matmul_planes(a, *boxes)
    return tuple(summed_to(part, box[0].shape[1:]) for part, box in zip(back, boxes, strict=True)), constant


def _matmul_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    x, y = (magnitude(*box) for box in operands(call, inputs))
    return (Rounding(x.shape[-1] + 8, (x + FLOOR) @ (y + FLOOR)),)


def _refuses_matmul(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if call.keywords or len(call.arguments) != 2:
        return "options are not supported"
    fits = all(len(shape) == len(output) >= 2 for shape in inputs)
    return None if fits else f"got shapes {[tuple(shape) for shape in inputs]}, expected matrices with as many dimensions each"


def _constant_matmul_map(call: Call, shape: torch.Size) -> AffineMap:
    def with_weights(change: Any) -> Any:
        arguments = tuple(argument if isinstance(argument, Slot) else change(constant_of(argument)) for argument in call.arguments)
        return lambda x: apply(Call(call.target, arguments, {}), x)

    weights = next(constant_of(argument) for argument in call.arguments if not isinstance(argument, Slot))
    return by_differentiation(with_weights(lambda w: w), shape, max(*shape, *weights.shape) + 1, with_weights(sizes))


def _refuses_constant_matmul(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if call.keywords or len(call.arguments) != 2:
        return "options are not supported"
    weights = next(argument for argument in call.arguments if not isinstance(argument, Slot))
    if not isinstance(weights, Tensor) or not bool(torch.isfinite(weights).all()):
        return "its constant operand is not a finite tensor"
    ones = torch.zeros(SAMPLES, *inputs[0], dtype=torch.float64)
    ones[1] = 1.0
    arguments = tuple(argument if isinstance(argument, Slot) else torch.ones_like(weights).double() for argument in call.arguments)
    result = apply(Call(call.target, arguments, {}), ones)
    alone = result.shape == (SAMPLES, *output) and not bool(result[::2].any())
    return None if alone else "sums over samples, expected sums within each sample"


def _extreme_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    (first_lower, first_upper), (second_lower, second_upper) = operands(call, inputs)
    better = torch.maximum if call.target in MAXIMA else torch.minimum
    return ((better(first_lower, second_lower), better(first_upper, second_upper)),)


def _extreme_relax(call: Call, inputs: Inputs) -> tuple[Lines, tuple[Box, ...]]:
    """Lines of relu(first - second)."""
    boxes = operands(call, inputs)
    (first_lower, first_upper), (second_lower, second_upper) = boxes
    return piecewise_linear_lines(torch.relu, (0.0,), first_lower - second_upper, first_upper - second_lower), boxes


def _extreme_linear(
    call: Call, relaxation: tuple[Lines, tuple[Box, ...]], coefficients: Coefficients, mix: Tensor | None = None
) -> tuple[Coefficients, Tensor]:
    """max(x, y) = y + relu(x - y); min(x, y) = x - relu(x - y)."""
    (a,) = coefficients
    assert a is not None
    lines, boxes = relaxation
    maximum = call.target in MAXIMA
    on_difference, constant = apply_lines(a if maximum else -a, lines, mix)
    parts = (on_difference, a - on_difference) if maximum else (a + on_difference, -on_difference)
    back = []
    for argument, part, box in zip(call.arguments, parts, boxes, strict=True):
        if isinstance(argument, Slot):
            back.append(summed_to(part, box[0].shape[1:]))
        else:
            constant = constant + (part * box[0]).flatten(2).sum(2)
    return tuple(back), constant


def _extreme_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    first, second = (magnitude(*box) for box in operands(call, inputs))
    return (Rounding(0 if len(inputs) == 2 else 1, first + second),)


def _refuses_extreme(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if len(call.arguments) != 2 or not isinstance(call.arguments[1], Slot | Tensor):
        return "reduces a tensor, expected two tensors"
    return refuses_pair(call, inputs, output)


def _pair_of(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    return operands(call, inputs)


BILINEAR = (
    "x y - alpha x - beta y has its extremes at the corners, so any slopes come with exact offsets; they lean between McCormick's planes."
)
QUOTIENT = "x / y for y > 0 is the product of x and 1 / y, which is convex."
MATMUL = "Each entry is a sum of products; x y lies within rx ry of xc y + x yc - xc yc."
EXTREME = "max(x, y) = y + relu(x - y) and min(x, y) = x - relu(x - y), relaxed as ReLU is."
THEORY = "theory: slopes and offsets; McCormick 1976"

register(
    Rule(
        PRODUCTS,
        BILINEAR,
        THEORY,
        _product_interval,
        _pair,
        _product_linear,
        _product_rounding,
        loses=True,
        mixes=True,
        operands=(0, 1),
        refine=_uncertain,
        refuses=refuses_pair,
    )
)
for places in ((0, 1), (1,)):
    register(
        Rule(
            DIVISIONS,
            QUOTIENT,
            THEORY,
            _quotient_interval,
            _quotient_relax,
            _quotient_linear,
            _quotient_rounding,
            loses=len(places) == 2,
            mixes=True,
            operands=places,
            refine=_uncertain,
            refuses=refuses_pair,
        )
    )
register(
    Rule(
        MATRIX_PRODUCTS,
        MATMUL,
        THEORY,
        _matmul_interval,
        _pair_of,
        _matmul_linear,
        _matmul_rounding,
        loses=True,
        operands=(0, 1),
        refine=_uncertain,
        refuses=_refuses_matmul,
    )
)
register_affine(MATRIX_PRODUCTS, _constant_matmul_map, "A product with a constant matrix.", SOURCE, _refuses_constant_matmul)
register(
    Rule(
        (*MAXIMA, *MINIMA),
        EXTREME,
        "theory: slopes and offsets",
        _extreme_interval,
        _extreme_relax,
        _extreme_linear,
        _extreme_rounding,
        loses=True,
        mixes=True,
        refine=_uncertain,
        refuses=_refuses_extreme,
    )
)
