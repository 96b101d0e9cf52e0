from __future__ import annotations

import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.models.metrics import balanced_accuracy, top1

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 3])
PREDICTED = torch.tensor([0, 0, 0, 1, 1, 0, 2])


def test_top1_counts_every_sample_alike() -> None:
    assert top1(PREDICTED, LABELS) == pytest.approx(4 / 7)


def test_balanced_accuracy_counts_every_class_alike() -> None:
    """Recalls 3/4, 1/2 and 0; class 2 has no sample and no recall."""
    assert balanced_accuracy(PREDICTED, LABELS) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)


def test_what_has_no_accuracy() -> None:
    for predicted, labels in ((PREDICTED, LABELS[:3]), (PREDICTED[:0], LABELS[:0]), (PREDICTED[:, None], LABELS[:, None])):
        with pytest.raises(InputError, match="expected"):
            balanced_accuracy(predicted, labels)
