from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neurocert.models.data.cifar import RECORD, TEST_FILES, TRAIN_FILES
from neurocert.models.data.source import load_samples
from neurocert.models.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five batches of 12 records, one of 7; the label of record n is n % 10, its pixels count up from n."""
    for files, count in ((TRAIN_FILES, 12), (TEST_FILES, 7)):
        for number, name in enumerate(files):
            (tmp_path / name).write_bytes(b"".join(record(number * count + n) for n in range(count)))
    return tmp_path


def record(n: int) -> bytes:
    return bytes([n % 10]) + ((np.arange(3072) + n) % 256).astype(np.uint8).tobytes()


def test_splits(folder: Path) -> None:
    train, validation, test = (load_samples(str(folder), split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (55, 5, 7)
    assert validation.labels.tolist() == [5, 6, 7, 8, 9]
    assert train.shape == (3, 32, 32)


def test_channels_then_rows(folder: Path) -> None:
    image = load_samples(str(folder), "test").inputs[3]
    assert image[1, 2, 5].item() == pytest.approx(((1024 + 2 * 32 + 5 + 3) % 256) / 255)
    assert torch.equal(image.flatten()[:2], torch.tensor([3.0, 4.0]) / 255)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * (RECORD + 1), f"{RECORD + 1} bytes, expected a multiple of {RECORD}"),
        (b"", "0 bytes, expected a multiple"),
        (b"\x0a" + b"\0" * (RECORD - 1), "a label is 10, expected 0..9"),
    ],
)
def test_damaged_files(folder: Path, content: bytes, message: str) -> None:
    (folder / "test_batch.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_samples(str(folder), "test")


def test_missing_batch(folder: Path) -> None:
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3.bin: cannot be read"):
        load_samples(str(folder), "train")
