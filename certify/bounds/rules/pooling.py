"""Max pooling with any kernel, stride, padding and dilation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.call import Call, Slot, options
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import EXACT, Coefficients, Inputs, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.maximum import Maximum
from neurocert.certify.bounds.window import Window


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
    """Planes on each window's elements, (B, C, H', W', window)."""

    windows: Windows
    planes: Maximum


@dataclass(frozen=True)
class Geometry:
    """(vertical, horizontal) of a pooling layer's windows."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def _geometry(layer: Any, size: Sequence[int]) -> Geometry:
    """Args: size: (H, W) of the input."""
    if _adaptive(layer):
        step = tuple(i // o for i, o in zip(size, _output_size(layer, size), strict=True))
        return Geometry(step, step, (0, 0), (1, 1))  # type: ignore[arg-type]
    given = _options(layer)
    kernel = _pair(given["kernel_size"])
    stride = given["stride"]
    return Geometry(kernel, kernel if stride in (None, []) else _pair(stride), _pair(given["padding"]), _pair(given["dilation"]))


def _adaptive(layer: Any) -> bool:
    return (layer.target if isinstance(layer, Call) else type(layer)) in ADAPTIVE


def _options(layer: Any) -> dict[str, Any]:
    defaults = {"kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
    return options(layer, **defaults) if isinstance(layer, Call) else {name: getattr(layer, name) for name in defaults}


def _output_size(layer: Any, size: Sequence[int]) -> list[int]:
    given = options(layer, output_size=None)["output_size"] if isinstance(layer, Call) else layer.output_size
    return [i if o is None else o for i, o in zip(size, _pair(given), strict=True)]


def _pair(value: Any) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * 2 if len(values) == 1 else values  # type: ignore[return-value]


def _pool(layer: Any, x: Tensor) -> Tensor:
    """Maxima over columns, then over rows: much faster than a pooling layer, which looks for their places too."""
    shape = _geometry(layer, x.shape[2:])
    high, wide = shape.padding
    padded = functional.pad(x, (wide, wide, high, high), value=-torch.inf) if high or wide else x
    by_column = functools.reduce(torch.maximum, (padded[..., part] for part in _reaches(shape, 1, x.shape[3])))
    return functools.reduce(torch.maximum, (by_column[..., part, :] for part in _reaches(shape, 0, x.shape[2])))


def _reaches(shape: Geometry, axis: int, size: int) -> list[slice]:
    """For each element of the kernel along an axis, what it meets of the padded input."""
    kernel, stride, dilation = shape.kernel[axis], shape.stride[axis], shape.dilation[axis]
    last = (size + 2 * shape.padding[axis] - dilation * (kernel - 1) - 1) // stride * stride
    return [slice(element * dilation, element * dilation + last + 1, stride) for element in range(kernel)]


def _windows(layer: Any, x: Tensor) -> Windows:
    shape = _geometry(layer, x.shape[2:])
    return Windows(tuple(product(_reaches(shape, 0, x.shape[2]), _reaches(shape, 1, x.shape[3]))), shape.padding, (x.shape[2], x.shape[3]))


def _taken(layer: Any, inputs: Inputs) -> tuple[Windows, Tensor, Tensor]:
    """Windows of both bounds; padding lies below every element, so that it never wins."""
    (x,) = inputs
    windows, fill = _windows(layer, x.lower), 2 * float(x.lower.detach().clamp(max=0).min()) - 1
    return windows, windows.take(x.lower, fill), windows.take(x.upper, fill)


def _interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    return ((_pool(layer, inputs[0].lower), _pool(layer, inputs[0].upper)),)


def _relax(layer: Any, inputs: Inputs) -> PoolPlanes:
    windows, lower, upper = _taken(layer, inputs)
    return PoolPlanes(windows, Maximum(lower, upper))


def _linear(layer: Any, pool: PoolPlanes, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    below, (above, offset) = pool.planes.below(mix), pool.planes.above(mix)
    parts = [positive * low + negative * high for low, high in zip(below.unbind(-1), above.unbind(-1), strict=True)]
    return (pool.windows.add(parts),), dot(negative, offset)


def _rounding(layer: Any, inputs: Inputs) -> tuple[None]:
    return (EXACT,)


def _refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
    """Elements that may be the maximum of some window that has no certain winner."""
    windows, lower, upper = _taken(layer, inputs)
    contenders = upper > lower.amax(-1, keepdim=True)
    undecided = contenders & (contenders.sum(-1, keepdim=True) > 1)
    return (windows.add(list(undecided.double().unbind(-1))) > 0,)


def _local(layer: Any, window: Window, shapes: tuple[torch.Size, ...]) -> tuple[Call, Window] | None:
    """Where no padding is in the way: it lies below every element, and is not 0."""
    shape = _geometry(layer, shapes[0][1:])
    unpadded = Call(functional.max_pool2d, (Slot(0), shape.kernel, shape.stride, 0, shape.dilation), {})
    return None if any(shape.padding) else (unpadded, window.reached_by(shape.kernel, shape.stride, shape.padding, shape.dilation))


def _refuses(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    if len(output) != 3:
        return f"pools an input of shape {tuple(inputs[0])}, expected (C, H, W)"
    if not _adaptive(layer):
        given = _options(layer)
        return "ceil_mode and return_indices have no rule" if given["ceil_mode"] or given["return_indices"] else None
    even = all(i % o == 0 for i, o in zip(inputs[0][1:], output[1:], strict=True))
    return None if even else f"pools {tuple(inputs[0][1:])} to {tuple(output[1:])}, expected a divisor in each dimension"


ADAPTIVE = (nn.AdaptiveMaxPool2d, functional.adaptive_max_pool2d)

register(
    Rule(
        (nn.MaxPool2d, functional.max_pool2d, *ADAPTIVE),
        "Increasing in every element, so bounds pass through exactly; linear: one element below, a levelled plane above.",
        "theory: slopes and offsets; Singh et al. 2019 (DeepPoly) for the lower plane",
        _interval,
        _relax,
        _linear,
        _rounding,
        mixes=True,
        refine=_refine,
        local=_local,
        refuses=_refuses,
    )
)
