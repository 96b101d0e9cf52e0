"""Functions and tensor methods in a captured forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slot:
    """Stands for input number ``index`` among the arguments of a ``Call``."""

    index: int


@dataclass(frozen=True)
class Call:
    """A function or tensor method in a forward pass, with the constant part of its arguments.

    Attributes:
        target: the function, or the method's name.
        arguments, keywords: as called, graph inputs replaced by ``Slot``.
    """

    target: Callable[..., Any] | str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
