"""Twenty characters as thick strokes on a square grid, drawn here."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Stroke = tuple[Point, ...]
HALF_WIDTH = 0.055
"""Of a stroke, in units of the character's height."""
RIGHT = 0.7
"""Width of a character."""


def _arc(centre: Point, radii: Point, first: float, last: float) -> Stroke:
    """Points on an ellipse between two angles in degrees, 0 to the right and 90 downward."""
    angles = np.radians(np.linspace(first, last, 24))
    return tuple((centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)) for angle in angles)


def _line(*points: Point) -> Stroke:
    return points


LEFT_STEM, RIGHT_STEM = _line((0, 0), (0, 1)), _line((RIGHT, 0), (RIGHT, 1))
TOP, MIDDLE, BOTTOM = (_line((0, height), (RIGHT, height)) for height in (0.0, 0.5, 1.0))
UPPER_BOWL = _arc((0.35, 0.25), (0.3, 0.25), -90, 90)
CHARACTERS: dict[str, tuple[Stroke, ...]] = {
    "A": (_line((0, 1), (0.35, 0), (RIGHT, 1)), _line((0.14, 0.62), (0.56, 0.62))),
    "B": (LEFT_STEM, _line((0, 0), (0.35, 0)), _line((0, 0.5), (0.35, 0.5)), _line((0, 1), (0.35, 1)), UPPER_BOWL,
          _arc((0.35, 0.75), (0.35, 0.25), -90, 90)),
    "C": (_arc((0.4, 0.5), (0.4, 0.5), 45, 315),),
    "D": (LEFT_STEM, _line((0, 0), (0.25, 0)), _line((0, 1), (0.25, 1)), _arc((0.25, 0.5), (0.45, 0.5), -90, 90)),
    "E": (LEFT_STEM, TOP, MIDDLE, BOTTOM),
    "H": (LEFT_STEM, RIGHT_STEM, MIDDLE),
    "I": (_line((0.35, 0), (0.35, 1)), _line((0.1, 0), (0.6, 0)), _line((0.1, 1), (0.6, 1))),
    "K": (LEFT_STEM, _line((RIGHT, 0), (0, 0.55)), _line((0.2, 0.4), (RIGHT, 1))),
    "L": (LEFT_STEM, BOTTOM),
    "M": (LEFT_STEM, RIGHT_STEM, _line((0, 0), (0.35, 0.6), (RIGHT, 0))),
    "N": (LEFT_STEM, RIGHT_STEM, _line((0, 0), (RIGHT, 1))),
    "P": (LEFT_STEM, _line((0, 0), (0.35, 0)), _line((0, 0.5), (0.35, 0.5)), UPPER_BOWL),
    "S": (_arc((0.35, 0.25), (0.33, 0.25), -30, -270), _arc((0.35, 0.75), (0.35, 0.25), -90, 150)),
    "U": (_line((0, 0), (0, 0.65)), _line((RIGHT, 0), (RIGHT, 0.65)), _arc((0.35, 0.65), (0.35, 0.35), 0, 180)),
    "W": (_line((0, 0), (0.18, 1), (0.35, 0.4), (0.52, 1), (RIGHT, 0)),),
    "X": (_line((0, 0), (RIGHT, 1)), _line((RIGHT, 0), (0, 1))),
    "O": (_arc((0.37, 0.5), (0.37, 0.5), 0, 360),),
    "4": (_line((0.5, 1), (0.5, 0), (0, 0.7), (RIGHT, 0.7)),),
    "5": (_line((RIGHT, 0), (0.1, 0), (0.05, 0.45)), _arc((0.3, 0.68), (0.38, 0.32), -130, 140)),
    "1": (_line((0, 0.25), (0.3, 0), (0.3, 1)),),
}  # fmt: skip


def draw(size: int, height: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """All characters, bool (20, size, size): ``height`` of the grid high, each at a random place that keeps it inside."""
    margin = HALF_WIDTH * height * size
    span = height * size
    drawn = []
    for strokes in CHARACTERS.values():
        points = np.array([point for stroke in strokes for point in stroke]) * span
        free = size - 1 - 2 * margin - (points.max(0) - points.min(0))
        corner = margin - points.min(0) + generator.random(2) * np.maximum(free, 0.0)
        drawn.append(_ink(strokes, span, corner, margin, size))
    return np.stack(drawn)


def _ink(strokes: tuple[Stroke, ...], span: float, corner: NDArray[np.float64], half: float, size: int) -> NDArray[np.bool_]:
    """The pixels whose centres are within ``half`` of a stroke; bool (size, size)."""
    rows, columns = np.mgrid[:size, :size]
    pixels = np.stack((columns, rows), -1).astype(float)
    distance = np.full((size, size), np.inf)
    for stroke in strokes:
        ends = np.array(stroke) * span + corner
        for first, last in pairwise(ends):
            along = last - first
            share = np.clip(((pixels - first) @ along) / (along @ along), 0.0, 1.0)
            distance = np.minimum(distance, np.linalg.norm(pixels - first - share[..., None] * along, axis=-1))
    return distance <= half
