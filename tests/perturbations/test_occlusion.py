"""Occluders lie in a corner and have the stated size."""

from __future__ import annotations

import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.perturbations.occlusion import Measure, occlude, scale_and_shift

BLANK, FULL = torch.zeros(64, 1, 20, 20), torch.ones(3, 1, 20, 20)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("size", "measure", "side"), [(0.2, "linear", 4), (0.2, "area", 9), (0.8, "linear", 16), (0, "linear", 0), (1, "area", 20)]
)
def test_an_occluder_has_the_stated_size_and_lies_in_a_corner(size: float, measure: Measure, side: int) -> None:
    occluded = occlude(BLANK, FULL, size, seeded(), measure)[:, 0]
    assert (occluded.flatten(1).sum(1) == side**2).all()
    corners = {tuple(image.nonzero().amin(0).tolist()) for image in occluded if image.any()}
    expected = {(row, column) for row in (0, 20 - side) for column in (0, 20 - side)} if side else set()
    assert corners == expected


def test_what_is_brighter_stays() -> None:
    images = torch.rand(8, 2, 6, 6, generator=seeded())
    occluders = torch.rand(4, 2, 6, 6, generator=seeded())
    occluded = occlude(images, occluders, 0.5, seeded())
    assert (occluded >= images).all() and (occluded <= 1).all() and not torch.equal(occluded, images)


def test_a_whole_sized_occluder_is_the_image_itself() -> None:
    image = torch.rand(1, 1, 7, 7, generator=seeded())
    assert torch.equal(occlude(torch.zeros(1, 1, 7, 7), image, 1.0, seeded()), image)


def test_augmented_images_are_whole_scaled_copies() -> None:
    lengths, places = set(), set()
    for image in scale_and_shift(torch.ones(200, 1, 20, 20), 0.4, seeded())[:, 0]:
        found = image.nonzero()
        (top, left), (bottom, right) = found.amin(0).tolist(), found.amax(0).tolist()
        assert bottom - top == right - left and len(found) == (bottom - top + 1) ** 2
        lengths.add(bottom - top + 1)
        places.add((top, left))
    assert lengths == set(range(8, 21)) and len(places) > 50


def test_scale_one_changes_nothing() -> None:
    images = torch.rand(3, 1, 9, 9, generator=seeded())
    assert torch.equal(scale_and_shift(images, 1.0, seeded()), images)


@pytest.mark.parametrize("size", [-0.1, 1.5, float("nan")])
def test_sizes_outside_their_range_are_refused(size: float) -> None:
    with pytest.raises(InputError, match="occlusion size is"):
        occlude(BLANK, FULL, size, seeded())
    with pytest.raises(InputError, match="least scale is"):
        scale_and_shift(BLANK, size, seeded())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="least scale is 0"):
        scale_and_shift(BLANK, 0.0, seeded())
    with pytest.raises(InputError, match="occluders have shape"):
        occlude(BLANK, torch.ones(1, 1, 19, 19), 0.5, seeded())
    with pytest.raises(InputError, match="expected 'linear' or 'area'"):
        occlude(BLANK, FULL, 0.5, seeded(), "both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"expected \(B, C, N, N\)"):
        occlude(torch.zeros(2, 1, 4, 5), FULL, 0.5, seeded())
    with pytest.raises(InputError, match="outside"):
        occlude(BLANK * float("nan"), FULL, 0.5, seeded())
