"""Means: average pooling, sums and means over dimensions, resizing by interpolation. Affine, without a negative weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.call import Call, apply, options
from neurocert.certify.bounds.rules.affine import SOURCE, AffineMap, by_differentiation, each, register_affine

SAMPLES = 3
MEAN = "Each output is a sum with nonnegative weights, so bounds pass through exactly; linear: an identity."
RESIZE = "Each output is a mean of neighbours with nonnegative weights; that coordinates are rounded too is charged."
MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "area")


def _of(terms: Callable[[Any, torch.Size, torch.Size], int]) -> Callable[[Any, torch.Size], AffineMap]:
    """Describes a layer by running it; ``terms``: (layer, input shape, output shape) -> how many elements one output sums."""

    def describe(layer: Any, shape: torch.Size) -> AffineMap:
        def function(x: Tensor) -> Tensor:
            return apply(layer, x)

        output = function(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:]
        return by_differentiation(function, shape, terms(layer, shape, output) + 1)

    return describe


def _window(layer: Any, shape: torch.Size, output: torch.Size) -> int:
    kernel = options(layer, kernel_size=1)["kernel_size"] if isinstance(layer, Call) else layer.kernel_size
    return math.prod(each(kernel, len(shape) - 1))


def _adaptive_window(layer: Any, shape: torch.Size, output: torch.Size) -> int:
    return math.prod(math.ceil(i / o) + 1 for i, o in zip(shape[1:], output[1:], strict=True))


def _ratio(layer: Any, shape: torch.Size, output: torch.Size) -> int:
    return shape.numel() // max(1, output.numel())


def _coordinates(layer: Any, shape: torch.Size, output: torch.Size) -> int:
    """A coordinate is off by a few roundings of the size, which moves the result by that times what neighbours differ."""
    return _adaptive_window(layer, shape, output) + 16 * max(shape[1:])


def _refuses(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    """Only the sample that is not zero may have a result that is not zero; all weights are nonnegative, so nothing cancels."""
    ones = torch.zeros(SAMPLES, *inputs[0], dtype=torch.float64)
    ones[1] = 1.0
    result = apply(layer, ones)
    alone = result.shape == (SAMPLES, *output) and not bool(result[::2].any())
    return None if alone else "sums over samples, expected sums within each sample"


def _refuses_resize(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    given = _resizing(layer)
    if given["mode"] not in MODES or given["antialias"]:
        return f"mode is {given['mode']!r}{' with antialiasing' * bool(given['antialias'])}, expected one of {', '.join(MODES)}"
    if given["mode"].startswith("nearest"):
        numbers = torch.arange(inputs[0].numel()).reshape(1, *inputs[0])
        if numbers.numel() >= 2**24 or not torch.equal(apply(layer, numbers.float()).double(), apply(layer, numbers.double())):
            return "which element is nearest depends on rounding"
    return _refuses(layer, inputs, output)


def _resizing(layer: Any) -> dict[str, Any]:
    if isinstance(layer, nn.Module):
        return {"mode": layer.mode, "antialias": False}
    return options(layer, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False)


register_affine(
    (
        *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d),
    ),
    _of(_window),
    MEAN,
    SOURCE,
    _refuses,
)
register_affine(
    (
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
    ),
    _of(_adaptive_window),
    MEAN,
    SOURCE,
    _refuses,
)
register_affine((torch.mean, "mean", torch.sum, "sum"), _of(_ratio), MEAN, SOURCE, _refuses)
register_affine(
    (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, functional.interpolate),
    _of(_coordinates),
    RESIZE,
    SOURCE,
    _refuses_resize,
)
