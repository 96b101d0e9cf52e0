"""What is measured after each epoch, and kept with the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurocert.models.data.samples import Batches, in_order
from neurocert.models.masks import LayerRouting, routing
from neurocert.models.networks.classifier import Classifier
from neurocert.models.schema import History, LayerHistory, Score
from neurocert.models.training.objective import device_of, measure

ROUTING_SAMPLES = 256
"""Validation images on which routing is measured."""
DIGITS = 6


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training split came to.

    Attributes:
        number: from 1.
        of: how many there will be.
        loss: mean training loss, penalties included.
        validation: what counts for the objective on the validation split; for the plain one, clean accuracy.
        validation_loss: the objective's mean loss there.
        counts: what a sample of ``validation`` is, such as "correct".
        train: clean accuracy on the first training images, as many as the validation split has.
        clean: clean accuracy on the validation split.
        balanced: mean recall of the classes there.
        routing: of every PlasticFlex layer, on the first ``ROUTING_SAMPLES`` validation images.
    """

    number: int
    of: int
    loss: float
    validation: Score
    validation_loss: float
    counts: str
    train: Score
    clean: Score
    balanced: float
    routing: tuple[LayerRouting, ...]


def after_epoch(
    network: Classifier,
    splits: tuple[Batches, Batches],
    *,
    number: int,
    of: int,
    loss: float,
    judged: tuple[Score, float],
    counts: str,
) -> Epoch:
    """Measures a network after a pass.

    Args:
        network: left in evaluation mode.
        splits: (training, validation).
        judged: the objective's score and mean loss on the validation split.
        number, of, loss, counts: see ``Epoch``.
    """
    training, validation = splits
    clean = measure(network, validation)
    train = measure(network, training, most=len(validation)).score
    images, _ = next(in_order(validation, ROUTING_SAMPLES))
    routed = routing(network, images.to(device_of(network)))
    return Epoch(number, of, loss, *judged, counts, train, clean.score, clean.balanced, routed)


def history(epochs: Sequence[Epoch]) -> History:
    """The curves of a training. Where masks were frozen, their layers route as stored from then on."""
    layers = [routed.layer for routed in epochs[0].routing]
    by_layer = {layer: [epoch.routing[index] for epoch in epochs] for index, layer in enumerate(layers)}
    return History(
        loss=_curve([epoch.loss for epoch in epochs]),
        train=_curve([_share(epoch.train) for epoch in epochs]),
        validation=_curve([_share(epoch.clean) for epoch in epochs]),
        balanced=_curve([epoch.balanced for epoch in epochs]),
        validation_loss=_curve([epoch.validation_loss for epoch in epochs]),
        routing=tuple(
            LayerHistory(
                layer=layer,
                conv_ratio=_curve([routed.conv_ratio for routed in seen]),
                binariness=_curve([routed.binariness for routed in seen]),
            )
            for layer, seen in by_layer.items()
        ),
    )


def _share(score: Score) -> float:
    return score.correct / score.n


def _curve(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values)
