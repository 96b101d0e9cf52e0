from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neurocert.models.data.image_folder import open_image_folder, read_image
from neurocert.models.data.source import load_samples, open_split
from neurocert.models.errors import DataError


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


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DataError, match="folders of images need Pillow, which is not installed"):
        load_samples(str(folder), "test")


def test_no_image_at_all(folder: Path) -> None:
    with pytest.raises(DataError, match="is not a readable image"):
        load_samples(str(folder), "test")


@given(place=st.integers(0, 400), byte=st.binary(min_size=1, max_size=4), cut=st.integers(1, 400))
def test_damaged_images_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int, byte: bytes, cut: int) -> None:
    stored = io.BytesIO()
    Image.effect_noise((16, 12), 60).save(stored, "JPEG")
    data = stored.getvalue()
    path = tmp_path_factory.mktemp("damaged") / "a.jpeg"
    path.write_bytes((data[:place] + byte + data[place + len(byte) :])[: len(data) - cut % len(data)])
    try:
        image = read_image(path)
    except DataError:
        return
    assert image.shape == (3, 224, 224) and float(image.min()) >= 0.0 and float(image.max()) <= 1.0


@pytest.mark.parametrize("size", [(9000, 9000), (20000, 20000)])
def test_more_pixels_than_memory_should_hold(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "large.png"
    Image.new("1", size).save(path)
    with pytest.raises(DataError, match="pixels"):
        read_image(path)


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (256, 256), (224, 500)])
def test_any_shape_becomes_the_same(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", size, (255, 51, 0)).save(path)
    expected = torch.tensor([1.0, 0.2, 0.0])[:, None, None].expand(3, 224, 224)
    assert torch.equal(read_image(path), expected)


def test_an_image_of_the_frames_size_is_cut_alone(tmp_path: Path) -> None:
    """Nothing is scaled where the shorter side is 256 already."""
    path, pixels = tmp_path / "image.png", np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    assert torch.equal(read_image(path), torch.from_numpy(pixels[16:240, 38:262] / np.float32(255)).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_has_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.png"
    Image.new(mode, (300, 260)).save(path)
    assert read_image(path).shape == (3, 224, 224)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_eight_bits_are_refused_and_not_clipped(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "deep.png"
    Image.new(mode, (300, 260), 1000).save(path, "TIFF")
    with pytest.raises(DataError, match="expected 8 bits per channel"):
        read_image(path)


def test_scaled_and_cut_to_the_centre(folder: Path) -> None:
    for file in (folder / "val").rglob("*.JPEG"):
        image = Image.new("RGB", (600, 300), (255, 0, 0))
        image.paste((0, 0, 255), (0, 0, 100, 300))  # outside the centre
        image.save(file, "PNG")
    inputs, labels = open_image_folder(folder, "test").batch(torch.tensor([3, 0]))
    assert labels.tolist() == [1, 0]
    assert inputs.shape == (2, 3, 224, 224)
    assert inputs[0, :, 112, 112].tolist() == [1.0, 0.0, 0.0]
    assert inputs[0, 2].max() == 0.0
