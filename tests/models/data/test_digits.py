from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from neurocert.models.data.digits import SPLITS, Split, digits

EXPECTED = {"test": "1ea6548dab3f7b34", "validation": "380f3eb53ee1b5da", "train": "26da783abafd079a"}
SIZES: dict[Split, int] = {"train": 1000, "validation": 297, "test": 500}


@pytest.mark.parametrize("split", SIZES)
def test_split_is_stratified(split: Split) -> None:
    samples = digits(split)
    assert samples.inputs.shape == (SIZES[split], 1, 8, 8)
    assert samples.inputs.min() == 0 and samples.inputs.max() == 1
    _, labels = load_digits(return_X_y=True)
    overall = np.bincount(labels) / len(labels)
    share = torch.bincount(samples.labels, minlength=10) / len(samples)
    assert share.tolist() == pytest.approx(overall.tolist(), abs=1.5 / len(samples))


def test_splits_are_a_partition_of_scikit_learns_digits() -> None:
    splits = [digits(split) for split in SPLITS]
    ours = torch.cat([torch.cat([s.inputs.flatten(1) * 16, s.labels[:, None]], dim=1) for s in splits])
    images, labels = load_digits(return_X_y=True)
    theirs = np.column_stack([images, labels])
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_split_never_changes() -> None:
    """Results name samples by their index, and checkpoints name the split that they were trained on."""
    assert {split: digits(split).sha256[:16] for split in SPLITS} == EXPECTED
