"""From images to maps: enlarging, the threshold, shrinking, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neurocert.models.errors import InputError
from neurocert.models.snan.network import Network
from neurocert.models.snan.preprocessor import THRESHOLD, Preprocessor, enlarge, overlaps
from neurocert.models.snan.training import imprint, situation


@pytest.fixture
def preprocessor(trained: Network) -> Preprocessor:
    return Preprocessor(trained, 5)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(9, 1, 5, 5, generator=torch.Generator().manual_seed(0)) ** 2


def test_enlarging_is_bilinear() -> None:
    images = np.random.default_rng(0).random((3, 28, 28))
    for size in (79, 28, 20):
        expected = functional.interpolate(torch.from_numpy(images)[:, None], size=(size, size), mode="bilinear", align_corners=False)
        assert enlarge(images, size) == pytest.approx(expected[:, 0].numpy(), abs=1e-12)


def test_a_pixel_at_the_threshold_belongs_to_the_object(preprocessor: Preprocessor) -> None:
    for level, expected in ((50, True), (49, False)):
        image = torch.full((1, 1, 5, 5), level, dtype=torch.uint8)
        assert (preprocessor.binarise(image.float() / 255) == expected).all()
        assert (preprocessor.binarise(image.double() / 255) == expected).all()
    assert THRESHOLD == 50 / 255


def test_no_image_makes_no_map(preprocessor: Preprocessor) -> None:
    assert preprocessor(torch.zeros(0, 1, 5, 5)).shape == (0, 1, 5, 5)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_size_that_is_none_is_refused(trained: Network, size: int) -> None:
    with pytest.raises(InputError, match="expected the side of its images"):
        Preprocessor(trained, size)


def test_an_array_is_no_tensor(preprocessor: Preprocessor) -> None:
    with pytest.raises(InputError, match="images are a ndarray, expected a tensor"):
        preprocessor(np.zeros((1, 1, 5, 5)))  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_refused(preprocessor: Preprocessor, images: Tensor) -> None:
    with pytest.raises(InputError, match="device is 'nowhere', which this PyTorch cannot use"):
        preprocessor(images, "nowhere")


@pytest.mark.parametrize("shown", [np.zeros((2, 168), bool), np.zeros((2, 169)), np.zeros(169, bool)])
def test_images_of_another_kind_are_not_imprinted(untrained: Network, shown: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected bool \(B, 169\)"):
        imprint(untrained, shown)


def test_shrinking_averages_areas() -> None:
    weights = overlaps(79, 28)
    assert (weights.sum(1) == 79).all() and (weights.sum(0) == 28).all()
    assert overlaps(4, 2).tolist() == [[2, 2, 0, 0], [0, 0, 2, 2]]


def test_maps_are_scaled_to_the_unit_interval(preprocessor: Preprocessor) -> None:
    counts = np.zeros((2, 169), np.int64)
    counts[0, :], counts[1, :] = 7, 2
    counts[1, :13] = 10
    maps = preprocessor.shrink(counts)
    assert (maps[0] == 0).all()
    assert maps[1, 0, 0] == pytest.approx(torch.full((5,), 5 / 13))
    assert (maps[1, 0, 1:] == 0).all()


def test_a_map_is_a_function_of_its_image_alone(preprocessor: Preprocessor, images: Tensor) -> None:
    maps = preprocessor(images)
    assert torch.equal(maps, torch.cat([preprocessor(image[None]) for image in images]))
    assert maps.shape == images.shape and maps.dtype == torch.float32 and 0 <= float(maps.min()) < float(maps.max()) <= 1


def test_the_control_is_resampling_alone(preprocessor: Preprocessor, images: Tensor) -> None:
    binary = preprocessor.binarise(images)
    control = preprocessor.shrink(binary)
    whole = torch.from_numpy(binary.reshape(-1, 1, 13, 13)).double()
    fine = functional.interpolate(whole, scale_factor=5, mode="nearest")
    assert torch.allclose(control.double(), functional.avg_pool2d(fine, 13), atol=1e-6)


@pytest.mark.parametrize("images", [torch.full((1, 1, 5, 5), float("nan")), torch.full((1, 1, 5, 5), 1.5), torch.full((1, 1, 5, 5), -0.1)])
def test_values_that_are_none_are_refused(preprocessor: Preprocessor, images: Tensor) -> None:
    with pytest.raises(InputError, match=r"outside \[0, 1\] or NaN"):
        preprocessor(images)


@pytest.mark.parametrize("shape", [(1, 1, 5, 6), (1, 3, 5, 5), (1, 5, 5), (5, 5)])
def test_shapes_that_do_not_fit_are_refused(preprocessor: Preprocessor, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected floating point \(B, 1, 5, 5\)"):
        preprocessor(torch.zeros(shape))


def test_a_network_trained_on_a_situation_keeps_its_own_calcium(untrained: Network, patterns: np.ndarray) -> None:
    first, second = (imprint(untrained, np.repeat(patterns[[index]], 10, 0)) for index in (0, 2))
    assert (untrained.excitatory_weights == 100).all() and (untrained.calcium == untrained.settings.astrocyte.calcium).all()
    assert first.calcium.argmax() != second.calcium.argmax()
    assert first.calcium[1].max() > 0.15 > second.calcium[1].max()


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 5])


def test_a_situation_is_so_many_of_each_class() -> None:
    chosen = situation(LABELS, 2, torch.Generator().manual_seed(0), (0, 1))
    assert len(set(chosen)) == 4 and sorted(LABELS[chosen].tolist()) == [0, 0, 1, 1]
    assert sorted(LABELS[situation(LABELS, 1, torch.Generator())].tolist()) == [0, 1, 2, 5]


@pytest.mark.parametrize("classes", [(0, 3), (), (1, 1), (-1,)])
def test_a_situation_of_absent_classes_is_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected different ones of \[0, 1, 2, 5\]"):
        situation(LABELS, 1, torch.Generator(), classes)


@pytest.mark.parametrize("per_class", [0, 2])
def test_more_samples_than_there_are_is_refused(per_class: int) -> None:
    with pytest.raises(InputError, match="expected 1 to 1, which class 5 has"):
        situation(LABELS, per_class, torch.Generator(), (5,))
