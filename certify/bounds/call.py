"""Functions and tensor methods in a captured forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.fx.node import map_aggregate


@dataclass(frozen=True)
class Slot:
    """Stands for input number ``index`` among the arguments of a ``Call``."""

    index: int


@dataclass(frozen=True)
class BatchSize:
    """Stands for the number of samples among the arguments of a ``Call``."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """A constant tensor (1, *shape) among the arguments of a ``Call`` that the network repeats for every sample."""

    value: Tensor


@dataclass(frozen=True)
class Call:
    """A function or tensor method in a forward pass, with the constant part of its arguments.

    Attributes:
        target: the function, or the method's name.
        arguments, keywords: as called, graph inputs replaced by ``Slot``, the batch size by ``BatchSize``.
    """

    target: Callable[..., Any] | str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


def apply(layer: nn.Module | Call, *inputs: Tensor) -> Any:
    """What the layer computes from batches (B, *shape)."""
    if isinstance(layer, nn.Module):
        return layer(*inputs)

    def filled(argument: Any) -> Any:
        if isinstance(argument, Slot):
            return inputs[argument.index]
        if isinstance(argument, BatchSize):
            return len(inputs[0])
        return argument.value.expand(len(inputs[0]), *argument.value.shape[1:]) if isinstance(argument, Repeated) else argument

    arguments, keywords = map_aggregate(layer.arguments, filled), map_aggregate(layer.keywords, filled)
    if isinstance(layer.target, str):
        return getattr(arguments[0], layer.target)(*arguments[1:], **keywords)
    return layer.target(*arguments, **keywords)


def options(call: Call, **defaults: Any) -> dict[str, Any]:
    """The arguments after the first, by name: ``defaults`` names them in their order and says what is not given."""
    return {**defaults, **dict(zip(defaults, call.arguments[1:], strict=False)), **call.keywords}
