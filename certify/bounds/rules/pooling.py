"""Max pooling with any kernel, stride, padding and dilation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.maximum import maximum_planes


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)  # type: ignore[return-value]


def _pool(layer: nn.MaxPool2d, x: Tensor) -> Tensor:
    return functional.max_pool2d(x, layer.kernel_size, layer.stride, layer.padding, layer.dilation)


def _windows(layer: nn.MaxPool2d, x: Tensor, fill: float) -> Tensor:
    """(B, C, H, W) to (B, C, H', W', window); padding holds ``fill``, below every element, so that it never wins."""
    high, wide = _pair(layer.padding)
    padded = functional.pad(x, (wide, wide, high, high), value=fill)
    columns = functional.unfold(padded.flatten(0, 1)[:, None], layer.kernel_size, layer.dilation, 0, layer.stride)
    size = _pool(layer, x[:1, :1]).shape[2:]
    return columns.unflatten(2, size).unflatten(0, x.shape[:2]).movedim(2, -1)


def _interval(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Box, ...]:
    return ((_pool(layer, inputs[0].lower), _pool(layer, inputs[0].upper)),)


def _linear(layer: nn.MaxPool2d, inputs: Inputs, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    fill = float(inputs[0].lower.min()) - 1
    below, above, offset = maximum_planes(_windows(layer, inputs[0].lower, fill), _windows(layer, inputs[0].upper, fill))
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    weighted = positive[..., None] * below + negative[..., None] * above
    return (_scatter(layer, weighted, inputs[0].lower.shape[2:]),), dot(negative, offset)


def _scatter(layer: nn.MaxPool2d, weighted: Tensor, size: torch.Size) -> Tensor:
    """Adds window coefficients (R, B, C, H', W', window) onto the input's elements: (R, B, C, H, W)."""
    columns = weighted.flatten(0, 2).flatten(1, 2).transpose(1, 2)
    folded = functional.fold(columns, tuple(size), layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return folded[:, 0].unflatten(0, weighted.shape[:3])


def _rounding(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, _pool(layer, inputs[0].magnitude)),)


def _refine(layer: nn.MaxPool2d, inputs: Inputs) -> tuple[Tensor | None, ...]:
    """Elements that may be the maximum of some window that has no certain winner."""
    fill = float(inputs[0].lower.min()) - 1
    lower, upper = _windows(layer, inputs[0].lower, fill), _windows(layer, inputs[0].upper, fill)
    contenders = upper > lower.amax(-1, keepdim=True)
    open_windows = contenders & (contenders.sum(-1, keepdim=True) > 1)
    return (_scatter(layer, open_windows.double()[None], inputs[0].lower.shape[2:])[0] > 0,)


def _refuses(layer: nn.MaxPool2d, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return "ceil_mode and return_indices have no rule" if layer.ceil_mode or layer.return_indices else None


register(
    Rule(
        (nn.MaxPool2d,),
        "Increasing in every element, so bounds pass through exactly; linear: one element below, a levelled plane above.",
        "theory: slopes and offsets; Singh et al. 2019 (DeepPoly) for the lower plane",
        _interval,
        _linear,
        _rounding,
        refine=_refine,
        refuses=_refuses,
    )
)
