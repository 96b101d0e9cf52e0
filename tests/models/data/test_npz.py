from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

from neurocert.models.data.npz import read_npz
from neurocert.models.errors import DataError

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([3, 1], dtype=np.uint8)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def npz_bytes(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("inputs", ["inputs", "x", "images"])
@pytest.mark.parametrize("labels", ["labels", "y"])
def test_names_and_bytes(tmp_path: Path, inputs: str, labels: str) -> None:
    samples = read_npz(saved(tmp_path / "a.npz", **{inputs: IMAGES, labels: LABELS, "other": LABELS}), "a")
    assert samples.inputs.shape == (2, 1, 3, 4)
    assert samples.inputs.flatten().tolist() == [float(np.float32(pixel) / np.float32(255)) for pixel in range(24)]
    assert samples.labels.tolist() == [3, 1]


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_floats_are_used_as_they_are(tmp_path: Path, dtype: str) -> None:
    images = np.asfortranarray(np.arange(24).reshape(2, 3, 2, 2).astype(dtype))
    samples = read_npz(saved(tmp_path / "a.npz", inputs=images, labels=LABELS), "a")
    assert samples.inputs.tolist() == images.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, "holds arrays labels; expected exactly one of inputs, x, images"),
        ({"inputs": IMAGES, "x": IMAGES, "labels": LABELS}, "expected exactly one of inputs, x, images"),
        ({"inputs": IMAGES}, "expected exactly one of labels, y"),
        ({"inputs": IMAGES.astype(np.int32), "labels": LABELS}, r"images are int32 \(2, 3, 4\), expected uint8"),
        ({"inputs": IMAGES.astype(complex), "labels": LABELS}, "images are complex128"),
        ({"inputs": IMAGES[0], "labels": LABELS}, r"shape \(3, 4\), expected \(N, C, H, W\) or \(N, H, W\)"),
        ({"inputs": IMAGES, "labels": LABELS.astype(float)}, r"labels are float64 \(2,\), expected integers"),
        ({"inputs": IMAGES, "labels": LABELS[:, None]}, r"labels are uint8 \(2, 1\)"),
        ({"inputs": IMAGES, "labels": LABELS[:1]}, "2 inputs but 1 labels"),
        ({"inputs": IMAGES, "labels": np.array([0, -1])}, "a label is -1"),
        ({"inputs": IMAGES, "labels": np.array([0, 2**64 - 1], dtype=np.uint64)}, "a label is 18446744073709551615"),
        ({"inputs": IMAGES / np.nan, "labels": LABELS}, "24 of 24 input values are NaN"),
        ({"inputs": IMAGES * 1e300, "labels": LABELS}, "23 of 24 input values are NaN or infinite"),
        ({"inputs": np.array([{}, {}]), "labels": LABELS}, "holds pickled objects, which are never read"),
    ],
)
def test_refuses(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = saved(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message) as error:
        read_npz(path, "a")
    assert str(path) in error.value.message


@pytest.mark.parametrize("shape", [(2**20, 2**10, 2**10), (-1, 3, 4), (2**62, 2**62)])
def test_size_is_checked_before_memory_is_taken(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(npz_bytes(inputs=npy_header(shape, "|u1") + bytes(64), labels=npy_header((1,), "|u1") + b"\0"))
    with pytest.raises(DataError, match=r"inputs\.npy: its header claims uint8"):
        read_npz(path, "bomb")


def test_size_counts_bytes_of_long_elements(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(npz_bytes(inputs=npy_header((4,), f"|S{2**31 - 1}"), labels=npy_header((1,), "|u1") + b"\0"))
    with pytest.raises(DataError, match=r"inputs\.npy: its header claims"):
        read_npz(path, "bomb")


def test_names_in_an_error_are_printable(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes(**{"\x1b[2J": b""}))
    with pytest.raises(DataError, match=r"holds arrays \\x1b\[2J; expected"):
        read_npz(path, "a")


def test_array_shorter_than_its_header(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    path.write_bytes(npz_bytes(inputs=npy_header((2, 3, 4), "|u1") + bytes(23), labels=npy_header((2,), "|u1") + b"\0\0"))
    with pytest.raises(DataError, match=r"is not a readable \.npz file"):
        read_npz(path, "short")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_data_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(data)
    with pytest.raises(DataError):
        read_npz(path, "fuzzed")


@given(
    inputs=st.binary(max_size=200), labels=st.binary(max_size=100), magic=st.sampled_from([b"", b"\x93NUMPY\1\0", b"\x93NUMPY\2\0v\0\0\0{"])
)
def test_any_arrays_are_a_data_error(tmp_path_factory: pytest.TempPathFactory, inputs: bytes, labels: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-arrays.npz"
    path.write_bytes(npz_bytes(inputs=magic + inputs, labels=magic + labels))
    with pytest.raises(DataError):
        read_npz(path, "fuzzed")


@given(place=st.integers(0, 10**6), value=st.integers(1, 255))
def test_a_changed_byte_is_samples_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    data = bytearray(saved(path, inputs=IMAGES, labels=LABELS).read_bytes())
    data[place % len(data)] ^= value
    path.write_bytes(data)
    try:
        samples = read_npz(path, "changed")
    except DataError:
        return
    assert len(samples) > 0
