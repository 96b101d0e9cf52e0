"""Proportions, and how sure one can be of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import betaincinv, stdtrit

from neurocert.models.errors import InputError


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a binomial proportion: whatever p is, it is missed with probability <= 1 - confidence.

    With alpha = 1 - confidence, the ends are the p at which ``successes`` or more (or fewer) of n have probability
    alpha / 2; quantiles of beta distributions. 0 is the lower end for no success, 1 the upper one for n of n.

    Source: Clopper and Pearson, Biometrika 26 (1934).

    Returns:
        (lower, upper), both in [0, 1].

    Raises:
        InputError: not 0 <= successes <= n, n < 1, or confidence outside (0, 1).
    """
    _require_counts(successes, n)
    _require_confidence(confidence)
    alpha = 1.0 - confidence
    return _lower_end(successes, n, alpha / 2), 1.0 - _lower_end(n - successes, n, alpha / 2)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student's two-sided interval of the mean that ``values`` are draws around; exact for normal ones, such as differences of pairs.

    Source: Student, Biometrika 6 (1908).

    Returns:
        (lower, upper).

    Raises:
        InputError: fewer than two values, or confidence outside (0, 1).
    """
    if len(values) < 2:
        raise InputError(f"mean: got {len(values)} values, expected at least 2, for one has no deviation")
    _require_confidence(confidence)
    half = float(stdtrit(len(values) - 1, (1.0 + confidence) / 2)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


@dataclass(frozen=True)
class Proportion:
    """``count`` of ``n``, never printed without n and its interval."""

    count: int
    n: int

    def __post_init__(self) -> None:
        _require_counts(self.count, self.n)

    @property
    def value(self) -> float:
        return self.count / self.n

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """See ``clopper_pearson``."""
        return clopper_pearson(self.count, self.n, confidence)

    def __str__(self) -> str:
        """Such as "37/50 = 74.0 % [59.7, 85.4]", with the 95 % interval in percent."""
        lower, upper = self.interval()
        return f"{self.count}/{self.n} = {self.value:.1%} [{100 * lower:.1f}, {100 * upper:.1f}]".replace("%", " %")


def _lower_end(successes: int, n: int, tail: float) -> float:
    """The p at which P(X >= successes) = tail for X ~ Binomial(n, p)."""
    return 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))


def _require_counts(count: int, n: int) -> None:
    if not 0 <= count <= n or n < 1:
        raise InputError(f"proportion: got {count} of {n}, expected at least one trial and 0 <= count <= n")


def _require_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence!r}, expected a number between 0 and 1, both excluded")
