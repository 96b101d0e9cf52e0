"""How classes lie in the space of a network's embeddings, Eq. (49)-(57) of "The Neuromorphic Supremacy"."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.models.errors import InputError


@dataclass(frozen=True, eq=False)
class Clusters:
    """The classes of a set of embeddings; every length is divided by ``scale``.

    Attributes:
        labels: the classes, ascending.
        centroids: float64 (K, D), not scaled.
        sizes: (K,), mean distance of the members to their centroid, Eq. (49), (54).
        distances: (K, K), between centroids, Eq. (50), (55).
        scale: square root of the trace of the covariance of all embeddings, Eq. (51)-(53).
    """

    labels: tuple[int, ...]
    centroids: Tensor
    sizes: Tensor
    distances: Tensor
    scale: float

    @property
    def size(self) -> float:
        """Mean over the classes."""
        return float(self.sizes.mean())

    @property
    def mean_distance(self) -> float:
        """Mean over the pairs of different classes."""
        return float(self._pairs().mean())

    @property
    def least_distance(self) -> float:
        return float(self._pairs().min())

    def shift(self, other: Clusters) -> float:
        """How far the centroids of ``other`` (such as those under noise) lie from these on average, in units of this scale, Eq. (56)-(57).

        Raises:
            InputError: other classes, or embeddings of another size.
        """
        if other.labels != self.labels or other.centroids.shape != self.centroids.shape:
            raise InputError(f"clusters: got classes {other.labels} and {self.labels}, expected the same, and embeddings of the same size")
        return float((other.centroids - self.centroids).norm(dim=1).mean()) / self.scale

    def _pairs(self) -> Tensor:
        above = torch.triu_indices(len(self.labels), len(self.labels), 1)
        return self.distances[above[0], above[1]]


def clusters(embeddings: Tensor, labels: Tensor) -> Clusters:
    """The clusters of embeddings (N, D) with labels (N,).

    Raises:
        InputError: shapes that do not fit, values that are not finite, fewer than two classes, or embeddings that are all the same.
    """
    if embeddings.dim() != 2 or labels.shape != embeddings.shape[:1]:
        raise InputError(f"clusters: got embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)}, expected (N, D) and (N,)")
    points = embeddings.detach().double()
    scale = float((points - points.mean(0)).square().sum().div(max(len(points) - 1, 1)).sqrt())
    found = tuple(sorted(set(labels.tolist())))
    if len(found) < 2 or not 0.0 < scale < float("inf"):
        raise InputError(f"clusters: got {len(found)} classes and a total deviation of {scale:g}, expected two classes and finite spread")
    centroids = torch.stack([points[labels == label].mean(0) for label in found])
    sizes = torch.stack([(points[labels == label] - centroid).norm(dim=1).mean() for label, centroid in zip(found, centroids, strict=True)])
    return Clusters(found, centroids, sizes / scale, torch.cdist(centroids, centroids) / scale, scale)
