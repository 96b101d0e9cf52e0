"""Auto-PGD: gradient descent with momentum that halves its own step where it stops paying.

Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
ICML 2020, Algorithm 1; written from the paper.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Worst, downward, gradient_of, margins, spread
from neurocert.perturbations.balls import Ball

MOMENTUM = 0.75
"""Weight of the new step; the rest goes to the last one."""
PAYING = 0.75
"""Share of the steps between two checkpoints that must improve the loss."""
FIRST_CHECKPOINT, SHORTENING, SHORTEST = 0.22, 0.03, 0.06
"""Of all steps: the first phase, how much shorter each next one is, and the shortest."""

Loss = Callable[[Tensor], Tensor]
"""Logits (B, classes) to (B,)."""


@dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD on one or more losses.

    Attributes:
        steps: for each loss and restart.
        restarts: the first starts at the clean input, the others at random points; they only search what is not broken yet.
    """

    steps: int = 30
    restarts: int = 3

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"APGD: got steps {self.steps}, restarts {self.restarts}, expected all positive")

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Of logits (B, classes), (B,), to be made small."""

    def targets(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Other classes to aim at, one pass for each: (B, passes), from the logits at the clean inputs. One pass without any by default."""
        return labels[:, None]

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        with torch.no_grad():
            targets = self.targets(worst.network(inputs), labels)
        for restart, target in product(range(self.restarts), targets.T):
            rows = worst.unbroken()
            if not len(rows):
                break
            centre, own = inputs[rows], labels[rows]
            part = Worst(worst.network, centre, own)
            start = ball.sample(centre, generator) if restart else centre
            descend(part, partial(self.loss, labels=own, targets=target[rows]), start, centre, ball, self.steps)
            worst.merge(rows, part.points)
        return worst.result()


@dataclass(frozen=True)
class APGDCE(APGD):
    """Auto-PGD on the cross-entropy, in float64, where it does not saturate at a margin of 17."""

    name: ClassVar[str] = "apgd-ce"

    def describe(self) -> str:
        return f"APGD-CE: auto-PGD on the cross-entropy, {self.steps} steps, {self.restarts} restarts"

    def loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        return -functional.cross_entropy(logits.double(), labels, reduction="none")


@dataclass(frozen=True)
class APGDDLR(APGD):
    """Auto-PGD on the difference-of-logits ratio, which no rescaling of the logits changes."""

    name: ClassVar[str] = "apgd-dlr"

    def describe(self) -> str:
        return f"APGD-DLR: auto-PGD on the difference-of-logits ratio, {self.steps} steps, {self.restarts} restarts"

    def loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        return margins(logits, labels) / _scale(logits, 3)


@dataclass(frozen=True)
class APGDTargeted(APGD):
    """Auto-PGD toward each of the likeliest other classes in turn, on the targeted difference-of-logits ratio.

    Attributes:
        targets_tried: classes, the likeliest at the clean input first.
    """

    restarts: int = 1
    targets_tried: int = 9
    name: ClassVar[str] = "apgd-t"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets_tried < 1:
            raise InputError(f"APGD-T: got targets_tried {self.targets_tried}, expected a positive number")

    def describe(self) -> str:
        toward = f"toward each of the {self.targets_tried} likeliest other classes"
        return f"APGD-T: auto-PGD {toward}, {self.steps} steps, {self.restarts} restarts"

    def targets(self, logits: Tensor, labels: Tensor) -> Tensor:
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return others.argsort(1, descending=True)[:, : min(self.targets_tried, logits.shape[1] - 1)]

    def loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        own, other = (logits.double().gather(1, classes[:, None])[:, 0] for classes in (labels, targets))
        return (own - other) / _scale(logits, 4)


def _scale(logits: Tensor, rank: int) -> Tensor:
    """The greatest logit less that of this rank (the targeted ratio takes the mean of ranks 3 and 4); 1 where there are too few."""
    ranked = logits.double().sort(1, descending=True).values
    if ranked.shape[1] < rank:
        return torch.ones_like(ranked[:, 0])
    reference = ranked[:, 2 : max(rank, 3)].mean(1)
    return (ranked[:, 0] - reference).clamp(min=1e-12)


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps after which each sample's step size may be halved."""
    before, here, found = 0.0, FIRST_CHECKPOINT, []
    while here <= 1.0:
        found.append(ceil(here * steps))
        before, here = here, here + max(here - before - SHORTENING, SHORTEST)
    return tuple(found)


def descend(worst: Worst, loss: Loss, start: Tensor, centre: Tensor, ball: Ball, steps: int) -> None:
    """Auto-PGD for all samples at once; every point that it visits is offered to ``worst``."""
    descent, last = _Descent(worst, loss, start, centre, ball), 0
    for step in range(1, steps + 1):
        descent.step(1.0 if step == 1 else MOMENTUM)
        if step in checkpoints(steps):
            descent.halve(step - last)
            last = step


class _Descent:
    """Where every sample's descent stands: its point, the one before, the best so far, and its own step size."""

    def __init__(self, worst: Worst, loss: Loss, start: Tensor, centre: Tensor, ball: Ball) -> None:
        self.worst, self.loss, self.centre, self.ball = worst, loss, centre, ball
        self.size = torch.full((len(centre),), 2 * ball.epsilon, dtype=centre.dtype)
        self.before, self.here = start, start
        self.value, self.gradient = self._look()
        self.best, self.best_value, self.best_gradient = self.here, self.value, self.gradient
        self.paid, self.halved = torch.zeros_like(self.value), torch.zeros_like(self.value, dtype=torch.bool)
        self.value_at_checkpoint = self.value

    def step(self, weight: float) -> None:
        """A step along the gradient, which has this weight beside the one before."""
        here, value = self.here, self.value
        aim = self.ball.project(here + spread(self.size, here) * downward(self.gradient, here, self.ball, 1.0), self.centre)
        mixed = here + weight * (aim - here) + (1 - weight) * (here - self.before)
        self.before, self.here = here, self.ball.project(mixed, self.centre)
        self.value, self.gradient = self._look()
        self.paid += self.value < value
        self._remember(self.value < self.best_value)

    def halve(self, steps: int) -> None:
        """Halves the step where the last ``steps`` seldom paid, or brought nothing at a step size that stayed; back to the best point."""
        stuck = (self.paid < PAYING * steps) | (~self.halved & (self.best_value >= self.value_at_checkpoint))
        there = spread(stuck, self.here)
        self.size = torch.where(stuck, self.size / 2, self.size)
        self.here, self.before = torch.where(there, self.best, self.here), torch.where(there, self.best, self.before)
        self.value = torch.where(stuck, self.best_value, self.value)
        self.gradient = torch.where(there, self.best_gradient, self.gradient)
        self.paid, self.halved, self.value_at_checkpoint = torch.zeros_like(self.paid), stuck, self.best_value

    def _remember(self, better: Tensor) -> None:
        there = spread(better, self.here)
        self.best = torch.where(there, self.here, self.best)
        self.best_value = torch.where(better, self.value, self.best_value)
        self.best_gradient = torch.where(there, self.gradient, self.best_gradient)

    def _look(self) -> tuple[Tensor, Tensor]:
        """(loss, its gradient) at the point, which is offered on the way."""
        values: list[Tensor] = []

        def total(points: Tensor) -> Tensor:
            logits = self.worst.network(points)
            values.extend((margins(logits.detach(), self.worst.labels), self.loss(logits)))
            return values[1].sum()

        gradient = gradient_of(total, self.here)
        self.worst.keep(self.here, values[0])
        return values[1].detach(), gradient
