"""What a training minimises, and by what its best epoch is chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from neurocert.models.data.samples import Samples
from neurocert.models.networks.classifier import Classifier
from neurocert.models.schema import Score
from neurocert.models.training.recipe import Recipe

EVALUATION_BATCH = 1000


class Objective(ABC):
    """The aim of one training of one network.

    Attributes:
        counts: what makes a sample count in ``evaluate``, such as "correct".
    """

    counts: ClassVar[str]

    @abstractmethod
    def loss(self, inputs: Tensor, labels: Tensor, epoch: float) -> Tensor:
        """The loss of a batch, with gradients; the network is in training mode.

        Args:
            inputs: (B, C, H, W).
            labels: (B,).
            epoch: passes over the training split so far, with the fraction of this one.
        """

    @abstractmethod
    def evaluate(self, samples: Samples) -> tuple[Score, float]:
        """How many samples count, and the mean loss, in evaluation mode, which the network is left in.

        The epoch with the highest score is kept, then that with the lowest loss.
        """


MakeObjective = Callable[[Classifier, Recipe], Objective]
"""Takes a network with fresh weights, which it may set anew."""


class CrossEntropy(Objective):
    """Cross-entropy on the images as they are."""

    counts = "correct"

    def __init__(self, network: Classifier, recipe: Recipe) -> None:
        self.network, self.label_smoothing = network, recipe.training.label_smoothing

    def loss(self, inputs: Tensor, labels: Tensor, epoch: float) -> Tensor:
        return functional.cross_entropy(self.network(inputs), labels, label_smoothing=self.label_smoothing)

    def evaluate(self, samples: Samples) -> tuple[Score, float]:
        return evaluate(self.network, samples)


@torch.no_grad()
def evaluate(network: Classifier, samples: Samples) -> tuple[Score, float]:
    """Clean accuracy and mean cross-entropy of ``network`` in evaluation mode, which it is left in."""
    network.eval()
    correct, loss = 0, 0.0
    for inputs, labels in zip(samples.inputs.split(EVALUATION_BATCH), samples.labels.split(EVALUATION_BATCH), strict=True):
        logits = network(inputs)
        correct += int((logits.argmax(1) == labels).sum())
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
    return Score(correct=correct, n=len(samples)), loss / len(samples)
