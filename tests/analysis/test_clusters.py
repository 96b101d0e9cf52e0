"""Cluster metrics of embeddings whose geometry is known."""

from __future__ import annotations

import math

import pytest
import torch

from neurocert.analysis.clusters import clusters
from neurocert.models.errors import InputError

POINTS = torch.tensor([[0.0, 1.0], [0.0, -1.0], [10.0, 2.0], [10.0, -2.0], [0.0, 5.0], [0.0, 5.0]])
LABELS = torch.tensor([3, 3, 7, 7, 9, 9])


def test_sizes_and_distances_are_scaled_by_the_total_deviation() -> None:
    found = clusters(POINTS, LABELS)
    assert found.scale == pytest.approx(math.sqrt(float(torch.cov(POINTS.T.double()).trace())))
    assert (found.sizes * found.scale).tolist() == pytest.approx([1.0, 2.0, 0.0])
    assert found.size * found.scale == pytest.approx(1.0)
    assert found.least_distance * found.scale == pytest.approx(5.0)
    assert found.mean_distance * found.scale == pytest.approx((10.0 + 5.0 + math.sqrt(125)) / 3)


def test_metrics_do_not_depend_on_the_unit() -> None:
    small, large = clusters(POINTS, LABELS), clusters(1000 * POINTS + 5, LABELS)
    assert (small.size, small.mean_distance) == pytest.approx((large.size, large.mean_distance))


def test_a_shift_is_the_mean_way_of_the_centroids() -> None:
    clean = clusters(POINTS, LABELS)
    moved = clusters(POINTS + torch.tensor([3.0, 4.0]) * (LABELS == 7)[:, None], LABELS)
    assert clean.shift(moved) * clean.scale == pytest.approx(5.0 / 3)
    assert clean.shift(clean) == 0.0


def test_what_has_no_clusters_is_refused() -> None:
    for points, labels in ((POINTS, LABELS[:5]), (POINTS[0], LABELS), (POINTS * float("nan"), LABELS), (POINTS * 0, LABELS)):
        with pytest.raises(InputError, match="clusters: "):
            clusters(points, labels)
    with pytest.raises(InputError, match="got 1 classes"):
        clusters(POINTS, torch.zeros(6, dtype=torch.int64))
    with pytest.raises(InputError, match="expected the same"):
        clusters(POINTS, LABELS).shift(clusters(POINTS, LABELS + 1))
