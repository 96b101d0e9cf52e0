"""The objective of training through bounds, by the recipe's table [robust]."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.training.live import LiveBounds, live_bounds, live_graph
from neurocert.models.data.samples import Batches, in_order
from neurocert.models.networks.classifier import Classifier
from neurocert.models.schema import CheckpointMetadata, Score
from neurocert.models.training import loop
from neurocert.models.training.objective import EVALUATION_BATCH, Objective, device_of
from neurocert.models.training.recipe import Recipe, RobustSpec

TOLERANCE = 0.5
"""tau of Shi et al. 2021: the ratio from which widths and shares are good enough."""
SMALLEST = 1e-12
"""Keeps ratios finite where a layer's bounds have no width, as at a small radius behind spikes that are all decided."""


def train(
    recipe: Recipe, *, data: str | None = None, device: str = "cpu", on_epoch: Callable[[loop.Epoch], None] | None = None
) -> tuple[Classifier, CheckpointMetadata]:
    """Trains by any recipe, through bounds where it has a table [robust]; otherwise as ``models.training.loop.train``, see there."""
    return loop.train(recipe, data=data, device=device, objective=RobustObjective if recipe.robust else None, on_epoch=on_epoch)


class RobustObjective(Objective):
    """Cross-entropy of the worst margins in a box that grows with the epochs, mixed with the clean one.

    With lower bounds m_j of f_y - f_j over the box (m_y = 0) the loss is the cross-entropy of the logits -m: an upper
    bound of the largest cross-entropy in the box. They are interval bounds, or a mix of these and linear ones, which is a
    bound again.

    Source: Gowal et al. 2018 (loss, merged last layer, ramp), Shi et al. 2021 (weights, warm-up, regularisers), Zhang et al.
    2020 (mix).
    """

    counts = "certified"

    def __init__(self, network: Classifier, recipe: Recipe) -> None:
        assert recipe.robust is not None
        self.network, self.spec, self.label_smoothing = network, recipe.robust, recipe.training.label_smoothing
        self.live = live_graph(network, network.inputs.shape)
        if self.spec.weights == "interval":
            draw_interval_weights(network)

    def loss(self, inputs: Tensor, labels: Tensor, epoch: float) -> Tensor:
        share = ramp(self.spec, epoch)
        if share == 0:
            return self._cross_entropy(self.network(inputs), labels)
        linear = linear_share(self.spec, share)
        found = self._bounds(inputs, labels, share * self.spec.stretch * self.spec.epsilon, with_linear=linear > 0)
        clean, worst = self._cross_entropy(found.logits, labels), self._cross_entropy(-mixed(found, linear), labels)
        weight = 1.0 - share * (1.0 - self.spec.clean_weight)
        loss = weight * clean + (1.0 - weight) * worst
        return loss if share == 1 else loss + (1.0 - share) * self._regularisers(found)

    @torch.no_grad()
    def evaluate(self, samples: Batches) -> tuple[Score, float]:
        self.network.eval()
        certified, loss = 0, 0.0
        for images, targets in in_order(samples, EVALUATION_BATCH):
            inputs, labels = images.to(device_of(self.network)), targets.to(device_of(self.network))
            margins = self._best(inputs, labels)
            certified += int((margins.scatter(1, labels[:, None], math.inf) > 0).all(1).sum())
            loss += functional.cross_entropy(-margins, labels, reduction="sum").item()
        return Score(correct=certified, n=len(samples)), loss / len(samples)

    def _best(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The margins that a certificate would have: the better of both bounds where the training ends with both."""
        with_linear = self.spec.linear is not None and self.spec.linear.end > 0
        found = self._bounds(inputs, labels, self.spec.epsilon, with_linear=with_linear)
        return found.margins if found.linear_margins is None else torch.maximum(found.margins, found.linear_margins.to(found.margins.dtype))

    def _bounds(self, inputs: Tensor, labels: Tensor, radius: float, *, with_linear: bool) -> LiveBounds:
        space = self.network.inputs
        box = (inputs - radius).clamp(min=space.low), (inputs + radius).clamp(max=space.high)
        return live_bounds(self.live, inputs, box, labels, with_linear=with_linear)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def _regularisers(self, found: LiveBounds) -> Tensor:
        return self.spec.tightness * looseness(found) + self.spec.balance * imbalance(found)


def ramp(spec: RobustSpec, epoch: float) -> float:
    """Share of the full radius after ``epoch`` passes: 0 during the warm-up, then linear up to 1."""
    if epoch < spec.warm_up_epochs:
        return 0.0
    return min(1.0, (epoch - spec.warm_up_epochs) / spec.ramp_epochs) if spec.ramp_epochs else 1.0


def linear_share(spec: RobustSpec, share: float) -> float:
    """Share of the linear bounds when the radius has reached ``share`` of the full one."""
    return 0.0 if spec.linear is None else spec.linear.start + share * (spec.linear.end - spec.linear.start)


def mixed(found: LiveBounds, linear: float) -> Tensor:
    """Margins (B, classes) of which the linear bounds make up the share ``linear``."""
    if found.linear_margins is None:
        return found.margins
    return torch.lerp(found.margins, found.linear_margins.to(found.margins.dtype), linear)


def draw_interval_weights(network: nn.Module) -> None:
    """Weights N(0, 2 pi / n^2), n the numbers that one output reads: with ReLUs, mean widths neither grow nor fade with depth.

    Source: Shi et al. 2021, section 3.1.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 * math.pi) / module.weight[0].numel())


def looseness(found: LiveBounds) -> Tensor:
    """Mean over the layers of what their mean width exceeds the input's by, beyond 1 / ``TOLERANCE``; in [0, 1].

    Source: Shi et al. 2021, Eq. 5.
    """
    width = found.input.radius.mean()
    return _mean([_lack(width, neurons.radius.mean()) for neurons in found.neurons])


def imbalance(found: LiveBounds) -> Tensor:
    """Mean over the layers of how far neurons that are on (by the centre of their bounds) outweigh those that are off, or the
    reverse: in the sums of their centres, and of the squared deviations from the mean centre; in [0, 2].

    Source: Shi et al. 2021, Eq. 6.
    """
    return _mean([_imbalance(neurons.centre) for neurons in found.neurons])


def _mean(of_layers: list[Tensor]) -> Tensor:
    """0 in a network that switches nothing on and off."""
    return torch.stack(of_layers).mean() if of_layers else torch.zeros(())


def _imbalance(centre: Tensor) -> Tensor:
    squares, on = (centre - centre.mean()) ** 2, (centre > 0).to(centre.dtype)
    pairs = ((centre.relu().sum(), (-centre).relu().sum()), ((squares * on).sum(), (squares * (1.0 - on)).sum()))
    return torch.stack([_lack(torch.minimum(*pair), torch.maximum(*pair)) for pair in pairs]).sum()


def _lack(part: Tensor, whole: Tensor) -> Tensor:
    return (TOLERANCE - part / whole.clamp(min=SMALLEST)).relu() / TOLERANCE
