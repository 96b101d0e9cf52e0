"""Max pooling with any kernel, stride, padding and dilation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.maximum import maximum_planes


@dataclass(frozen=True)
class Windows:
    """Where the elements of each window lie, one strided slice of the padded input for each element of the kernel.

    Attributes:
        slices: (rows, columns) of the padded input, in the kernel's order.
        padding: (vertical, horizontal).
        size: (H, W) of the input.
    """

    slices: tuple[tuple[slice, slice], ...]
    padding: tuple[int, int]
    size: tuple[int, int]

    def take(self, x: Tensor, fill: float) -> Tensor:
        """(B, C, H, W) to (B, C, H', W', window); padding holds ``fill``."""
        high, wide = self.padding
        padded = functional.pad(x, (wide, wide, high, high), value=fill)
        return torch.stack([padded[..., rows, columns] for rows, columns in self.slices], -1)

    def add(self, parts: list[Tensor]) -> Tensor:
        """Adds one (..., H', W') part for each element of the kernel onto the elements (..., H, W) it reads."""
        (high, wide), (height, width) = self.padding, self.size
        padded = parts[0].new_zeros(*parts[0].shape[:-2], height + 2 * high, width + 2 * wide)
        for (rows, columns), part in zip(self.slices, parts, strict=True):
            padded[..., rows, columns] += part
        return padded[..., high : high + height, wide : wide + width]


@dataclass(frozen=True)
class PoolPlanes:
    """Weights on each window's elements: ``below`` and ``above`` (B, C, H', W', window), ``offset`` (B, C, H', W')."""

    windows: Windows
    below: Tensor
    above: Tensor
    offset: Tensor


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)  # type: ignore[return-value]


def _pool(layer: nn.MaxPool2d, x: Tensor) -> Tensor:
    return functional.max_pool2d(x, layer.kernel_size, layer.stride, layer.padding, layer.dilation)


def _windows(layer: nn.MaxPool2d, x: Tensor) -> Windows:
    kernel, stride, dilation = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.dilation)
    size = _pool(layer, x[:1, :1]).shape[2:]

    def reach(axis: int, element: int) -> slice:
        start = element * dilation[axis]
        return slice(start, start + (size[axis] - 1) * stride[axis] + 1, stride[axis])

    slices = tuple((reach(0, i), reach(1, j)) for i, j in product(range(kernel[0]), range(kernel[1])))
    return Windows(slices, _pair(layer.padding), (x.shape[2], x.shape[3]))


def _taken(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Windows, Tensor, Tensor]:
    """Windows of both bounds; padding lies below every element, so that it never wins."""
    (x,) = inputs
    windows, fill = _windows(layer, x.lower), float(x.lower.min()) - 1
    return windows, windows.take(x.lower, fill), windows.take(x.upper, fill)


def _interval(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Box, ...]:
    return ((_pool(layer, inputs[0].lower), _pool(layer, inputs[0].upper)),)


def _relax(layer: nn.MaxPool2d, inputs: Inputs) -> PoolPlanes:
    windows, lower, upper = _taken(layer, inputs)
    return PoolPlanes(windows, *maximum_planes(lower, upper))


def _linear(layer: nn.MaxPool2d, planes: PoolPlanes, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    parts = [positive * low + negative * high for low, high in zip(planes.below.unbind(-1), planes.above.unbind(-1), strict=True)]
    return (planes.windows.add(parts),), dot(negative, planes.offset)


def _rounding(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, _pool(layer, inputs[0].magnitude)),)


def _refine(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Tensor | None, ...]:
    """Elements that may be the maximum of some window that has no certain winner."""
    windows, lower, upper = _taken(layer, inputs)
    contenders = upper > lower.amax(-1, keepdim=True)
    undecided = contenders & (contenders.sum(-1, keepdim=True) > 1)
    return (windows.add(list(undecided.double().unbind(-1))) > 0,)


def _refuses(layer: nn.MaxPool2d, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return "ceil_mode and return_indices have no rule" if layer.ceil_mode or layer.return_indices else None


register(
    Rule(
        (nn.MaxPool2d,),
        "Increasing in every element, so bounds pass through exactly; linear: one element below, a levelled plane above.",
        "theory: slopes and offsets; Singh et al. 2019 (DeepPoly) for the lower plane",
        _interval,
        _relax,
        _linear,
        _rounding,
        refine=_refine,
        refuses=_refuses,
    )
)
