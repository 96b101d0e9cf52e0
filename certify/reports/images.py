"""Inputs as small pictures that can stand inside an HTML file."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from neurocert.certify.reports.parts import Image

NEGATIVE, NEUTRAL, POSITIVE = (np.array(colour) for colour in ((118, 42, 131), (247, 247, 247), (27, 120, 55)))
"""Purple, white, green: distinct for colour-blind readers, and none of them the colour of a verdict."""


def picture(image: Image, low: float, high: float) -> str:
    """``image`` (C, H, W) as a data URI: in colour for 3 channels, else the mean over channels in grey; low is black."""
    channels = np.asarray(image, dtype=float)
    if len(channels) != 3:
        channels = np.repeat(channels.mean(axis=0, keepdims=True), 3, axis=0)
    return _png(255 * (channels - low) / (high - low))


def difference(image: Image, other: Image) -> tuple[str, float]:
    """``other - image``, averaged over channels, from purple (less) over white to green (more).

    Returns:
        (data URI, largest absolute difference): the colour scale ends there.
    """
    change = (np.asarray(other, dtype=float) - np.asarray(image, dtype=float)).mean(axis=0)
    largest = float(np.abs(change).max())
    scaled = (change / (largest or 1.0))[:, :, None]
    colours = NEUTRAL + np.maximum(scaled, 0) * (POSITIVE - NEUTRAL) + np.maximum(-scaled, 0) * (NEGATIVE - NEUTRAL)
    return _png(colours.transpose(2, 0, 1)), largest


def _png(channels: NDArray[np.float64]) -> str:
    """Red, green and blue (3, H, W) in 0..255 as the data URI of a PNG file (RFC 2083: 8 bits, no filter)."""
    pixels = np.clip(np.rint(channels), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
