"""What a training minimises, and by what its best epoch is chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.data.samples import Batches, in_order
from neurocert.models.metrics import balanced_accuracy
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
    def evaluate(self, samples: Batches) -> tuple[Score, float]:
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

    def evaluate(self, samples: Batches) -> tuple[Score, float]:
        return evaluate(self.network, samples)


@dataclass(frozen=True)
class Measured:
    """A network on a split.

    Attributes:
        score: correct samples.
        balanced: mean recall of the classes.
        loss: mean cross-entropy.
    """

    score: Score
    balanced: float
    loss: float


@torch.no_grad()
def measure(network: Classifier, samples: Batches, most: int | None = None) -> Measured:
    """Clean accuracies and loss of ``network`` in evaluation mode, which it is left in, on the first ``most`` samples or all."""
    network.eval()
    device = device_of(network)
    predicted, seen, loss = [], [], 0.0
    for images, targets in in_order(samples, EVALUATION_BATCH, most):
        inputs, labels = images.to(device), targets.to(device)
        logits = network(inputs)
        predicted.append(logits.argmax(1).cpu())
        seen.append(targets)
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
    found, known = torch.cat(predicted), torch.cat(seen)
    score = Score(correct=int((found == known).sum()), n=len(known))
    return Measured(score, balanced_accuracy(found, known), loss / len(known))


def evaluate(network: Classifier, samples: Batches) -> tuple[Score, float]:
    """Clean accuracy and mean cross-entropy of ``network`` in evaluation mode, which it is left in."""
    measured = measure(network, samples)
    return measured.score, measured.loss


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device
