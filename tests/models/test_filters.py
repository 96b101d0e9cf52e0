"""Each filter against scipy's, or against its formula at one pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.models.filters import bilateral, mean, median

IMAGES: Tensor = torch.rand(3, 1, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [3, 5])
def test_median_and_mean_are_scipys(size: int) -> None:
    for image, got in zip(IMAGES, median(IMAGES, size), strict=True):
        assert np.array_equal(got[0].numpy(), ndimage.median_filter(image[0].numpy(), size, mode="constant"))
    for image, got in zip(IMAGES, mean(IMAGES, size), strict=True):
        assert got[0].numpy() == pytest.approx(ndimage.uniform_filter(image[0].numpy(), size, mode="reflect"), abs=1e-12)


def test_the_bilateral_filter_is_its_formula() -> None:
    image, row, column = IMAGES[0, 0], 4, 5
    total = weight = 0.0
    for r in range(row - 2, row + 3):
        for c in range(column - 2, column + 3):
            near = math.exp(-((r - row) ** 2 + (c - column) ** 2) / 2)
            alike = math.exp(-((float(image[r, c]) - float(image[row, column])) ** 2) / (2 * 0.01))
            total, weight = total + near * alike * float(image[r, c]), weight + near * alike
    assert float(bilateral(IMAGES)[0, 0, row, column]) == pytest.approx(total / weight, rel=1e-12)


def test_a_flat_image_stays() -> None:
    flat = torch.full((1, 1, 6, 6), 0.3, dtype=torch.float64)
    assert torch.allclose(mean(flat), flat) and torch.allclose(bilateral(flat), flat)


@pytest.mark.parametrize(("images", "size"), [(IMAGES, 4), (IMAGES, 0), (IMAGES[0], 3), (IMAGES[:, :, :1], 5), (IMAGES * float("nan"), 3)])
def test_what_cannot_be_filtered_is_refused(images: Tensor, size: int) -> None:
    with pytest.raises(InputError, match="filter: "):
        mean(images, size)
