from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from neurocert.certify.reports.images import difference, picture


def decode(uri: str) -> NDArray[np.uint8]:
    """A reader of unfiltered 8-bit RGB files, chunk by chunk, checksums included: (H, W, 3)."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_grey_picture() -> None:
    pixels = decode(picture([[[0.0, 0.5, 1.0], [0.25, 2.0, -1.0]]], 0.0, 1.0))
    assert pixels[:, :, 0].tolist() == [[0, 128, 255], [64, 255, 0]]
    assert (pixels == pixels[:, :, :1]).all()


def test_input_range_is_the_grey_scale() -> None:
    assert decode(picture([[[-1.0, 0.0, 1.0]]], -1.0, 1.0))[0, :, 0].tolist() == [0, 128, 255]


def test_three_channels_are_colours_and_two_are_averaged() -> None:
    assert decode(picture([[[1.0]], [[0.0]], [[0.2]]], 0.0, 1.0)).tolist() == [[[255, 0, 51]]]
    assert decode(picture([[[1.0]], [[0.0]]], 0.0, 1.0)).tolist() == [[[128, 128, 128]]]


def test_difference_is_signed_and_scaled_to_its_largest_value() -> None:
    uri, largest = difference([[[0.5, 0.5, 0.5]]], [[[0.25, 0.5, 0.625]]])
    darker, same, brighter = decode(uri)[0].tolist()
    assert largest == 0.25
    assert darker == [118, 42, 131]
    assert same == [247, 247, 247]
    assert brighter == [137, 184, 151]  # half way from white to green


def test_no_difference_is_white() -> None:
    uri, largest = difference([[[0.5]]], [[[0.5]]])
    assert (largest, decode(uri).tolist()) == (0.0, [[[247, 247, 247]]])
