"""A search over flips of binary inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Sight, Worst, margins
from neurocert.perturbations.flips import LARGEST_ENUMERATION, Flips, flipped
from neurocert.perturbations.sets import Ball

AT_ONCE = 512
"""Points in a batch."""


@dataclass(frozen=True)
class FlipSearch(Attack):
    """Every point of the set, where there are few; otherwise flip after flip, each tried at every element.

    Attributes:
        largest: points up to which all are tried.
        beam: how many of the best choices of k flips are extended to k + 1.
    """

    largest: int = LARGEST_ENUMERATION
    beam: int = 8
    name: ClassVar[str] = "flips"
    sees: ClassVar[Sight] = "both"
    """It needs logits alone. But that it leads further than gradients says nothing of these: it may try everything."""

    def __post_init__(self) -> None:
        if not 0 <= self.largest <= LARGEST_ENUMERATION or self.beam < 1:
            raise InputError(f"flips: got largest {self.largest}, beam {self.beam}, expected 0 to {LARGEST_ENUMERATION}, and at least 1")

    def describe(self) -> str:
        return f"search over flips: every choice if there are at most {self.largest}, otherwise greedy with a beam of {self.beam}"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        """Raises InputError for any other set than flips."""
        if not isinstance(ball, Flips):
            raise InputError(f"attack {self.name!r} is for flips of binary inputs, got the {ball.describe()}", "use pgd, or --norm flips")
        worst = Worst(network, inputs, labels)
        find = _worst_of_all if ball.size(inputs[0].numel()) <= self.largest else self._greedy
        pairs = zip(inputs, labels, strict=True)
        worst.offer(torch.stack([find(worst.network, centre, label, ball) for centre, label in pairs]))
        return worst.result()

    def _greedy(self, network: nn.Module, centre: Tensor, label: Tensor, ball: Flips) -> Tensor:
        """Stops at the first number of flips that breaks the decision."""
        front: list[tuple[int, ...]] = [()]
        least, best = math.inf, front[0]
        for _ in range(min(ball.count, centre.numel())):
            wider = sorted({tuple(sorted((*some, new))) for some in front for new in range(centre.numel()) if new not in some})
            found = _margins(network, label, (flipped(centre, some) for some in wider))
            ranked = sorted(zip(found, wider, strict=True))[: self.beam]
            least, best = min((least, best), ranked[0])
            if least <= 0:
                break
            front = [some for _, some in ranked]
        return flipped(centre, best)


def _worst_of_all(network: nn.Module, centre: Tensor, label: Tensor, ball: Flips) -> Tensor:
    found = _margins(network, label, ball.enumerate(centre))
    return min(zip(found, ball.enumerate(centre), strict=True), key=lambda pair: pair[0])[1]


def _margins(network: nn.Module, label: Tensor, points: Iterable[Tensor]) -> Iterator[float]:
    """Of each point, all with one label."""
    remaining = iter(points)
    with torch.no_grad():
        while chunk := list(islice(remaining, AT_ONCE)):
            yield from margins(network(torch.stack(chunk)), label.expand(len(chunk))).tolist()
