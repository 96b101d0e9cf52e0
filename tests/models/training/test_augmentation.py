from __future__ import annotations

import torch

from neurocert.models.networks.classifier import InputSpace
from neurocert.models.training.augmentation import cropped, varied
from neurocert.models.training.recipe import AugmentationSpec, Recipe, load_recipe

SPACE = InputSpace((2, 4, 5), -1.0, 1.0)


def recipe(crop: int = 0, flip: bool = False, noise: float = 0.0) -> Recipe:
    plain = load_recipe("digits-flex-ann")
    training = plain.training.model_copy(update={"input_noise": noise})
    return plain.model_copy(update={"training": training, "augmentation": AugmentationSpec(crop=crop, flip=flip)})


def test_a_crop_is_a_window_of_the_framed_image() -> None:
    torch.manual_seed(0)
    images, border = torch.rand(40, 2, 4, 5), 2
    framed = torch.full((40, 2, 8, 9), -1.0)
    framed[:, :, 2:6, 2:7] = images
    seen = set()
    for image, window in zip(framed, cropped(images, border, -1.0), strict=True):
        places = [(i, j) for i in range(5) for j in range(5) if torch.equal(image[:, i : i + 4, j : j + 5], window)]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) > 15


def test_half_of_the_images_are_mirrored() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 2, 4, 5)
    shown = varied(images, recipe(flip=True), SPACE)
    mirrored = [torch.equal(after, before.flip(2)) for before, after in zip(images, shown, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(images, shown, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130  # beyond four standard deviations of 200 coins


def test_noise_stays_in_the_range() -> None:
    torch.manual_seed(0)
    images = torch.full((50, 2, 4, 5), 0.9)
    shown = varied(images, recipe(noise=0.3), SPACE)
    assert shown.max() == 1.0
    assert 0.6 <= shown.min() < 0.65


def test_nothing_asked_for_changes_nothing() -> None:
    images = torch.rand(4, 2, 4, 5)
    assert torch.equal(varied(images, load_recipe("digits-flex-ann").model_copy(update={"training": recipe().training}), SPACE), images)
