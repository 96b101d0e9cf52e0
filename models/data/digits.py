"""The 8x8 handwritten digits that come with scikit-learn (UCI, optical recognition of handwritten digits; 1797 images)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from neurocert.models.data.samples import Samples, make_samples

Split = Literal["train", "validation", "test"]
SPLITS: dict[Split, slice] = {"test": slice(0, 500), "validation": slice(500, 797), "train": slice(797, 1797)}
SEED = 20250901


def digits(split: Split) -> Samples:
    """One of three fixed, stratified splits: 1000 train, 297 validation, 500 test. Pixels are 0..16 divided by 16."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    chosen = _stratified_order(labels)[SPLITS[split]]
    inputs = torch.from_numpy((images[chosen] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8))
    return make_samples(inputs, torch.from_numpy(labels[chosen].astype(np.int64)), f"digits/{split}")


def _stratified_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """A shuffle in which every run of samples holds the classes in their overall proportions.

    Each sample gets the place (rank + 1/2) / size in its own shuffled class; the order is by place.
    """
    generator = np.random.RandomState(SEED)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (generator.permutation(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")
