"""What a study of a hybrid is asked to do, checked as a whole before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from neurocert.certify.errors import ConfigError

MAX_BUDGET = 16
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class StudyConfig:
    """One study of one hybrid.

    Attributes:
        checkpoint: a file that training by a recipe with a table [snan] made.
        data: as for a run.
        samples: the first so many of the test split, or their indices; None for the first 100, or all of fewer.
        epsilons: L-infinity radii in input units, increasing.
        enumerated: of how many samples the undecided pixels are enumerated; for the others only the invariance radius speaks.
        budget: at most so many undecided pixels, each of which doubles the presentations.
        noise: shares of inverted pixels (after enlarging), increasing from 0.
        shown_noise: one of them, that pictures and clusters show.
        single_flips: of how many samples every pixel of the enlarged binary image is inverted alone: a proof, for one run of each.
        smoothed: of how many samples the decision is smoothed over flips.
        flip: probability of a flip of each pixel.
        draws: fresh draws for each.
        recipe, few_shots: trains the recipe again with so many images of each class; neither or both.
        seed: of noise and draws.
        command: recorded in the page.
    """

    checkpoint: str
    data: str = "digits"
    samples: int | tuple[int, ...] | None = None
    epsilons: tuple[float, ...] = (0.0005, 0.001, 0.002, 0.005, 0.01)
    enumerated: int = 10
    budget: int = 6
    noise: tuple[float, ...] = NOISE
    shown_noise: float = 0.2
    single_flips: int = 0
    smoothed: int = 5
    flip: float = 0.1
    draws: int = 200
    recipe: str | None = None
    few_shots: tuple[int, ...] = ()
    seed: int = 0
    command: str = "neurocert.certify.study"

    def __post_init__(self) -> None:
        finite = all(math.isfinite(epsilon) and epsilon >= 0 for epsilon in self.epsilons)
        _require(len(self.epsilons) > 0 and finite, f"epsilon is {list(self.epsilons)}, expected finite numbers >= 0")
        _require(all(a < b for a, b in pairwise(self.epsilons)), f"epsilon is {list(self.epsilons)}, expected increasing radii")
        _require(0 <= self.budget <= MAX_BUDGET, f"budget is {self.budget}, expected 0 to {MAX_BUDGET} pixels")
        counts = self.enumerated, self.single_flips, self.smoothed
        _require(
            min(counts) >= 0, "enumerate, single flips and smooth: got {}, {} and {}, expected numbers of samples >= 0".format(*counts)
        )
        inside = all(0 <= level <= 1 for level in self.noise)  # NaN is not
        _require(inside, f"noise is {list(self.noise)}, expected shares of pixels in [0, 1]")
        increasing = self.noise[:1] == (0.0,) and all(a < b for a, b in pairwise(self.noise))
        _require(increasing, f"noise is {list(self.noise)}, expected levels that increase from 0")
        _require(self.shown_noise in self.noise, f"shown noise is {self.shown_noise:g}, expected one of {list(self.noise)}")
        _require(0 < self.flip < 0.5, f"flip is {self.flip}, expected a probability between 0 and 0.5, both excluded")
        _require(self.draws >= 1, f"draws is {self.draws}, expected at least 1")
        _require(self.samples not in ((), 0), "samples: got none, expected a number >= 1 or a list of indices")
        _require((self.recipe is None) == (not self.few_shots), "few shots: give both a recipe and numbers of images, or neither")
        few = all(isinstance(count, int) and count >= 1 for count in self.few_shots)
        _require(few, f"few shots: got {list(self.few_shots)}, expected whole numbers >= 1")
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}, expected 0 <= seed < 2^63")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
