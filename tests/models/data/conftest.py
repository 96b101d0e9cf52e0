from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def encode_idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """An IDX file's bytes from an array of any dimensions."""
    return encode_idx


@pytest.fixture
def mnist_like(tmp_path: Path) -> Path:
    """A folder with MNIST's four files: 24 training and 5 test images of 3x4 pixels; image i is filled with i, its label is i % 10."""
    for prefix, count in (("train", 24), ("t10k", 5)):
        images = np.broadcast_to(np.arange(count)[:, None, None], (count, 3, 4))
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(encode_idx(images))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(encode_idx(np.arange(count) % 10))
    return tmp_path
