"""IDX files, the format of MNIST: a big-endian header, then unsigned bytes; plain or gzip-compressed, told apart by content."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch

from neurocert.models.data.samples import MAX_ELEMENTS, Samples, make_samples
from neurocert.models.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08


def read_idx_pair(images: Path, labels: Path, name: str) -> Samples:
    """Samples from an images file (N, H, W) and a labels file (N,); pixels are divided by 255.

    Raises:
        DataError: either file is not what it should be, or the counts differ.
    """
    pixels, targets = read_idx(images, dimensions=3), read_idx(labels, dimensions=1)
    if len(pixels) != len(targets):
        raise DataError(f"{images} has {len(pixels)} images, {labels} has {len(targets)} labels")
    inputs = torch.from_numpy(pixels).float().div_(255.0).unsqueeze(1)
    return make_samples(inputs, torch.from_numpy(targets.astype(np.int64)), name)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file.

    Args:
        path: plain or gzip.
        dimensions: what the array must have: 3 for images, 1 for labels.

    Raises:
        DataError: missing, not IDX, other element type or dimensions, truncated, too long, or more than ``MAX_ELEMENTS``.
    """
    try:
        with _opened(path) as stream:
            shape = _read_shape(stream, path, dimensions)
            size = math.prod(shape)
            if size > MAX_ELEMENTS:
                raise DataError(f"{path}: its header claims {size} values {shape}, at most {MAX_ELEMENTS} are read")
            content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(content) < size:
        raise DataError(f"{path}: truncated: {len(content)} values, its header claims {size} {shape}")
    if len(content) > size:
        raise DataError(f"{path}: bytes left over after the {size} values {shape} of its header")
    return np.frombuffer(content, np.uint8).reshape(shape).copy()


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        compressed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not compressed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream  # type: ignore[misc]


def _read_shape(stream: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    """Reads the header: two zero bytes, the element type, the number of dimensions, then each size in 4 bytes."""
    length = 4 + 4 * dimensions
    header = stream.read(length)
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header[:4] != expected:
        raise DataError(
            f"{path}: starts with bytes {header[:4].hex(' ')}, expected {expected.hex(' ')} (IDX, unsigned bytes, {dimensions}-D)"
        )
    if len(header) < length:
        raise DataError(f"{path}: truncated: {len(header)} bytes, expected a header of {length}")
    return tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
