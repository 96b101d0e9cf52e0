"""Random search from the ends of many descents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Sight, Worst
from neurocert.perturbations.attacks.softened import Softened
from neurocert.perturbations.attacks.square import Square
from neurocert.perturbations.attacks.surrogates import spikes
from neurocert.perturbations.balls import Ball

AT_ONCE = 128
"""Samples that are searched together."""


@dataclass(frozen=True)
class Refined(Attack):
    """Another attack several times over; from each of its ends, small squares of the image move wherever that does not hurt.

    A margin made of spikes has many local minima, so the ends of several descents lead further than one end searched for longer.

    Attributes:
        attack: what finds an end, another one at each call.
        walkers: ends in the first round; each further round has twice as many, for the half of the samples that are nearest to breaking.
        rounds: of equal cost; one where there are no spikes, since gradients lead to the end there.
        search_on: what continues.
    """

    attack: Attack = field(default_factory=lambda: Softened(restarts=1))
    walkers: int = 4
    rounds: int = 4
    search_on: Square = field(default_factory=lambda: Square(queries=1000, area=0.03))
    name: ClassVar[str] = "refined"
    sees: ClassVar[Sight] = "both"

    def __post_init__(self) -> None:
        if self.walkers < 1 or self.rounds < 1:
            raise InputError(f"refined: got walkers {self.walkers}, rounds {self.rounds}, expected both positive")

    def describe(self) -> str:
        walks = ", then ".join(str(self.walkers * 2**number) for number in range(self.rounds))
        nearer = ", each time for the half of the samples nearest to breaking" if self.rounds > 1 else ""
        return f"refined: {walks} times{nearer}: {self.attack.describe()}; then from where that led {self.search_on.describe()}"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        tried = worst.unbroken()
        for number in range(self.rounds if spikes(worst.network, inputs) else 1):
            for _ in range(2**number):
                self._walk(tried[worst.margins[tried] > 0], worst, inputs, ball, generator)
            left = tried[worst.margins[tried] > 0]
            if not len(left):
                break
            tried = left[worst.margins[left].argsort()][: (len(left) + 1) // 2]
        return worst.result()

    def _walk(self, rows: Tensor, worst: Worst, inputs: Tensor, ball: Ball, generator: torch.Generator) -> None:
        """All walkers once, for the samples ``rows``."""
        for some in rows.split(AT_ONCE) if len(rows) else ():
            centres, labels = inputs[some], worst.labels[some]
            ends = [self.attack.search(worst.network, centres, labels, ball, generator).points for _ in range(self.walkers)]
            points = self.search_on.continue_from(torch.cat(ends), some.repeat(self.walkers), worst, inputs, ball, generator)
            for walked in points.reshape(self.walkers, *centres.shape):
                worst.merge(some, walked)
