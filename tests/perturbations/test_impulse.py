"""Impulse noise changes exactly as many pixels as it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.perturbations.impulse import invert, overwrite

IMAGES = (torch.rand(50, 1, 10, 13, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.15, 20), (0.2, 26), (1.0, 130)])
def test_exactly_that_many_pixels_are_inverted(share: float, count: int) -> None:
    changed = (invert(IMAGES, share, seeded()) != IMAGES).flatten(1).sum(1)
    assert changed.tolist() == [count] * 50


def test_every_pixel_is_chosen_equally_often() -> None:
    changed = (invert(torch.zeros(20_000, 1, 2, 5), 0.3, seeded()) == 1).float().mean(0).flatten()
    assert float((changed - 0.3).abs().max()) < 0.02


def test_grey_pixels_are_mirrored() -> None:
    assert torch.equal(invert(torch.full((2, 3), 0.25), 1.0, seeded()), torch.full((2, 3), 0.75))


def test_overwriting_changes_half_of_the_chosen_pixels_of_a_binary_image() -> None:
    grey = torch.full((200, 100), 0.5)
    noisy = overwrite(grey, 0.4, seeded())
    assert ((noisy != 0.5).sum(1) == 40).all()
    assert float((noisy == 1).sum(1).float().mean()) == pytest.approx(20, abs=1)
    assert float((overwrite(IMAGES, 0.4, seeded()) != IMAGES).flatten(1).sum(1).float().mean()) == pytest.approx(26, abs=2)


def test_a_seed_decides() -> None:
    assert torch.equal(invert(IMAGES, 0.3, seeded(4)), invert(IMAGES, 0.3, seeded(4)))
    assert not torch.equal(invert(IMAGES, 0.3, seeded(4)), invert(IMAGES, 0.3, seeded(5)))


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan"), True, "0.2", None])
def test_a_level_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="noise level is"):
        invert(IMAGES, share, seeded())


@pytest.mark.parametrize("images", [IMAGES * 255, IMAGES * float("nan"), IMAGES.int(), torch.zeros(3), torch.zeros(0, 3)])
def test_images_that_are_none_are_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match="images"):
        overwrite(images, 0.1, seeded())
