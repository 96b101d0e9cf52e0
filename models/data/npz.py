"""NumPy archives with one array of images and one of labels."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy

from neurocert.models.data.samples import MAX_ELEMENTS, Samples, make_samples
from neurocert.models.errors import DataError
from neurocert.models.files import printable

INPUT_NAMES = ("inputs", "x", "images")
LABEL_NAMES = ("labels", "y")


def read_npz(path: Path, name: str) -> Samples:
    """Samples from an ``.npz`` file.

    Its images, (N, C, H, W) or (N, H, W), are called inputs, x or images; its labels, (N,), labels or y. uint8 images
    are divided by 255, floating-point ones are used as they are. Pickled objects are never read.

    Raises:
        DataError: not an archive, arrays missing or of another kind, or more than ``MAX_ELEMENTS`` values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inputs, labels = _read_array(archive, INPUT_NAMES), _read_array(archive, LABEL_NAMES)
    except DataError as error:
        raise DataError(f"{path}: {printable(error.message)}", error.hint) from error
    except Exception as error:  # any bytes may come; whatever zip, inflate and npy make of them is an error in the file
        raise DataError(f"{path}: is not a readable .npz file: {printable(str(error))}") from error
    try:
        return make_samples(_as_inputs(inputs), _as_labels(labels), name)
    except DataError as error:
        raise DataError(f"{path}: {printable(error.message)}", error.hint) from error


def _read_array(archive: zipfile.ZipFile, names: tuple[str, ...]) -> np.ndarray:
    held = [member.removesuffix(".npy") for member in archive.namelist()]
    found = [name for name in names if name in held]
    if len(found) != 1:
        wanted = f"expected exactly one of {', '.join(names)}"
        raise DataError(
            f"holds arrays {', '.join(held[:8]) or '(none)'}; {wanted}", "numpy.savez(path, inputs=..., labels=...) writes such a file"
        )
    member = f"{found[0]}.npy"
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
    if dtype.hasobject:
        raise DataError(f"{member} holds pickled objects, which are never read", "save plain numeric arrays")
    if min(shape, default=0) < 0 or math.prod(shape) * max(1, dtype.itemsize // 8) > MAX_ELEMENTS:
        raise DataError(f"{member}: its header claims {dtype} {shape}, at most {MAX_ELEMENTS} values are read")
    with archive.open(member) as stream:
        return npy.read_array(stream, allow_pickle=False)


def _header(stream: object) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)  # type: ignore[arg-type]
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)  # type: ignore[arg-type]
    return shape, dtype


def _as_inputs(array: np.ndarray) -> torch.Tensor:
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"images are {array.dtype} {array.shape}, expected uint8 (0..255) or floating-point values")
    if array.ndim not in (3, 4):
        raise DataError(f"images have shape {array.shape}, expected (N, C, H, W) or (N, H, W)")
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, which ``Samples`` refuses
        values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    values = values / 255.0 if array.dtype == np.uint8 else values
    return values.unsqueeze(1) if values.ndim == 3 else values


def _as_labels(array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DataError(f"labels are {array.dtype} {array.shape}, expected integers (N,)")
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"a label is {array.max()}, expected a class number")
    return torch.from_numpy(array.astype(np.int64))
