"""The routing of a PlasticFlex layer, as training sees it: bounds whose gradients are taken at the one place where each is attained."""

from __future__ import annotations

import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Inputs, rule_for
from neurocert.certify.bounds.relaxations.masks import HardSigmoidMask
from neurocert.certify.bounds.rules.plastic_flex import own_mask
from neurocert.models.layers.plastic_flex import MaskRouting

LEAST_SCALE = 1e-6
"""Of logits: below it, where a mask has its kinks overflows float32."""


def routing_bounds(layer: MaskRouting, inputs: Inputs) -> tuple[Box, ...]:
    """The engine's bounds; for hard-sigmoid masks that rise with P, at a fraction of the cost of differentiating through its cases.

    y = m(P) (C - P) + P increases with C, and over P each extreme is attained somewhere. There the derivative of the extreme is
    that of y with the place held fixed, or moving with the end or the kink that it is (envelope theorem).
    """
    mask = None if layer.activation == "frozen" else own_mask(layer)
    if not (isinstance(mask, HardSigmoidMask) and bool((mask.scale > LEAST_SCALE).all())):
        rule = rule_for(layer)
        assert rule is not None
        return rule.interval(layer, inputs)
    a, b = mask.scale / 6, mask.shift / 6 + 0.5
    convolved, pooled = inputs
    least = _place_of_least(a, b, convolved.lower, pooled.lower, pooled.upper)
    greatest = _place_of_greatest(a, b, convolved.upper, pooled.lower, pooled.upper)
    return ((_mix(a, b, convolved.lower, least), _mix(a, b, convolved.upper, greatest)),)


def _mix(a: Tensor, b: Tensor, convolved: Tensor, pooled: Tensor) -> Tensor:
    """m C + (1 - m) P with m = clip(a P + b, 0, 1)."""
    return torch.lerp(pooled, convolved, torch.addcmul(b, a, pooled).clamp(0.0, 1.0))


def _place_of_least(a: Tensor, b: Tensor, convolved: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The better end: y rises, then is a concave parabola, then is level."""
    with torch.no_grad():
        at_upper = _mix(a, b, convolved, upper) < _mix(a, b, convolved, lower)
    return torch.where(at_upper, upper, lower)


def _place_of_greatest(a: Tensor, b: Tensor, convolved: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The parabola's vertex, or where it comes nearest to it: an end, or the kink at which the mask leaves 0."""
    off = -b / a
    with torch.no_grad():
        vertex = convolved / 2 + (1 - b) / (2 * a)
        at_upper = (off >= upper) | (vertex >= torch.minimum((1 - b) / a, upper))
        left = ~at_upper & (vertex <= torch.maximum(off, lower))
        at_lower, at_off = left & (off <= lower), left & (off > lower)
    place = torch.where(at_upper, upper, torch.where(at_lower, lower, vertex))
    return torch.where(at_off, off, place) if bool(at_off.any()) else place
