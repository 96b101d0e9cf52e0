"""The routing of a PlasticFlex layer: convolution, pooling and mask seen together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.routing import (
    BinaryMask,
    HardSigmoidMask,
    Mask,
    Planes,
    SigmoidMask,
    fixed_bounds,
    fixed_planes,
    routing_bounds,
    routing_planes,
)
from neurocert.certify.bounds.window import Window, whole
from neurocert.models.layers.plastic_flex import MaskRouting

MASKS: dict[str, type[HardSigmoidMask | SigmoidMask]] = {"hard-sigmoid": HardSigmoidMask, "sigmoid": SigmoidMask}
LIPSCHITZ = {"hard-sigmoid": 1 / 6, "sigmoid": 1 / 4, "binary": 0.0}
LOGIT_ROUNDINGS = 12
COARSEST = 2.0**-24
"""Unit roundoff of the coarsest arithmetic: a binary mask this near its threshold is undecided in all of them."""


def _logits(layer: MaskRouting) -> tuple[Tensor, Tensor, Tensor]:
    """(scale, shift, magnitude of the shift's terms) of the logits z = BN(P - theta) = scale P + shift."""
    norm = layer.norm
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps))[:, None, None]
    mean, bias = norm.running_mean[:, None, None], norm.bias[:, None, None]
    terms = scale.abs() * (layer.threshold.abs() + mean.abs()) + bias.abs()
    return scale, bias - scale * (layer.threshold + mean), terms


def _mask(layer: MaskRouting) -> Mask:
    scale, shift, terms = _logits(layer)
    if layer.activation == "binary":
        return BinaryMask(scale, shift, 2 * LOGIT_ROUNDINGS * COARSEST, terms)
    return MASKS[layer.activation](scale, shift)


def _interval(layer: MaskRouting, inputs: Inputs) -> tuple[Box, ...]:
    convolved, pooled = inputs
    if layer.activation == "frozen":
        return (fixed_bounds(layer.stored, convolved, pooled),)
    return (routing_bounds(_mask(layer), convolved, pooled),)


def _relax(layer: MaskRouting, inputs: Inputs) -> Planes:
    return fixed_planes(layer.stored, len(inputs[0].lower)) if layer.activation == "frozen" else routing_planes(_mask(layer), *inputs)


def _linear(layer: MaskRouting, planes: Planes, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    on_convolved, on_pooled = (positive * low + negative * high for low, high in zip(planes.lower[:2], planes.upper[:2], strict=True))
    return (on_convolved, on_pooled), dot(positive, planes.lower[2]) + dot(negative, planes.upper[2])


def _rounding(layer: MaskRouting, inputs: Inputs) -> tuple[Rounding, ...]:
    """The mask is off by its Lipschitz constant times the logits' error, which moves y by that times |C - P|."""
    convolved, pooled = (bounds.magnitude for bounds in inputs)
    if layer.activation == "frozen":
        return (Rounding(4, layer.stored.abs() * convolved + (1 + layer.stored.abs()) * pooled),)
    scale, _, terms = _logits(layer)
    logits = scale.abs() * pooled + terms
    return (Rounding(LOGIT_ROUNDINGS, (convolved + pooled) * (1 + LIPSCHITZ[layer.activation] * logits)),)


def _refine(layer: MaskRouting, inputs: Inputs) -> tuple[Tensor | None, ...]:
    convolved, pooled = inputs
    if layer.activation == "frozen":
        return None, None
    return (~_mask(layer).constant(pooled.lower, pooled.upper) & (convolved.lower < convolved.upper)), None


@dataclass(frozen=True)
class RoutingPart:
    """What the rules read of a ``MaskRouting``, for a window: thresholds and stored masks belong to their places."""

    activation: str
    norm: nn.BatchNorm2d | None
    threshold: Tensor | None
    stored: Tensor | None


def _local(layer: MaskRouting, window: Window, shapes: tuple[torch.Size, ...]) -> tuple[RoutingPart, Window]:
    everything = whole(shapes[0])
    if layer.activation == "frozen":
        return RoutingPart("frozen", None, None, window.take(layer.stored, everything)), window
    return RoutingPart(layer.activation, layer.norm, window.take(layer.threshold, everything), None), window


def _refuses(layer: MaskRouting, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if layer.activation == "frozen":
        return None
    return "its logits' batch norm keeps no running statistics" if layer.norm.running_mean is None else None


register(
    Rule(
        (MaskRouting,),
        "y = m(P) C + (1 - m(P)) P with the mask tied to the pooling branch: y is affine in C, so its extremes lie at the ends "
        "of C, and along P a parabola (hard sigmoid), a curve of bounded curvature (sigmoid) or two straight lines (binary) are "
        "minimised in closed form; a frozen mask leaves y affine. "
        "Linear: planes in (C, P) with offsets found the same way.",
        "PlasticFlex thesis Eq. 3.1, 3.2; theory: PlasticFlex, mask tied to the pooling branch",
        _interval,
        _relax,
        _linear,
        _rounding,
        loses=True,
        refine=_refine,
        local=_local,
        refuses=_refuses,
    )
)
