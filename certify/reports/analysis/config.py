"""What an analysis is asked to do, checked as a whole before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from neurocert.certify.config import NORMS
from neurocert.certify.errors import ConfigError
from neurocert.certify.reports.analysis.schema import FIGURES

EPSILONS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
LEAST_SAMPLES = 4
ALL_FIGURES = tuple(figure for figures in FIGURES.values() for figure in figures)


@dataclass(frozen=True)
class AnalysisConfig:
    """One analysis of one network.

    Attributes:
        checkpoint: file, or the name of a shipped checkpoint.
        data: as for a run.
        samples: the first so many of the test split, or their indices; None for the first 100, or all of fewer.
        figures: names of sections or figures (``FIGURES``); what they need is computed, and nothing else.
        attacks, norm, epsilons: of the attack curves; radii increasing.
        radius, points: of the landscapes; 1 moves each filter by its own norm, and the points along an axis are odd.
        seed: of attacks, directions and probes.
        command: recorded in the page.
    """

    checkpoint: str
    data: str = "digits"
    samples: int | tuple[int, ...] | None = None
    figures: tuple[str, ...] = ALL_FIGURES
    attacks: tuple[str, ...] = ("fgsm", "pgd")
    norm: str = "linf"
    epsilons: tuple[float, ...] = EPSILONS
    radius: float = 1.0
    points: int = 21
    seed: int = 0
    command: str = "neurocert.certify.analyse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", chosen_figures(self.figures))
        _require(len(self.attacks) > 0 or not self.wants("attacks"), "attack: got none, expected at least one")
        _require(self.norm in NORMS, f"norm is {self.norm!r}, expected one of {', '.join(NORMS)}")
        _require(all(math.isfinite(epsilon) and epsilon >= 0 for epsilon in self.epsilons), "epsilon: expected finite numbers >= 0")
        increasing = len(self.epsilons) >= 2 and all(a < b for a, b in pairwise(self.epsilons))
        _require(increasing, f"epsilon is {list(self.epsilons)}, expected at least two radii, increasing")
        count = self.samples if isinstance(self.samples, int) else LEAST_SAMPLES if self.samples is None else len(self.samples)
        _require(count >= LEAST_SAMPLES, f"samples: got {count}, expected at least {LEAST_SAMPLES}, for fewer have no correlation")
        distinct = not isinstance(self.samples, tuple) or len(set(self.samples)) == len(self.samples)
        _require(distinct, "samples: an index is named twice")
        _require(math.isfinite(self.radius) and self.radius > 0, f"radius is {self.radius}, expected a positive number")
        _require(self.points >= 3 and self.points % 2 == 1, f"points is {self.points}, expected an odd number of at least 3")
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}, expected 0 <= seed < 2^63")

    def wants(self, section: str) -> bool:
        """Whether any figure of this section was asked for."""
        return any(figure in self.figures for figure in FIGURES[section])


def chosen_figures(names: Sequence[str]) -> tuple[str, ...]:
    """The figures that names of sections and figures stand for, in the page's order.

    Raises:
        ConfigError: no name, or one of neither.
    """
    _require(len(names) > 0, "figures: got none, expected at least one name")
    for name in names:
        if name not in FIGURES and name not in ALL_FIGURES:
            hint = f"sections: {', '.join(FIGURES)}; figures: {', '.join(ALL_FIGURES)}"
            raise ConfigError(f"there is no section or figure {name!r}", hint)
    wanted = {figure for name in names for figure in FIGURES.get(name, (name,))}
    return tuple(figure for figure in ALL_FIGURES if figure in wanted)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
