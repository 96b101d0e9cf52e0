"""Pearson's correlation, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, correlation

from neurocert.models.errors import InputError

LEAST = 4
"""Pairs below which Fisher's interval does not exist."""


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of ``n`` pairs, and a 95 % interval for it.

    The interval takes the pairs for independent: epochs of one training are not, and theirs is too narrow.
    """

    r: float
    lower: float
    upper: float
    n: int

    def __str__(self) -> str:
        return f"r = {self.r:.3f} [{self.lower:.3f}, {self.upper:.3f}], n = {self.n}"


def pearson(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> Correlation:
    """Pearson's r, with the interval of Fisher's transformation: atanh r is nearly normal with variance 1 / (n - 3).

    Source: Fisher, Metron 1 (1921).

    Raises:
        InputError: fewer than 4 pairs, different lengths, a series that does not vary, or a confidence outside (0, 1).
    """
    if len(x) != len(y) or len(x) < LEAST:
        raise InputError(f"correlation: got {len(x)} and {len(y)} values, expected equally many and at least {LEAST}")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence!r}, expected a number between 0 and 1, both excluded")
    if min(x) == max(x) or min(y) == max(y):
        raise InputError(f"correlation: {'the first' if min(x) == max(x) else 'the second'} series does not vary")
    r = max(-1.0, min(1.0, correlation(x, y)))
    if abs(r) == 1.0:
        return Correlation(r, r, r, len(x))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) / math.sqrt(len(x) - 3)
    return Correlation(r, math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach), len(x))
