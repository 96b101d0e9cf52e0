"""Operations that move elements and compute nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register, zero_constant


def _start(layer: Any) -> tuple[int, int]:
    """(first, last) flattened dimension."""
    if isinstance(layer, nn.Flatten):
        return layer.start_dim, layer.end_dim
    positional = dict(zip(("start_dim", "end_dim"), layer.arguments[1:], strict=False))
    given = {"start_dim": 0, "end_dim": -1, **positional, **layer.keywords}
    return given["start_dim"], given["end_dim"]


def _interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    return ((inputs[0].lower.flatten(1), inputs[0].upper.flatten(1)),)


def _relax(layer: Any, inputs: Inputs) -> torch.Size:
    return inputs[0].lower.shape[1:]


def _linear(layer: Any, shape: torch.Size, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    (a,) = coefficients
    assert a is not None
    return (a.unflatten(2, shape),), zero_constant(coefficients)


def _rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, inputs[0].magnitude.flatten(1)),)


def _refuses(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return None if _start(layer) == (1, -1) else f"flattens dimensions {_start(layer)}, expected (1, -1): everything but the batch"


register(
    Rule(
        (nn.Flatten, torch.flatten, "flatten"),
        "Elements are moved, not changed.",
        "-",
        _interval,
        _relax,
        _linear,
        _rounding,
        affine=True,
        refuses=_refuses,
    )
)
