"""CIFAR-10 in its binary version: records of one label and 3 x 32 x 32 bytes. Its other version is a Python pickle, never opened here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from neurocert.models.data.samples import Samples, make_samples
from neurocert.models.errors import DataError

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
MAX_RECORDS = 100_000
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)


def read_cifar(files: Sequence[Path], name: str) -> Samples:
    """The records of all files, in order; pixels are divided by 255, channels are red, green, blue.

    Raises:
        DataError: a file that is missing, not made of whole records, or holds a label above 9.
    """
    records = np.concatenate([_records(file) for file in files])
    labels = records[:, 0].astype(np.int64)
    if labels.max(initial=0) > 9:
        raise DataError(f"{name}: a label is {labels.max()}, expected 0..9", "expected the binary version of CIFAR-10, not CIFAR-100")
    inputs = torch.from_numpy(records[:, 1:].reshape(-1, *SHAPE)).float().div_(255.0)
    return make_samples(inputs, torch.from_numpy(labels), name)


def _records(file: Path) -> np.ndarray:
    try:
        size = file.stat().st_size
        if size % RECORD or not 0 < size <= MAX_RECORDS * RECORD:
            raise DataError(f"{file}: {size} bytes, expected a multiple of {RECORD}, at most {MAX_RECORDS} records", "download it again")
        return np.fromfile(file, np.uint8).reshape(-1, RECORD)
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read: {error}", "the binary version has data_batch_1.bin to data_batch_5.bin and test_batch.bin"
        ) from error
