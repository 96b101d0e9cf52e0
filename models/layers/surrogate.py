"""Surrogate derivatives: what training and attacks use in place of the spike's derivative, which is zero almost everywhere.

They never enter a bound: every forward pass, and every certificate, uses the real spike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from neurocert.models.semantics import Comparison

Derivative = Callable[[Tensor], Tensor]


def sech_squared(distance: Tensor) -> Tensor:
    """0.3 sech^2(x), the derivative of 0.3 tanh(x) (what Eq. 3.7 of the PlasticFlex thesis must mean; its print is not a derivative)."""
    return 0.3 * (1.0 - torch.tanh(distance) ** 2)


def arctangent(distance: Tensor) -> Tensor:
    """1 / (1 + (pi x)^2), the derivative of arctan(pi x) / pi."""
    return 1.0 / (1.0 + (math.pi * distance) ** 2)


def rectangle(distance: Tensor) -> Tensor:
    """1 on |x| < 1/2, else 0."""
    return (distance.abs() < 0.5).to(distance.dtype)


def ramp(distance: Tensor) -> Tensor:
    """1/6 on |x| < 3, else 0: the derivative of the hard sigmoid clip(x / 6 + 1 / 2, 0, 1)."""
    return (distance.abs() < 3).to(distance.dtype) / 6


SURROGATES: dict[str, Derivative] = {
    "sech-squared": sech_squared,
    "arctangent": arctangent,
    "rectangle": rectangle,
    "ramp": ramp,
}

_INSTEAD: ContextVar[Derivative | None] = ContextVar("surrogate", default=None)


@contextmanager
def differentiated_by(derivative: Derivative) -> Iterator[None]:
    """Inside the block every spike has this surrogate, whichever its layer names: an attack may try several on one network."""
    token = _INSTEAD.set(derivative)
    try:
        yield
    finally:
        _INSTEAD.reset(token)


_SOFTENED: ContextVar[float | None] = ContextVar("softened", default=None)


@contextmanager
def softened(width: float) -> Iterator[None]:
    """Inside the block every spike is a sigmoid: another network, which a search may descend to find points for this one.

    Args:
        width: of the sigmoid, as a share of the threshold; as it is where that is 0.
    """
    token = _SOFTENED.set(width)
    try:
        yield
    finally:
        _SOFTENED.reset(token)


def _soft_spike(potential: Tensor, threshold: float | Tensor, width: float) -> Tensor:
    unit = torch.as_tensor(threshold, dtype=potential.dtype).abs()
    return torch.sigmoid((potential - threshold) / (width * torch.where(unit > 0, unit, 1.0)))


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, potential: Tensor, threshold: float | Tensor, comparison: Comparison, derivative: Derivative) -> Tensor:
        ctx.save_for_backward(potential)
        ctx.threshold, ctx.derivative = threshold, derivative
        fired = potential > threshold if comparison == ">" else potential >= threshold
        return fired.to(potential.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (potential,) = ctx.saved_tensors
        return gradients[0] * ctx.derivative(potential - ctx.threshold), None, None, None


def spike(potential: Tensor, threshold: float | Tensor, comparison: Comparison, surrogate: str) -> Tensor:
    """1 where ``potential comparison threshold``, else 0; the gradient is the named surrogate's, or that of ``differentiated_by``.

    Only inside ``softened`` it is a number between.

    Args:
        potential: membrane potential, any shape.
        threshold: representable in the potential's dtype; a number, or a tensor that broadcasts to the potential.
        comparison: ">" or ">=".
        surrogate: a key of ``SURROGATES``.
    """
    width = _SOFTENED.get()
    if width is not None:
        return _soft_spike(potential, threshold, width)
    derivative = _INSTEAD.get() or SURROGATES[surrogate]
    return _Spike.apply(potential, threshold, comparison, derivative)  # type: ignore[return-value]
