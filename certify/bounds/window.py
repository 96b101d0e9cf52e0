"""A window of a feature map: linear bounds of a few neurons need the coefficients of their receptive fields only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Window:
    """Rows top <= y < bottom and columns left <= x < right of values of shape (C, H, W); may reach beyond the borders, where padding is."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    def numel(self, shape: torch.Size) -> int:
        return shape[0] * (self.bottom - self.top) * (self.right - self.left)

    def within(self, shape: torch.Size) -> Window:
        """The part that is not padding; see ``empty``."""
        return self.met(whole(shape))

    def met(self, other: Window) -> Window:
        """What the two have in common; see ``empty``."""
        return Window(max(self.top, other.top), min(self.bottom, other.bottom), max(self.left, other.left), min(self.right, other.right))

    @property
    def empty(self) -> bool:
        return self.top >= self.bottom or self.left >= self.right

    def joined(self, other: Window) -> Window:
        """The smallest window around both."""
        return Window(min(self.top, other.top), max(self.bottom, other.bottom), min(self.left, other.left), max(self.right, other.right))

    def take(self, x: Tensor, inside: Window) -> Tensor:
        """The values (..., H', W') of this window, of which ``x`` holds those of the window ``inside``; 0 elsewhere."""
        if self.met(inside).empty:
            return x.new_zeros(*x.shape[:-2], *self.size)
        sides = (self.left - inside.left, inside.right - self.right, self.top - inside.top, inside.bottom - self.bottom)
        return x if not any(sides) else functional.pad(x, [-side for side in sides])

    def reached_by(self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]) -> Window:
        """What this window of a convolution's output sees of its input."""
        ends = [
            (first * stride[axis] - padding[axis], (last - 1) * stride[axis] - padding[axis] + dilation[axis] * (kernel[axis] - 1) + 1)
            for axis, (first, last) in enumerate(((self.top, self.bottom), (self.left, self.right)))
        ]
        return Window(*ends[0], *ends[1])


def by_element(layer: Any, window: Window, shapes: tuple[torch.Size, ...]) -> tuple[Any, Window] | None:
    """``Rule.local`` of a layer that computes each element of its outputs from the same elements of its inputs, everywhere alike."""
    return (layer, window) if all(shape == shapes[0] for shape in shapes) else None


def whole(shape: torch.Size) -> Window:
    """All of a feature map (C, H, W)."""
    return Window(0, shape[1], 0, shape[2])


def tiles(shape: torch.Size, size: int) -> Iterator[Window]:
    """Windows of ``size`` x ``size`` that cover a feature map, smaller at the far borders."""
    for top, left in product(range(0, shape[1], size), range(0, shape[2], size)):
        yield Window(top, min(top + size, shape[1]), left, min(left + size, shape[2]))
