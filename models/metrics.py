"""How well a network classifies."""

from __future__ import annotations

from torch import Tensor

from neurocert.models.errors import InputError


def top1(predicted: Tensor, labels: Tensor) -> float:
    """Share of samples whose predicted class is the label. Source: Eq. 4.1 of the PlasticFlex thesis.

    Args:
        predicted, labels: int64 (N,).

    Raises:
        InputError: no sample, or not one prediction for each label.
    """
    _require_pairs(predicted, labels)
    return float((predicted == labels).double().mean())


def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """The mean of the classes' recalls, over the classes that occur among the labels. Source: Eq. 4.2 of the PlasticFlex thesis.

    Args, raises: as ``top1``.
    """
    _require_pairs(predicted, labels)
    recalls = [top1(predicted[labels == label], labels[labels == label]) for label in labels.unique()]
    return sum(recalls) / len(recalls)


def _require_pairs(predicted: Tensor, labels: Tensor) -> None:
    if predicted.shape != labels.shape or predicted.dim() != 1 or not len(labels):
        raise InputError(f"predictions {tuple(predicted.shape)} for labels {tuple(labels.shape)}, expected (N,) each with N at least 1")
