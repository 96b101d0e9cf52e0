"""The routing of a PlasticFlex layer: convolution, pooling and mask seen together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.bilinear import Pair, product_planes
from neurocert.certify.bounds.relaxations.masks import BinaryMask, HardSigmoidMask, Mask, SigmoidMask
from neurocert.certify.bounds.relaxations.routing import Planes, fixed_bounds, fixed_planes, routing_bounds, routing_planes
from neurocert.certify.bounds.rules.arithmetic import summed_to
from neurocert.certify.bounds.window import Window, whole
from neurocert.models.layers.plastic_flex import BINARY_MASKS, MaskActivation, MaskRouting, Mixture, gate
from neurocert.models.layers.step import Step

MASKS: dict[str, type[HardSigmoidMask | SigmoidMask]] = {"hard-sigmoid": HardSigmoidMask, "sigmoid": SigmoidMask}
LIPSCHITZ = {"hard-sigmoid": 1 / 6, "sigmoid": 1 / 4, **dict.fromkeys(BINARY_MASKS, 0.0)}
LOGIT_ROUNDINGS = 12
COARSEST = 2.0**-24
"""Unit roundoff of the coarsest arithmetic: a binary mask this near its threshold is undecided in all of them."""


def mask_of(layer: MaskRouting, threshold: Tensor, weight: Tensor | None, bias: Tensor | None) -> Mask:
    """The mask of a layer (not a frozen one) if these were its thresholds, and the scale and shift of its logits' batch norm."""
    scale, shift, terms = logits_of(layer, threshold, weight, bias)
    if layer.activation in BINARY_MASKS:
        return BinaryMask(scale, shift, 2 * logit_roundings(layer) * COARSEST, terms)
    return MASKS[layer.activation](scale, shift)


def logits_of(layer: MaskRouting, threshold: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(scale, shift, magnitude of the shift's terms) of the logits z = k BN(P - theta) = scale P + shift."""
    norm, slope = layer.norm, layer.slope
    if norm is None or weight is None or bias is None:
        return torch.full_like(threshold, slope), -slope * threshold, slope * threshold.abs()
    assert norm.running_mean is not None and norm.running_var is not None
    scale = slope * (weight / torch.sqrt(norm.running_var + norm.eps))[:, None, None]
    mean, bias = norm.running_mean[:, None, None], slope * bias[:, None, None]
    terms = scale.abs() * (threshold.abs() + mean.abs()) + bias.abs()
    return scale, bias - scale * (threshold + mean), terms


def _own_logits(layer: MaskRouting) -> tuple[Tensor, Tensor | None, Tensor | None]:
    norm = layer.norm
    return (layer.threshold, None, None) if norm is None else (layer.threshold, norm.weight, norm.bias)


def logit_roundings(layer: MaskRouting) -> int:
    """Roundings that meet one logit."""
    return LOGIT_ROUNDINGS + (layer.slope != 1.0)


def own_mask(layer: MaskRouting) -> Mask:
    """The mask of a layer (not a frozen one) with the numbers that it has."""
    return mask_of(layer, *_own_logits(layer))


def _interval(layer: MaskRouting, inputs: Inputs) -> tuple[Box, ...]:
    convolved, pooled = inputs
    if layer.activation == "frozen":
        return (fixed_bounds(layer.stored, convolved, pooled),)
    return (routing_bounds(own_mask(layer), convolved, pooled),)


def _relax(layer: MaskRouting, inputs: Inputs) -> Planes:
    return fixed_planes(layer.stored, *inputs) if layer.activation == "frozen" else routing_planes(own_mask(layer), *inputs)


def _linear(layer: MaskRouting, planes: Planes, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    on_convolved, on_pooled, constant = planes.apply(a, mix)
    return (on_convolved, on_pooled), constant


def _rounding(layer: MaskRouting, inputs: Inputs) -> tuple[Rounding, ...]:
    """The mask is off by its Lipschitz constant times the logits' error, which moves y by that times |C - P|."""
    convolved, pooled = (bounds.magnitude for bounds in inputs)
    if layer.activation == "frozen":
        return (Rounding(4, layer.stored.abs() * convolved + (1 + layer.stored.abs()) * pooled),)
    scale, _, terms = logits_of(layer, *_own_logits(layer))
    convolved, pooled, terms = (value.amax((-2, -1), keepdim=True) for value in (convolved, pooled, terms))  # of each channel: it is small
    logits = scale.abs() * pooled + terms
    return (
        Rounding(logit_roundings(layer), ((convolved + pooled) * (1 + LIPSCHITZ[layer.activation] * logits)).expand_as(inputs[0].lower)),
    )


def _refine(layer: MaskRouting, inputs: Inputs) -> tuple[Tensor | None, ...]:
    convolved, pooled = inputs
    if layer.activation == "frozen":
        return None, None
    return (~own_mask(layer).constant(pooled.lower, pooled.upper) & (convolved.lower < convolved.upper)), None


@dataclass(frozen=True)
class RoutingPart:
    """What the rules read of a ``MaskRouting``, for a window: thresholds and stored masks belong to their places."""

    activation: str
    norm: nn.BatchNorm2d | None
    slope: float
    threshold: Tensor | None
    stored: Tensor | None


def _local(layer: MaskRouting, window: Window, shapes: tuple[torch.Size, ...]) -> tuple[RoutingPart, Window]:
    everything = whole(shapes[0])
    if layer.activation == "frozen":
        return RoutingPart("frozen", None, 1.0, None, window.take(layer.stored, everything)), window
    return RoutingPart(layer.activation, layer.norm, layer.slope, window.take(layer.threshold, everything), None), window


def _refuses(layer: MaskRouting, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    """The rule reads a mask's name, numbers and batch norm: the layer must be made of just these."""
    values = layer.stored if layer.activation == "frozen" else layer.threshold
    if values.shape != output or not values.is_floating_point():
        return f"its mask has {values.dtype} values of shape {tuple(values.shape)}, expected floats of shape {tuple(output)}"
    if layer.activation == "frozen":
        return None
    if not _is_gate(layer.gate, layer.activation):
        return f"its gate is {layer.gate}, expected that of the mask {layer.activation}"
    if layer.norm is None:
        return None
    if type(layer.norm) is not nn.BatchNorm2d or not layer.norm.affine:
        return f"its logits' norm is {layer.norm}, expected a BatchNorm2d with weight and bias"
    return "its logits' batch norm keeps no running statistics" if layer.norm.running_mean is None else None


def _is_gate(module: nn.Module, activation: MaskActivation) -> bool:
    expected = gate(activation)
    if type(module) is not type(expected) or not isinstance(module, Step) or not isinstance(expected, Step):
        return type(module) is type(expected)
    return module.comparison == expected.comparison and bool((module.threshold == expected.threshold).all())


def _mixture_interval(layer: Mixture, inputs: Inputs) -> tuple[Box, ...]:
    ends = ((bounds.lower, bounds.upper) for bounds in inputs)
    values = torch.stack([mask * convolved + (1 - mask) * pooled for mask, convolved, pooled in product(*ends)])
    return ((values.amin(0), values.amax(0)),)


def _mixture_relax(layer: Mixture, inputs: Inputs) -> Pair:
    mask, convolved, pooled = inputs
    return Pair((mask.lower, mask.upper), (convolved.lower - pooled.upper, convolved.upper - pooled.lower))


def _mixture_linear(layer: Mixture, pair: Pair, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    on_mask, on_difference, constant = product_planes(a, pair, mix)
    return (summed_to(on_mask, pair.x[0].shape[1:]), on_difference, a - on_difference), constant


def _mixture_rounding(layer: Mixture, inputs: Inputs) -> tuple[Rounding, ...]:
    """Our planes also meet the difference of the branches, times the mask."""
    mask, convolved, pooled = (bounds.magnitude for bounds in inputs)
    return (Rounding(4, (1 + mask) * (convolved + pooled)),)


def _mixture_refine(layer: Mixture, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return tuple(bounds.lower < bounds.upper for bounds in inputs)


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
        mixes=True,
        refine=_refine,
        local=_local,
        refuses=_refuses,
    )
)
register(
    Rule(
        (Mixture,),
        "y = m C + (1 - m) P is affine in each of its three inputs, so its extremes over a box lie at the box's corners, whatever "
        "the mask's range; linear: y = P + m (C - P), the product relaxed by McCormick's planes.",
        "PlasticFlex thesis Eq. 3.2, 3.12 to 3.15",
        _mixture_interval,
        _mixture_relax,
        _mixture_linear,
        _mixture_rounding,
        loses=True,
        mixes=True,
        refine=_mixture_refine,
    )
)
