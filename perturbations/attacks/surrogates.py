"""Gradients through many surrogates: one shape of surrogate may hide what another shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurocert.models.layers.surrogate import SURROGATES, Derivative, differentiated_by
from neurocert.perturbations.attacks.gradient import PGD, Attack, AttackResult, Worst, gradient_of
from neurocert.perturbations.balls import Ball


def exponential(distance: Tensor) -> Tensor:
    """exp(-|x|)."""
    return torch.exp(-distance.abs())


SHAPES: dict[str, Derivative] = {**SURROGATES, "exponential": exponential}
WIDTHS = (0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Surrogates(Attack):
    """An attack repeated with every surrogate shape at every width; each searches what is not broken yet.

    At width w a shape d(x) becomes d(x / w) / w: narrow ones follow the neurons next to their threshold, wide ones all.
    A network without spikes is attacked once.

    Attributes:
        attack: what is repeated.
    """

    attack: Attack = field(default_factory=lambda: PGD(steps=25, restarts=1, step_ratio=0.25))
    name: ClassVar[str] = "surrogates"

    def describe(self) -> str:
        shapes, widths = ", ".join(SHAPES), ", ".join(f"{width:g}" for width in WIDTHS)
        return f"through each spike surrogate ({shapes}; widths {widths}): {self.attack.describe()}"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        if not spikes(worst.network, inputs):
            return self.attack.search(worst.network, inputs, labels, ball, generator)
        for derivative in derivatives():
            rows = worst.unbroken()
            if not len(rows):
                break
            with differentiated_by(derivative):
                part = self.attack.search(worst.network, inputs[rows], labels[rows], ball, generator)
            worst.merge(rows, part.points)
        return worst.result()


def derivatives() -> Iterator[Derivative]:
    """Every shape at every width."""
    for shape, width in product(SHAPES.values(), WIDTHS):
        yield partial(_widened, shape=shape, width=width)


def _widened(distance: Tensor, shape: Derivative, width: float) -> Tensor:
    return shape(distance / width) / width


def spikes(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a gradient on its way to the inputs asks for a surrogate."""
    asked: list[bool] = []

    def watched(distance: Tensor) -> Tensor:
        asked.append(True)
        return torch.ones_like(distance)

    with differentiated_by(watched):
        gradient_of(lambda points: network(points).sum(), inputs[:1])
    return bool(asked)
