"""Affine layers, and the routing of a PlasticFlex layer, with uncertain weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import FLOOR
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.bilinear_map import Corners, bilinear_bounds, bilinear_plane, corners
from neurocert.certify.bounds.relaxations.masks import AnyMask
from neurocert.certify.bounds.relaxations.routing import Planes, routing_bounds, routing_planes
from neurocert.certify.bounds.rules.plastic_flex import LIPSCHITZ, logit_roundings, logits_of, mask_of
from neurocert.certify.bounds.uncertain import Uncertain, UncertainRouting


@dataclass(frozen=True)
class Parts:
    """What an affine layer ranges over; weights are the same for every sample, and a bias that is not there is 0."""

    x: Interval
    weight: Interval
    bias: Interval


def _parts(layer: Uncertain, inputs: Inputs) -> Parts:
    given = dict(zip(layer.names, _shared(inputs[1:]), strict=True))
    weight, bias = layer.parameter("weight"), layer.parameter("bias")
    assert weight is not None
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    return Parts(inputs[0], given.get("weight", Interval(weight, weight)), given.get("bias", Interval(bias, bias)))


def _shared(parameters: Inputs) -> Inputs:
    """Bounds of parameters without the batch."""
    return tuple(Interval(bounds.lower[0], bounds.upper[0]) for bounds in parameters)


def _interval(layer: Uncertain, inputs: Inputs) -> tuple[Box, ...]:
    parts = _parts(layer, inputs)
    lower, upper = bilinear_bounds(layer.product, parts.x, parts.weight)
    dimensions = lower.dim() - 1
    return ((lower + layer.shift(parts.bias.lower, dimensions), upper + layer.shift(parts.bias.upper, dimensions)),)


def _relax(layer: Uncertain, inputs: Inputs) -> tuple[Corners, Tensor]:
    parts = _parts(layer, inputs)
    return corners(layer.product, parts.x, parts.weight), parts.bias.centre


def _linear(
    layer: Uncertain, relaxation: tuple[Corners, Tensor], coefficients: Coefficients, mix: Tensor | None = None
) -> tuple[Coefficients, Tensor]:
    given, bias = relaxation
    (a,) = coefficients
    assert a is not None
    a = a.expand(-1, len(given.x.lower), *a.shape[2:])
    on_x, on_weight, constant = bilinear_plane(layer.product, a, given, mix)
    on_bias = _on_bias(layer, a)
    if "bias" not in layer.names:
        constant = constant + (on_bias * bias).flatten(2).sum(2)
    back = {"weight": on_weight, "bias": on_bias}
    return (on_x, *(back[name] for name in layer.names)), constant


def _on_bias(layer: Uncertain, a: Tensor) -> Tensor:
    """Coefficients (R, B, C): summed over positions."""
    if isinstance(layer.layer, nn.Linear):
        return a.flatten(2, -2).sum(2) if a.dim() > 3 else a
    return a.flatten(3).sum(3) if a.dim() > 3 else a


def _rounding(layer: Uncertain, inputs: Inputs) -> tuple[Rounding, ...]:
    parts = _parts(layer, inputs)
    magnitude = layer.product(parts.x.magnitude + FLOOR, parts.weight.magnitude + FLOOR)
    magnitude = 2 * (magnitude + layer.shift(parts.bias.magnitude, magnitude.dim() - 1))  # twice: planes are sums of four parts
    weight = parts.weight.lower
    return (Rounding(max(weight[0].numel(), len(weight)) + 9, magnitude),)


def _refine(layer: Uncertain, inputs: Inputs) -> tuple[Tensor | None, ...]:
    parts = _parts(layer, inputs)
    moves = bool((parts.weight.lower < parts.weight.upper).any())
    return ((parts.x.lower < parts.x.upper) if moves else None), *[None] * len(layer.names)


def _masks(layer: UncertainRouting, inputs: Inputs) -> AnyMask:
    """The masks at the corners of the parameters.

    The logit z = s (P - theta) + b is affine in each of s, theta and b, and y follows z upward or downward, so for every
    (C, P) the extremes of y are attained at ends of them; for each end of s, those of theta and b only move the shift.
    """
    given: dict[str, Any] = dict(zip(layer.names, _shared(inputs[2:]), strict=True))
    ends = {name: _ends(given[name]) if name in given else (value,) for name, value in _own(layer).items()}
    masks = [mask_of(layer.layer, *corner) for corner in product(*ends.values())]
    middle: Any = (both[0] if both[0] is None else (both[0] + both[-1]) / 2 for both in ends.values())
    centre = mask_of(layer.layer, *middle)
    return AnyMask(centre.scale, centre.shift, centre, tuple(masks))


def _routing_interval(layer: UncertainRouting, inputs: Inputs) -> tuple[Box, ...]:
    return (routing_bounds(_masks(layer, inputs), *inputs[:2]),)


def _routing_relax(layer: UncertainRouting, inputs: Inputs) -> Planes:
    return routing_planes(_masks(layer, inputs), *inputs[:2])


def _routing_linear(
    layer: UncertainRouting, planes: Planes, coefficients: Coefficients, mix: Tensor | None = None
) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    on_convolved, on_pooled, constant = planes.apply(a, mix)
    return (on_convolved, on_pooled, *[None] * len(layer.names)), constant


def _routing_rounding(layer: UncertainRouting, inputs: Inputs) -> tuple[Rounding, ...]:
    convolved, pooled = (bounds.magnitude for bounds in inputs[:2])
    given = dict(zip(layer.names, (bounds.magnitude for bounds in _shared(inputs[2:])), strict=True))
    sizes: Any = [given.get(name, value if value is None else value.abs()) for name, value in _own(layer).items()]
    scale, _, terms = logits_of(layer.layer, *sizes)
    logits = scale.abs() * pooled + terms
    return (Rounding(logit_roundings(layer.layer), (convolved + pooled) * (1 + LIPSCHITZ[layer.layer.activation] * logits)),)


def _own(layer: UncertainRouting) -> dict[str, Any]:
    """Threshold, and scale and shift of the logits' batch norm, None where there is none."""
    own = dict(layer.layer.named_parameters())
    return {"threshold": own["threshold"], "norm.weight": own.get("norm.weight"), "norm.bias": own.get("norm.bias")}


def _ends(bounds: Interval) -> tuple[Tensor, Tensor]:
    return bounds.lower, bounds.upper


def _routing_refine(layer: UncertainRouting, inputs: Inputs) -> tuple[Tensor | None, ...]:
    convolved, pooled = inputs[:2]
    varies = ~_masks(layer, inputs).constant(pooled.lower, pooled.upper) & (convolved.lower < convolved.upper)
    return (varies, None, *[None] * len(layer.names))


register(
    Rule(
        (Uncertain,),
        "y = W x + b with x and W, b or both uncertain. Interval: exact where x has known signs, else centre and radius too. "
        "Linear: a mix of McCormick's planes of each product, exact where x or W is a point. A weight is one value for all "
        "positions and time steps: its coefficients are summed before its set is applied.",
        "theory: weight sets; McCormick 1976",
        _interval,
        _relax,
        _linear,
        _rounding,
        loses=True,
        mixes=True,
        refine=_refine,
    )
)
register(
    Rule(
        (UncertainRouting,),
        "y = m(P) C + (1 - m(P)) P whose mask's thresholds, scale or shift are uncertain: y follows the logit, which is affine "
        "in each of them, so its extremes lie at corners of the parameters; for each corner the bounds of a known mask hold. "
        "The corner may differ from one use to the next, which can only loosen a bound.",
        "theory: PlasticFlex, a random threshold in the logits",
        _routing_interval,
        _routing_relax,
        _routing_linear,
        _routing_rounding,
        loses=True,
        mixes=True,
        refine=_routing_refine,
    )
)
