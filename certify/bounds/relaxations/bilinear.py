"""Products of two uncertain values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.relaxations.lines import dot


@dataclass(frozen=True)
class Pair:
    """The boxes of x and y, each (B, *shape); the shapes are broadcastable to each other."""

    x: Box
    y: Box

    def corners(self) -> list[tuple[Tensor, Tensor]]:
        return list(product(self.x, self.y))


def product_bounds(pair: Pair) -> Box:
    """x y over the box: at one of its corners."""
    values = torch.stack([x * y for x, y in pair.corners()])
    return values.amin(0), values.amax(0)


def product_planes(a: Tensor, pair: Pair, mix: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """A plane below sum a x y.

    x y - alpha x - beta y is bilinear, so its extremes lie at the corners: any slopes come with exact offsets. The slopes
    lean between McCormick's two planes on each side, which are equally good at the centre: at mix 0 the middle of both.

    Args:
        a: coefficients (R, B or 1, *shape) on the products.
        mix: (R, B, *shape) in [-1, 1]; None for 0.

    Returns:
        (coefficients on x, on y, both (R, B, *shape), constant (R, B)).
    """
    (xl, xu), (yl, yu) = pair.x, pair.y
    centre_x, centre_y, radius_x, radius_y = (xl + xu) / 2, (yl + yu) / 2, (xu - xl) / 2, (yu - yl) / 2
    lean = torch.zeros((), dtype=a.dtype) if mix is None else mix
    on_x = centre_y + lean * radius_y
    below, above = centre_x + lean * radius_x, centre_x - lean * radius_x
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    lowest = torch.stack([x * y - on_x * x - below * y for x, y in pair.corners()]).amin(0)
    highest = torch.stack([x * y - on_x * x - above * y for x, y in pair.corners()]).amax(0)
    return a * on_x, positive * below + negative * above, dot(positive, lowest) + dot(negative, highest)


def matmul_bounds(x: Box, y: Box) -> Box:
    """x @ y over the box, exact for independent elements: term by term along the inner dimension."""
    lower = upper = torch.zeros((), dtype=torch.float64)
    for k in range(x[0].shape[-1]):
        pair = Pair((x[0][..., :, k : k + 1], x[1][..., :, k : k + 1]), (y[0][..., k : k + 1, :], y[1][..., k : k + 1, :]))
        least, greatest = product_bounds(pair)
        lower, upper = lower + least, upper + greatest
    return lower, upper


def matmul_planes(a: Tensor, x: Box, y: Box) -> tuple[Tensor, Tensor, Tensor]:
    """A plane below sum a (x @ y), every product relaxed by ``product_planes`` at mix 0.

    (x - xc)(y - yc) lies within rx ry of 0, so x y lies within rx ry of xc y + x yc - xc yc.

    Returns:
        (coefficients on x, on y, constant (R, B)).
    """
    (xc, rx), (yc, ry) = (((low + high) / 2, (high - low) / 2) for low, high in (x, y))
    constant = -dot(a, xc @ yc) - dot(a.abs(), rx @ ry)
    return a @ yc.transpose(-1, -2), xc.transpose(-1, -2) @ a, constant
