"""Layers y = W x + b: each is described once, as an ``AffineMap``, and the rules follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.arithmetic import FLOOR
from neurocert.certify.bounds.call import Call, Slot, options
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.window import Window, by_element
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import ChannelAlignment

SHORT, ROUNDED_UP = 2**12, 1 + 2.0**-10
"""A float32 sum of at most SHORT products that are not negative is at least its exact value over ROUNDED_UP, however it is computed."""
CACHED = 2**16
"""Elements of a weight matrix that are worked on at a time."""
MANY, SMALL_MATRIX = 2, 2**17
"""A convolution's transpose is applied as a dense matrix to at least MANY times as many rows as it has, if it is that small."""


@dataclass(frozen=True)
class AffineMap:
    """y = W x + b on batches.

    Attributes:
        forward: x -> W x.
        absolute: x -> |W| x, or more.
        transpose: A (N, *output shape) -> A W (N, *input shape).
        offset: b, broadcastable to an output; 0 without bias.
        offset_magnitude: bounds b and every intermediate result of computing it.
        operations: roundings that meet one output.
        magnitude: x -> at least |W| x, a little more if that is faster, or what broadcasts to it; None for ``absolute``.
        diagonal: W is this times each element, broadcastable to them; None if it is more than that.
    """

    forward: Callable[[Tensor], Tensor]
    absolute: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor]
    offset: Tensor
    offset_magnitude: Tensor
    operations: int
    magnitude: Callable[[Tensor], Tensor] | None = None
    diagonal: Tensor | None = None


def register_affine(
    layers: tuple[Any, ...],
    describe: Callable[..., AffineMap],
    statement: str,
    source: str,
    refuses: Callable[..., str | None] = lambda layer, inputs, output: None,
    *,
    loses: bool = True,
    local: Callable[..., tuple[Any, Window] | None] | None = None,
) -> None:
    """Registers the rules that every affine layer shares."""

    def interval(module: Any, inputs: Inputs) -> tuple[Box, ...]:
        affine = describe(module, inputs[0].lower.shape[1:])
        if affine.diagonal is not None:
            ends = inputs[0].lower * affine.diagonal, inputs[0].upper * affine.diagonal
            return ((torch.minimum(*ends) + affine.offset, torch.maximum(*ends) + affine.offset),)
        centre, radius = affine.forward(inputs[0].centre) + affine.offset, affine.absolute(inputs[0].radius)
        return ((centre - radius, centre + radius),)

    def relax(module: Any, inputs: Inputs) -> AffineMap:
        return describe(module, inputs[0].lower.shape[1:])

    def linear(module: Any, affine: AffineMap, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
        (a,) = coefficients
        assert a is not None
        back = affine.transpose(a.flatten(0, 1)).unflatten(0, a.shape[:2])
        return (back,), _weighed(a, affine.offset)

    def rounding(module: Any, inputs: Inputs) -> tuple[Rounding, ...]:
        affine = describe(module, inputs[0].lower.shape[1:])
        operations = affine.operations + 8 if affine.operations else 0
        size = inputs[0].magnitude
        flushed = FLOOR * (float(size.detach().amax()) if size.numel() else 0.0)
        return (Rounding(operations, (affine.magnitude or affine.absolute)(size + FLOOR) + affine.offset_magnitude + flushed),)

    register(Rule(layers, statement, source, interval, relax, linear, rounding, affine=True, loses=loses, local=local, refuses=refuses))


def _weighed(a: Tensor, offset: Tensor) -> Tensor:
    """sum a offset, for an offset broadcast over what it has one value for: (R, B or 1)."""
    shape = (1,) * (a.dim() - 2 - offset.dim()) + offset.shape
    repeated = [2 + axis for axis, size in enumerate(shape) if size == 1]
    return ((a.sum(repeated, keepdim=True) if repeated else a) * offset).flatten(2).sum(2)


def by_differentiation(
    function: Callable[[Tensor], Tensor], shape: torch.Size, operations: int, absolute: Callable[[Tensor], Tensor] | None = None
) -> AffineMap:
    """A linear function x -> W x, its transpose taken by differentiating it.

    Args:
        function: linear, on batches.
        absolute: x -> |W| x; the function itself where W has no negative weight.
    """

    def transpose(a: Tensor) -> Tensor:
        return torch.func.vjp(function, a.new_zeros(len(a), *shape))[1](a)[0]

    zero = torch.zeros((), dtype=torch.float64)
    return AffineMap(function, absolute or function, transpose, zero, zero, operations)


def _linear_map(layer: nn.Linear | Call, shape: torch.Size) -> AffineMap:
    given = _parameters(layer)
    weight, bias = given["weight"], _bias(given["bias"], given["weight"])
    return AffineMap(lambda x: x @ weight.T, lambda x: _sized(x, weight), lambda a: a @ weight, bias, bias.abs(), max(weight.shape) + 1)


def _sized(x: Tensor, weight: Tensor) -> Tensor:
    """x |W|^T, a few rows of W at a time, which stay in the cache."""
    rows = max(1, CACHED // weight.shape[1])
    return torch.cat([x @ part.abs().T for part in weight.split(rows)], -1)


def _parameters(layer: Any) -> dict[str, Any]:
    """What a linear layer or a convolution is made of, from the module or from the arguments of the function."""
    if isinstance(layer, Call):
        return options(layer, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1)
    names = ("weight", "bias", "stride", "padding", "dilation", "groups")
    return {name: getattr(layer, name, None) for name in names}


def _convolution_map(layer: Any, shape: torch.Size) -> AffineMap:
    given = _parameters(layer)
    weight, dimensions = given["weight"], given["weight"].dim() - 2
    bias = _bias(given["bias"], weight)[:, *[None] * dimensions]
    if isinstance(given["padding"], str):
        return _named_padding_map(weight, bias, shape, given)
    stride, padding, dilation = (each(given[name], dimensions) for name in ("stride", "padding", "dilation"))
    return convolution_map(weight, bias, shape, stride, padding, dilation, given["groups"])


def _named_padding_map(weight: Tensor, bias: Tensor, shape: torch.Size, given: dict[str, Any]) -> AffineMap:
    """Padding "same" may differ on the two sides, which a transposed convolution cannot say."""
    convolution, _ = CONVOLUTIONS[weight.dim() - 2]

    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        return convolution(x, kernel, None, given["stride"], given["padding"], given["dilation"], given["groups"])

    terms = max(weight[0].numel(), weight.shape[0] // given["groups"] * weight[0, 0].numel())
    linear = by_differentiation(lambda x: convolve(x, weight), shape, terms + 1, lambda x: convolve(x, weight.abs()))
    return replace(linear, offset=bias, offset_magnitude=bias.abs())


def each(value: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    """One number for each dimension."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values * dimensions if len(values) == 1 else values


def convolution_map(
    weight: Tensor,
    bias: Tensor,
    shape: torch.Size,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> AffineMap:
    """The map of a convolution in one, two or three dimensions with zero padding."""
    convolution, transposed = CONVOLUTIONS[len(shape) - 1]
    matrix: list[Tensor] = []  # made when first worth it

    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        return convolution(x, kernel, None, stride, padding, dilation, groups)

    def transpose(a: Tensor) -> Tensor:
        extra = [
            shape[1 + i] - ((a.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1)
            for i in range(len(stride))
        ]
        if len(a) < MANY * a[0].numel() or a[0].numel() * shape.numel() > SMALL_MATRIX:
            return transposed(a, weight, None, stride, padding, extra, groups, dilation)
        if not matrix:
            unit = torch.eye(a[0].numel(), dtype=a.dtype, device=a.device).unflatten(1, a.shape[1:])
            matrix.append(transposed(unit, weight, None, stride, padding, extra, groups, dilation).flatten(1))
        return (a.flatten(1) @ matrix[0]).unflatten(1, shape)

    terms = max(weight[0].numel(), weight.shape[0] // groups * weight[0, 0].numel())

    def magnitude(x: Tensor) -> Tensor:
        """In float32, rounded up, unless that might overflow."""
        size = weight.abs()
        if terms > SHORT or float(x.detach().amax()) * float(size.detach().amax()) * terms > 1e37:
            return convolve(x, size)
        return convolve(x.float(), size.float()).double() * ROUNDED_UP

    return AffineMap(lambda x: convolve(x, weight), lambda x: convolve(x, weight.abs()), transpose, bias, bias.abs(), terms + 1, magnitude)


def _convolution_window(layer: Any, window: Window, shapes: tuple[torch.Size, ...]) -> tuple[Call, Window] | None:
    given = _parameters(layer)
    if len(shapes[0]) != 3 or isinstance(given["padding"], str):
        return None
    stride, padding, dilation = (each(given[name], 2) for name in ("stride", "padding", "dilation"))
    unpadded = Call(functional.conv2d, (Slot(0), given["weight"], given["bias"], stride, 0, dilation, given["groups"]), {})
    return unpadded, window.reached_by(given["weight"].shape[2:], stride, padding, dilation)  # type: ignore[arg-type]


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


def _diagonal(scale: Tensor, offset: Tensor, offset_magnitude: Tensor, operations: int) -> AffineMap:
    size = scale.abs() + FLOOR

    def magnitude(x: Tensor) -> Tensor:
        """Of each channel: it is charged with few roundings, and a channel's elements are much alike."""
        return x.amax(tuple(range(2, x.dim())), keepdim=True) * size if x.dim() > 2 and x.numel() else x * size

    return AffineMap(lambda x: x * scale, lambda x: x * size, lambda a: a * scale, offset, offset_magnitude, operations, magnitude, scale)


def _bias(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias


def _refuses_convolution(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if isinstance(layer, nn.Module) and getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"padding mode is {layer.padding_mode!r}, expected 'zeros'"
    return _refuses_weights(layer, inputs, output)


def _refuses_weights(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    """Weights may be neither uncertain nor infinite."""
    given = _parameters(layer)
    tensors = [given[name] for name in ("weight", "bias") if given[name] is not None]
    if len(inputs) != 1 or not all(isinstance(tensor, Tensor) for tensor in tensors):
        return "its weights depend on the input"
    return None if all(bool(torch.isfinite(tensor).all()) for tensor in tensors) else "its weights are not finite"


def _refuses_batch_norm(layer: nn.BatchNorm2d, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return "it keeps no running statistics, so its output depends on the batch" if layer.running_mean is None else None


CENTRE_RADIUS = "y = W x + b. Interval: W c + b +- |W| r, exact for a box; linear: A y = (A W) x + A b, an identity."
BATCH_NORM = "Evaluation mode: y = x w / sqrt(var + eps) + (b - mean w / sqrt(var + eps))."
SOURCE = "theory: affine layers; Gowal et al. 2018 (interval), Zhang et al. 2018 (linear)"

CONVOLUTIONS = {
    1: (functional.conv1d, functional.conv_transpose1d),
    2: (functional.conv2d, functional.conv_transpose2d),
    3: (functional.conv3d, functional.conv_transpose3d),
}

register_affine((nn.Linear, functional.linear), _linear_map, CENTRE_RADIUS, SOURCE, _refuses_weights)
register_affine(
    (nn.Conv1d, nn.Conv2d, nn.Conv3d, functional.conv1d, functional.conv2d, functional.conv3d),
    _convolution_map,
    CENTRE_RADIUS,
    SOURCE,
    _refuses_convolution,
    local=_convolution_window,
)
register_affine(
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    _batch_norm_map,
    BATCH_NORM,
    SOURCE,
    _refuses_batch_norm,
    loses=False,
    local=by_element,
)
register_affine(
    (Normalise,),
    _normalise_map,
    "y = (x - mean) / std, per channel.",
    "part of the network, so that epsilon is in input units",
    loses=False,
    local=by_element,
)
register_affine(
    (ChannelAlignment,),
    _alignment_map,
    "Interpolation along channels: nonnegative weights of sum 1.",
    "PlasticFlex thesis, Algorithm 1 (pooling branch aligned in channels)",
    local=by_element,
)
