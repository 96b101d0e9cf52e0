from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocert.models.data.idx import read_idx, read_idx_pair
from neurocert.models.data.samples import MAX_ELEMENTS
from neurocert.models.errors import DataError

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
Encode = Callable[[np.ndarray], bytes]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reads_plain_and_compressed_whatever_the_name(tmp_path: Path, idx_bytes: Encode, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "no-suffix"
    path.write_bytes(pack(idx_bytes(IMAGES)))
    assert np.array_equal(read_idx(path, dimensions=3), IMAGES)


def test_pair_scales_pixels_and_adds_a_channel(tmp_path: Path, idx_bytes: Encode) -> None:
    (tmp_path / "i").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "l").write_bytes(idx_bytes(np.array([7, 1])))
    samples = read_idx_pair(tmp_path / "i", tmp_path / "l", "pair")
    assert samples.inputs.shape == (2, 1, 3, 4)
    assert samples.inputs.flatten().tolist() == [float(np.float32(pixel) / np.float32(255)) for pixel in range(24)]
    assert samples.labels.tolist() == [7, 1]


def test_counts_differ(tmp_path: Path, idx_bytes: Encode) -> None:
    (tmp_path / "i").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "l").write_bytes(idx_bytes(np.array([7, 1, 2])))
    with pytest.raises(DataError, match=r"has 2 images, .* has 3 labels"):
        read_idx_pair(tmp_path / "i", tmp_path / "l", "pair")


CORRUPTIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "starts with bytes , expected 00 00 08 03"),
    "text": (lambda data: b"hello there", "starts with bytes 68 65 6c 6c"),
    "floats": (lambda data: b"\0\0\x0d\x03" + data[4:], r"starts with bytes 00 00 0d 03, expected .*unsigned bytes, 3-D"),
    "labels": (lambda data: b"\0\0\x08\x01\0\0\0\1\7", "starts with bytes 00 00 08 01"),
    "header cut": (lambda data: data[:9], "truncated: 9 bytes, expected a header of 16"),
    "values cut": (lambda data: data[:-5], r"truncated: 19 values, its header claims 24 \(2, 3, 4\)"),
    "too long": (lambda data: data + b"\0", "bytes left over after the 24 values"),
    "too large": (lambda data: data[:4] + b"\xff" * 12 + data[16:], f"its header claims {0xFFFFFFFF**3} values .*at most {MAX_ELEMENTS}"),
    "gzip cut": (lambda data: gzip.compress(data)[:-9], "cannot be read"),
    "gzip of nothing": (lambda data: b"\x1f\x8b", "cannot be read"),
    "gzip broken": (lambda data: gzip.compress(data)[:10] + b"\xff" * 30, "cannot be read"),
    "gzip too long": (lambda data: gzip.compress(data + b"\0"), "bytes left over"),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corrupted(tmp_path: Path, idx_bytes: Encode, corruption: str) -> None:
    corrupt, message = CORRUPTIONS[corruption]
    path = tmp_path / "images"
    path.write_bytes(corrupt(idx_bytes(IMAGES)))
    with pytest.raises(DataError, match=message) as error:
        read_idx(path, dimensions=3)
    assert str(path) in error.value.message


def test_bomb_is_not_inflated(tmp_path: Path) -> None:
    """16 MiB of zeros after a header that claims one value."""
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\1" * 3 + bytes(2**24)))
    with pytest.raises(DataError, match="bytes left over after the 1 values"):
        read_idx(path, dimensions=3)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "nothing", dimensions=3)


@given(data=st.binary(max_size=200), magic=st.sampled_from([b"", b"\0\0\x08\x03", b"\0\0\x08\x03\0\0\0\1", b"\x1f\x8b\x08\0"]))
def test_any_bytes_are_an_array_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-idx"
    path.write_bytes(magic + data)
    try:
        array = read_idx(path, dimensions=3)
    except DataError:
        return
    assert array.size == len(magic + data) - 16
