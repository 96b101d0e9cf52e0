"""Which neurons each astrocyte covers: squares of neurons that overlap by one row or column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE, STRIDE = 4, 3
"""An astrocyte covers SIDE x SIDE neurons, its neighbour those STRIDE further. (Table 1 says 5 x 5; with that no grid closes
on 79 neurons, and 0.75 and 0.5 of 25 are no whole numbers.)"""


@dataclass(frozen=True, eq=False)
class Zones:
    """The zones of an n x n layer; those at the far edges are clipped to it.

    Attributes:
        side: astrocytes along each side of the grid, ceil((n - 1) / STRIDE).
        members: int32 (N, 4): the zones of each neuron, filled up with -1.
        owner: int32 (N,): the one zone that modulates each neuron, the later of two that share it.
        sizes: int64 (Z,): neurons of each zone.
    """

    side: int
    members: NDArray[np.int32]
    owner: NDArray[np.int32]
    sizes: NDArray[np.int64]


def zones(n: int) -> Zones:
    """The zones of an n x n layer of neurons, n >= 2."""
    side = -(-(n - 1) // STRIDE)
    position = np.arange(n)
    last = np.minimum(position // STRIDE, side - 1)
    first = np.where((position % STRIDE == 0) & (position > 0) & (position // STRIDE < side), position // STRIDE - 1, last)
    rows, columns = np.stack((last, first)), np.stack((last, first))
    new = np.array((True, False))[:, None] | (first != last)  # the second zone of a neuron, where it is another
    members = np.full((n, n, 2, 2), -1, np.int32)
    for i in (0, 1):
        for j in (0, 1):
            index = rows[i][:, None] * side + columns[j][None, :]
            members[:, :, i, j] = np.where(new[i][:, None] & new[j][None, :], index, -1)
    owner = (last[:, None] * side + last[None, :]).astype(np.int32)
    flat = members.reshape(n * n, 4)
    return Zones(side, flat, owner.reshape(-1), np.bincount(flat[flat >= 0], minlength=side * side))
