from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from neurocert.models.data.image_folder import open_image_folder
from neurocert.models.data.source import load_samples, open_split
from neurocert.models.errors import DataError

WITH_PILLOW = importlib.util.find_spec("PIL") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with 24 and 13 training images and 2 held-out ones each; the files are no images."""
    for name, count in (("ant", 24), ("bee", 13)):
        for part, number in (("train", count), ("val", 2)):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(number):
                (tmp_path / part / name / f"{index:03}.JPEG").write_bytes(b"x" * index)
            (tmp_path / part / name / "notes.txt").write_text("not an image")
    return tmp_path


def test_splits_and_labels(folder: Path) -> None:
    train, validation, test = (open_split(str(folder), split) for split in ("train", "validation", "test"))
    assert train.labels.tolist() == [0] * 22 + [1] * 12
    assert validation.labels.tolist() == [0, 0, 1]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert train.shape == (3, 224, 224)
    assert len({train.sha256, validation.sha256, test.sha256}) == 3


def test_classes_that_differ(folder: Path) -> None:
    (folder / "val" / "wasp").mkdir()
    with pytest.raises(DataError, match="its classes are not those of"):
        open_image_folder(folder, "test")


def test_no_image(folder: Path) -> None:
    for file in (folder / "val").rglob("*.JPEG"):
        file.unlink()
    with pytest.raises(DataError, match="no image for the split 'test'"):
        open_image_folder(folder, "test")


@pytest.mark.skipif(WITH_PILLOW, reason="Pillow is installed")
def test_without_pillow(folder: Path) -> None:
    with pytest.raises(DataError, match="folders of images need Pillow, which is not installed"):
        load_samples(str(folder), "test")


@pytest.mark.skipif(not WITH_PILLOW, reason="Pillow is not installed")
def test_damaged_image(folder: Path) -> None:
    with pytest.raises(DataError, match="is not a readable image"):
        load_samples(str(folder), "test")


@pytest.mark.skipif(not WITH_PILLOW, reason="Pillow is not installed")
def test_scaled_and_cut_to_the_centre(folder: Path) -> None:
    from PIL import Image

    for file in (folder / "val").rglob("*.JPEG"):
        image = Image.new("RGB", (600, 300), (255, 0, 0))
        image.paste((0, 0, 255), (0, 0, 100, 300))  # outside the centre
        image.save(file, "PNG")
    inputs, labels = open_image_folder(folder, "test").batch(torch.tensor([3, 0]))
    assert labels.tolist() == [1, 0]
    assert inputs.shape == (2, 3, 224, 224)
    assert inputs[0, :, 112, 112].tolist() == [1.0, 0.0, 0.0]
    assert inputs[0, 2].max() == 0.0
