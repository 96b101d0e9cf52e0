"""Comparisons, steps, signs, and choices between two values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import magnitude, own_radius
from neurocert.certify.bounds.call import Call, Slot, options
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.bilinear import Pair, product_planes
from neurocert.certify.bounds.relaxations.lines import Lines, apply_lines
from neurocert.certify.bounds.relaxations.steps import step_lines
from neurocert.certify.bounds.rules.arithmetic import constant_of, operands, refuses_pair, summed_to

GREATER = (operator.gt, torch.gt, torch.greater, "gt", "greater")
AT_LEAST = (operator.ge, torch.ge, torch.greater_equal, "ge", "greater_equal")
LESS = (operator.lt, torch.lt, torch.less, "lt", "less")
AT_MOST = (operator.le, torch.le, torch.less_equal, "le", "less_equal")
HEAVISIDE, SIGN = (torch.heaviside, "heaviside"), (torch.sign, "sign", torch.sgn, "sgn")
NEGATIONS = (operator.invert, torch.logical_not, "logical_not", torch.bitwise_not, "bitwise_not")


@dataclass(frozen=True)
class Step:
    """f(d) = left, at, right for d below, at, above 0, where d = a - b."""

    left: float
    at: float
    right: float


def _step(call: Call) -> Step:
    if call.target in SIGN:
        return Step(-1.0, 0.0, 1.0)
    if call.target in HEAVISIDE:
        return Step(0.0, float(options(call, values=0.0)["values"]), 1.0)
    if call.target in GREATER or call.target in AT_LEAST:
        return Step(0.0, float(call.target in AT_LEAST), 1.0)
    return Step(1.0, float(call.target in AT_MOST), 0.0)


def _sides(call: Call, inputs: Inputs) -> tuple[Box, Box]:
    """Boxes of a and b; a constant is compared as it is written or as the nearest float32, whichever the network does."""
    if call.target in SIGN or call.target in HEAVISIDE:
        zero = torch.zeros((), dtype=torch.float64)
        return (inputs[0].lower, inputs[0].upper), (zero, zero)
    first, second = operands(call, inputs)
    a, b = ((torch.minimum(low, low.float().double()), torch.maximum(high, high.float().double())) for low, high in (first, second))
    arguments = call.arguments
    return first if isinstance(arguments[0], Slot) else a, second if isinstance(arguments[1], Slot) else b


def _step_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    ((al, au), (bl, bu)), step = _sides(call, inputs), _step(call)
    below, equal, above = al < bu, (al <= bu) & (bl <= au), au > bl
    seen = torch.stack(
        [torch.where(where, value, torch.nan) for where, value in ((below, step.left), (equal, step.at), (above, step.right))]
    ).double()
    return ((seen.nan_to_num(torch.inf).amin(0), seen.nan_to_num(-torch.inf).amax(0)),)


def _step_relax(call: Call, inputs: Inputs) -> tuple[Lines, tuple[Box, Box]]:
    """Lines in d over its range, which is widened by the rounding of the difference unless decided without it."""
    ((al, au), (bl, bu)), step = _sides(call, inputs), _step(call)
    slack = own_radius(1, magnitude(al, au) + magnitude(bl, bu))
    lower = torch.where(al > bu, (al - bu - slack).clamp(min=1e-300), torch.where(al == bu, 0.0, al - bu - slack))
    upper = torch.where(au < bl, (au - bl + slack).clamp(max=-1e-300), torch.where(au == bl, 0.0, au - bl + slack))
    return step_lines(step.left, step.at, step.right, lower, upper), ((al, au), (bl, bu))


def _step_linear(call: Call, relaxation: Any, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    lines, boxes = relaxation
    on_difference, constant = apply_lines(a, lines, mix)
    arguments = call.arguments if len(boxes) == len(call.arguments) and call.target not in HEAVISIDE else (call.arguments[0], None)
    back: list[Tensor] = []
    for sign, argument, (low, high) in zip((1, -1), arguments, boxes, strict=True):
        part = sign * on_difference
        if isinstance(argument, Slot):
            back.append(summed_to(part, low.shape[1:]))
        else:
            constant = constant + (part.clamp(min=0) * low + part.clamp(max=0) * high).flatten(2).sum(2)
    return tuple(back), constant


def _step_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    """The result is exact; the magnitude bounds what a line adds up."""
    (first, second), step = _sides(call, inputs), _step(call)
    size = (magnitude(*first) + magnitude(*second)) * 0 + max(1.0, abs(step.at))
    return (Rounding(0 if step.at in (0.0, 0.5, 1.0) else 1, size),)


def _undecided(call: Call, inputs: Inputs) -> tuple[Tensor | None, ...]:
    ((lower, upper),) = _step_interval(call, inputs)
    unsure = lower < upper
    return tuple(unsure if unsure.shape == x.lower.shape else torch.ones_like(x.lower, dtype=torch.bool) for x in inputs)


def _refuses_step(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if call.target in SIGN:
        return None
    if call.target not in HEAVISIDE:
        return refuses_pair(call, inputs, output)
    value = options(call, values=None)["values"]
    known = isinstance(value, Tensor) and value.numel() == 1 and len(inputs) == 1 and 0 <= float(value) <= 1
    return None if known else "its value at 0 is not one number in [0, 1]"


def _not_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    return ((1 - inputs[0].upper, 1 - inputs[0].lower),)


def _nothing(call: Call, inputs: Inputs) -> None:
    return None


def _not_linear(call: Call, relaxation: None, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    return (-a,), a.flatten(2).sum(2)


def _not_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, torch.ones_like(inputs[0].lower)),)


@dataclass(frozen=True)
class Choice:
    """``where(m, x, y)``: boxes of m, of x and of y, constants as boxes of one point, and which of them are uncertain."""

    mask: Box
    first: Box
    second: Box
    uncertain: tuple[bool, bool, bool]

    def mapped(self, function: Callable[[Box], Tensor]) -> tuple[Tensor, ...]:
        return tuple(map(function, (self.mask, self.first, self.second)))


def _choice(call: Call, inputs: Inputs) -> Choice:
    arguments = call.arguments
    if isinstance(call.target, str):  # x.where(m, y)
        arguments = (arguments[1], arguments[0], arguments[2])
    boxes = []
    for argument in arguments:
        slot = isinstance(argument, Slot)
        boxes.append((inputs[argument.index].lower, inputs[argument.index].upper) if slot else (constant_of(argument),) * 2)
    return Choice(*boxes, tuple(isinstance(argument, Slot) for argument in arguments))  # type: ignore[arg-type]


def _where_interval(call: Call, inputs: Inputs) -> tuple[Box, ...]:
    choice = _choice(call, inputs)
    (ml, mu), (xl, xu), (yl, yu) = choice.mask, choice.first, choice.second
    lower = torch.minimum(torch.where(mu > 0, xl, torch.inf), torch.where(ml < 1, yl, torch.inf))
    upper = torch.maximum(torch.where(mu > 0, xu, -torch.inf), torch.where(ml < 1, yu, -torch.inf))
    return ((lower, upper),)


def _where_linear(call: Call, choice: Choice, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    """y + m (x - y), the product relaxed over the boxes of m and x - y."""
    (a,) = coefficients
    assert a is not None
    (xl, xu), (yl, yu) = choice.first, choice.second
    pair = Pair(choice.mask, (xl - yu, xu - yl))
    on_mask, on_difference, constant = product_planes(a, pair, mix)
    back = []
    for part, box, uncertain in zip(
        (on_mask, on_difference, a - on_difference), (choice.mask, choice.first, choice.second), choice.uncertain, strict=True
    ):
        if uncertain:
            back.append(summed_to(part, box[0].shape[1:]))
        else:
            constant = constant + (part * box[0]).flatten(2).sum(2)
    order = [back[index] for index in _order(call)]
    return tuple(order), constant


def _order(call: Call) -> list[int]:
    """Where the inputs, as the call names them, stand in (m, x, y)."""
    swapped = isinstance(call.target, str)
    names = (1, 0, 2) if swapped else (0, 1, 2)
    present = sorted(name for name, argument in zip(names, call.arguments, strict=True) if isinstance(argument, Slot))
    return [present.index(name) for name, argument in zip(names, call.arguments, strict=True) if isinstance(argument, Slot)]


def _where_rounding(call: Call, inputs: Inputs) -> tuple[Rounding, ...]:
    mask, first, second = _choice(call, inputs).mapped(lambda box: magnitude(*box))
    return (Rounding(1, first + second + 0 * mask),)


def _uncertain(call: Call, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return tuple(x.lower < x.upper for x in inputs)


def _refuses_where(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if call.keywords or len(call.arguments) != 3:
        return "options are not supported"
    constants = [argument for argument in call.arguments if not isinstance(argument, Slot)]
    pairs = [refuses_pair(Call(torch.where, (Slot(0), constant), {}), inputs[:1], output) for constant in constants]
    return next((reason for reason in pairs if reason), None) or refuses_pair(Call(torch.where, (Slot(0), Slot(1)), {}), inputs, output)


STEP = "A step function of a difference: exact where decided; lines touch an end or the jump, and their offsets are exact."
CHOICE = "where(m, x, y) = y + m (x - y) with m in {0, 1}: hull of what may be chosen; linear as a product."

register(
    Rule(
        (*GREATER, *AT_LEAST, *LESS, *AT_MOST, *HEAVISIDE, *SIGN),
        STEP,
        "theory: slopes and offsets",
        _step_interval,
        _step_relax,
        _step_linear,
        _step_rounding,
        loses=True,
        mixes=True,
        refine=_undecided,
        refuses=_refuses_step,
    )
)
register(Rule(NEGATIONS, "1 - m for a mask m.", "-", _not_interval, _nothing, _not_linear, _not_rounding, affine=True))
register(
    Rule(
        (torch.where, "where"),
        CHOICE,
        "theory: slopes and offsets",
        _where_interval,
        _choice,
        _where_linear,
        _where_rounding,
        loses=True,
        mixes=True,
        refine=_uncertain,
        refuses=_refuses_where,
    )
)
