"""What every network of this package knows about itself besides its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from neurocert.models.errors import InputError
from neurocert.models.semantics import Semantics


@dataclass(frozen=True)
class InputSpace:
    """Where a network's inputs live.

    Attributes:
        shape: (C, H, W) of one input.
        low, high: the range of every element, in input units; perturbed inputs are clipped to it.
    """

    shape: tuple[int, ...]
    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise InputError(f"input range: got low {self.low!r} and high {self.high!r}, expected finite low < high")
        if not self.shape or not all(size >= 1 for size in self.shape):
            raise InputError(f"input shape: got {self.shape!r}, expected positive sizes")


class Classifier(nn.Module):
    """A network from inputs (B, *inputs.shape) to logits (B, classes).

    Attributes:
        inputs: shape and range of an input.
        semantics: what the network computes beyond its weights.
        classes: names of the logits, in order.
    """

    def __init__(self, inputs: InputSpace, semantics: Semantics, classes: tuple[str, ...]) -> None:
        super().__init__()
        if len(classes) < 2:
            raise InputError(f"classes: got {len(classes)}, expected at least 2 names")
        self.inputs, self.semantics, self.classes = inputs, semantics, classes
