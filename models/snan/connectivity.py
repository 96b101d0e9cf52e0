"""Random connections with exponentially distributed lengths, Eq. (4)-(7)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocert.models.errors import InputError
from neurocert.models.snan.synapses import Indices

DRAWS = 4
"""Candidates drawn at once for each synapse that is still missing."""
MAX_ROUNDS = 1000
MAX_LENGTH = 1e6
"""From here on every draw would miss the grid."""


class Link(NamedTuple):
    """Which neurons of one layer reach which of another.

    Attributes:
        fan_out: synapses of each presynaptic neuron.
        length: mean lambda of the exponential distribution of distances, in postsynaptic neurons. (The paper calls it a rate;
            with 15, 2 and 80 it can only be the mean.)
    """

    fan_out: int
    length: float


def connect(source: int, target: int, link: Link, generator: np.random.Generator, *, itself: bool = False) -> Indices:
    """Draws the synapses of a source x source layer onto a target x target layer, which may be the layer ``itself``.

    Distance R ~ Exponential(mean lambda) and angle uniform in [0, 2 pi), Eq. (4); neuron (i, j), counted from 1, reaches
    (A i + trunc(R cos), A j + trunc(R sin)), Eq. (5)-(7), rounded half up, where A is ``scale(source, target)``; candidates
    outside the grid, drawn before, or the neuron itself are drawn again. (With A = 1, 2 and 0.5 in the paper's sizes.)

    Returns:
        (source^2, fan_out) indices, row by row, ascending for each neuron.

    Raises:
        InputError: fewer targets than synapses, or a grid that draws of this length do not fill.
    """
    most = target * target - itself
    if not isinstance(link.fan_out, int) or not 1 <= link.fan_out <= most or not 0 < link.length <= MAX_LENGTH:
        raise InputError(f"connections: got {link}, expected a positive length and a fan-out from 1 to {most}")
    centres = np.floor(scale(source, target) * np.arange(1, source + 1) + 0.5).astype(np.int64) - 1
    targets = np.empty((source * source, link.fan_out), np.uint16)
    for neuron in range(source * source):
        row, column = divmod(neuron, source)
        own = neuron if itself else -1
        targets[neuron] = _draw(int(centres[row]), int(centres[column]), own, target, link, generator)
    return targets


def scale(source: int, target: int) -> float:
    """The factor A between the coordinates of two layers: whole onto a larger layer, to one decimal onto a smaller one."""
    return float(round(target / source)) if target >= source else round(target / source, 1)


def _draw(row: int, column: int, own: int, size: int, link: Link, generator: np.random.Generator) -> NDArray[np.int64]:
    """The first ``fan_out`` different targets in the order of drawing, sorted."""
    found = np.empty(0, np.int64)
    for _ in range(MAX_ROUNDS):
        uniform = generator.random((2, DRAWS * (link.fan_out - len(found))))
        distance, angle = -link.length * np.log1p(-uniform[0]), 2.0 * np.pi * uniform[1]
        rows = row + np.trunc(distance * np.cos(angle)).astype(np.int64)
        columns = column + np.trunc(distance * np.sin(angle)).astype(np.int64)
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        drawn = (rows * size + columns)[inside]
        drawn = np.concatenate((found, drawn[drawn != own]))
        found = drawn[np.sort(np.unique(drawn, return_index=True)[1])][: link.fan_out]
        if len(found) == link.fan_out:
            return np.sort(found)
    raise InputError(f"connections: {link} leaves {link.fan_out - len(found)} synapses of a neuron unplaced", "use a greater length")
