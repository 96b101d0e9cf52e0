"""Areas under curves of proportions over a radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from neurocert.analysis.statistics import Proportion
from neurocert.models.errors import InputError


@dataclass(frozen=True)
class Area:
    """An area under a curve, with an interval; in the unit of the radius, at most the span of the radii."""

    value: float
    lower: float
    upper: float


def trapezoid(radii: Sequence[float], heights: Sequence[float]) -> float:
    """The area under the straight lines that join the points.

    Raises:
        InputError: fewer than two points, radii that do not increase, or as many heights as radii expected.
    """
    if len(radii) < 2 or len(radii) != len(heights) or any(not a < b for a, b in pairwise(radii)):
        raise InputError(f"area: got radii {list(radii)} and {len(heights)} heights, expected two or more increasing radii, a height each")
    steps = zip(pairwise(radii), pairwise(heights), strict=True)
    return sum((b - a) * (p + q) / 2 for (a, b), (p, q) in steps)


def area_under(radii: Sequence[float], proportions: Sequence[Proportion], confidence: float = 0.95) -> Area:
    """The area under proportions over radii.

    The interval joins the ends of the exact intervals at every radius, each of confidence 1 - (1 - confidence) / m for m radii,
    so that all of them hold at once (Bonferroni) and the area under the true curve's lines lies in it.

    Raises:
        InputError: see ``trapezoid``.
    """
    each = 1 - (1 - confidence) / max(1, len(radii))
    lower, upper = zip(*(proportion.interval(each) for proportion in proportions), strict=True)
    return Area(trapezoid(radii, [proportion.value for proportion in proportions]), trapezoid(radii, lower), trapezoid(radii, upper))
