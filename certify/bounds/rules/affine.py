"""Layers y = W x + b: each is described once, as an ``AffineMap``, and the rules follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import ChannelAlignment


@dataclass(frozen=True)
class AffineMap:
    """y = W x + b on batches.

    Attributes:
        forward: x -> W x.
        absolute: x -> |W| x.
        transpose: A (N, *output shape) -> A W (N, *input shape).
        offset: b, broadcastable to an output; 0 without bias.
        offset_magnitude: bounds b and every intermediate result of computing it.
        operations: roundings that meet one output.
    """

    forward: Callable[[Tensor], Tensor]
    absolute: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor]
    offset: Tensor
    offset_magnitude: Tensor
    operations: int


def register_affine(
    layer: type[nn.Module],
    describe: Callable[..., AffineMap],
    statement: str,
    source: str,
    refuses: Callable[..., str | None] = lambda layer, inputs, output: None,
    *,
    loses: bool = True,
) -> None:
    """Registers the rules that every affine layer shares."""

    def interval(module: nn.Module, inputs: Inputs) -> tuple[Box, ...]:
        affine = describe(module, inputs[0].lower.shape[1:])
        centre, radius = affine.forward(inputs[0].centre) + affine.offset, affine.absolute(inputs[0].radius)
        return ((centre - radius, centre + radius),)

    def relax(module: nn.Module, inputs: Inputs) -> AffineMap:
        return describe(module, inputs[0].lower.shape[1:])

    def linear(module: nn.Module, affine: AffineMap, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
        (a,) = coefficients
        assert a is not None
        back = affine.transpose(a.flatten(0, 1)).unflatten(0, a.shape[:2])
        return (back,), (a * affine.offset).flatten(2).sum(2)

    def rounding(module: nn.Module, inputs: Inputs) -> tuple[Rounding, ...]:
        affine = describe(module, inputs[0].lower.shape[1:])
        operations = affine.operations + 8 if affine.operations else 0
        return (Rounding(operations, affine.absolute(inputs[0].magnitude) + affine.offset_magnitude),)

    register(Rule((layer,), statement, source, interval, relax, linear, rounding, affine=True, loses=loses, refuses=refuses))


def _linear_map(layer: nn.Linear, shape: torch.Size) -> AffineMap:
    weight, bias = layer.weight, _bias(layer.bias, layer.weight)
    return AffineMap(lambda x: x @ weight.T, lambda x: x @ weight.abs().T, lambda a: a @ weight, bias, bias.abs(), max(weight.shape) + 1)


def _conv2d_map(layer: nn.Conv2d, shape: torch.Size) -> AffineMap:
    assert not isinstance(layer.padding, str), "refused"
    bias = _bias(layer.bias, layer.weight)[:, None, None]
    return convolution_map(layer.weight, bias, shape, layer.stride, layer.padding, layer.dilation, layer.groups)


def convolution_map(
    weight: Tensor,
    bias: Tensor,
    shape: torch.Size,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> AffineMap:
    """The map of a 2-D convolution with zero padding."""

    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        return functional.conv2d(x, kernel, None, stride, padding, dilation, groups)

    def transpose(a: Tensor) -> Tensor:
        extra = [
            shape[1 + i] - ((a.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1)
            for i in range(2)
        ]
        return functional.conv_transpose2d(a, weight, None, stride, padding, extra, groups, dilation)

    terms = max(weight[0].numel(), weight.shape[0] // groups * weight[0, 0].numel())
    return AffineMap(lambda x: convolve(x, weight), lambda x: convolve(x, weight.abs()), transpose, bias, bias.abs(), terms + 1)


def _alignment_map(layer: ChannelAlignment, shape: torch.Size) -> AffineMap:
    zero = layer.weight.new_zeros(1, 1, 1)
    if layer.in_channels == layer.out_channels:
        return _diagonal(torch.ones_like(zero), zero, zero, 0)
    return convolution_map(layer.weight[:, :, None, None], zero, shape, (1, 1), (0, 0), (1, 1), 1)


def _batch_norm_map(layer: nn.BatchNorm2d, shape: torch.Size) -> AffineMap:
    assert layer.running_mean is not None and layer.running_var is not None
    mean, variance = layer.running_mean, layer.running_var
    weight = torch.ones_like(mean) if layer.weight is None else layer.weight
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias
    scale = weight / torch.sqrt(variance + layer.eps)
    offset, magnitude = bias - mean * scale, bias.abs() + (mean * scale).abs()
    expand = (slice(None), *[None] * (len(shape) - 1))
    return _diagonal(scale[expand], offset[expand], magnitude[expand], 8)


def _normalise_map(layer: Normalise, shape: torch.Size) -> AffineMap:
    scale, offset = 1 / layer.std, -layer.mean / layer.std
    return _diagonal(scale, offset, offset.abs(), 4)


def _average_pool_map(layer: nn.AvgPool2d, shape: torch.Size) -> AffineMap:
    def pool(x: Tensor) -> Tensor:
        return functional.avg_pool2d(
            x, layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad, layer.divisor_override
        )

    def transpose(a: Tensor) -> Tensor:
        pull_back = torch.func.vjp(pool, a.new_zeros(len(a), *shape))[1]
        return pull_back(a)[0]

    kernel = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
    zero = torch.zeros((), dtype=torch.float64)
    return AffineMap(pool, pool, transpose, zero, zero, kernel[0] * kernel[1] + 1)


def _diagonal(scale: Tensor, offset: Tensor, offset_magnitude: Tensor, operations: int) -> AffineMap:
    return AffineMap(lambda x: x * scale, lambda x: x * scale.abs(), lambda a: a * scale, offset, offset_magnitude, operations)


def _bias(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias


def _refuses_convolution(layer: nn.Conv2d, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if layer.padding_mode != "zeros":
        return f"padding mode is {layer.padding_mode!r}, expected 'zeros'"
    return f"padding is {layer.padding!r}, expected numbers" if isinstance(layer.padding, str) else None


def _refuses_batch_norm(layer: nn.BatchNorm2d, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return "it keeps no running statistics, so its output depends on the batch" if layer.running_mean is None else None


CENTRE_RADIUS = "y = W x + b. Interval: W c + b +- |W| r, exact for a box; linear: A y = (A W) x + A b, an identity."
BATCH_NORM = "Evaluation mode: y = x w / sqrt(var + eps) + (b - mean w / sqrt(var + eps))."
SOURCE = "theory: affine layers; Gowal et al. 2018 (interval), Zhang et al. 2018 (linear)"

register_affine(nn.Linear, _linear_map, CENTRE_RADIUS, SOURCE)
register_affine(nn.Conv2d, _conv2d_map, CENTRE_RADIUS, SOURCE, _refuses_convolution)
register_affine(nn.BatchNorm1d, _batch_norm_map, BATCH_NORM, SOURCE, _refuses_batch_norm, loses=False)
register_affine(nn.BatchNorm2d, _batch_norm_map, BATCH_NORM, SOURCE, _refuses_batch_norm, loses=False)
register_affine(
    Normalise, _normalise_map, "y = (x - mean) / std, per channel.", "part of the network, so that epsilon is in input units", loses=False
)
register_affine(nn.AvgPool2d, _average_pool_map, "Each output is a mean with nonnegative weights, so bounds pass through exactly.", SOURCE)
register_affine(
    ChannelAlignment,
    _alignment_map,
    "Interpolation along channels: nonnegative weights of sum 1.",
    "PlasticFlex thesis, Algorithm 1 (pooling branch aligned in channels)",
)
