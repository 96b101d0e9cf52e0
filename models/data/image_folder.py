"""Folders of images, one folder for each class, read batch by batch: ImageNet and its subsets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurocert.models.data.digits import Split
from neurocert.models.data.samples import MAX_ELEMENTS, Samples, make_samples
from neurocert.models.errors import DataError

SUFFIXES = {".jpeg", ".jpg", ".png"}
SIZE = 224
FRAME = 256
"""What the shorter side of an image is scaled to, of which the central ``SIZE`` x ``SIZE`` pixels are kept."""
VALIDATION_EACH = 12  # of each class, every twelfth training image is for validation
MAX_PIXELS = 2**26


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images on disk and their labels.

    Attributes:
        files: one for each sample.
        labels: int64 (N,), numbers of the classes in alphabetical order of their folders.
        name: of the source and split.
        sha256: of the files' places and sizes; their content is not read for it.
    """

    files: tuple[Path, ...]
    labels: Tensor
    name: str
    sha256: str
    shape: tuple[int, ...] = field(default=(3, SIZE, SIZE))
    range: tuple[float, float] = field(default=(0.0, 1.0))

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, ``SIZE``, ``SIZE``) in [0, 1] and labels at ``indices``.

        Raises:
            DataError: an image that cannot be read, or Pillow is not installed.
        """
        return torch.stack([read_image(self.files[index]) for index in indices.tolist()]), self.labels[indices]

    def samples(self) -> Samples:
        """All of it in memory.

        Raises:
            DataError: more than memory is asked for anywhere.
        """
        if len(self) * 3 * SIZE**2 > MAX_ELEMENTS:
            most = MAX_ELEMENTS // (3 * SIZE**2)
            raise DataError(f"{self.name}: {len(self)} images of {SIZE}x{SIZE}, at most {most} are held in memory", "give a smaller folder")
        return make_samples(*self.batch(torch.arange(len(self))), self.name)


def is_image_folder(folder: Path) -> bool:
    """Whether ``folder`` holds train/ and val/ (or test/) with a folder for each class."""
    return (folder / "train").is_dir() and _held_out(folder).is_dir()


def open_image_folder(folder: Path, split: Split) -> ImageFolder:
    """One split of ``folder``: "test" is val/ (or test/); of each class's training images every twelfth is "validation".

    Raises:
        DataError: no image, or other classes there than in train/.
    """
    root = _held_out(folder) if split == "test" else folder / "train"
    classes = _classes(folder / "train")
    if _classes(root) != classes:
        raise DataError(
            f"{root}: its classes are not those of {folder / 'train'}", "both need one folder for each class, of the same names"
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(file for file in (root / name).iterdir() if file.suffix.lower() in SUFFIXES)
        chosen = found if split == "test" else [f for i, f in enumerate(found) if (i % VALIDATION_EACH == 11) == (split == "validation")]
        files += chosen
        labels += [label] * len(chosen)
    if not files:
        raise DataError(
            f"{root}: no image for the split {split!r}", f"expected one folder for each class with {', '.join(sorted(SUFFIXES))}"
        )
    places = "\n".join(f"{file.relative_to(folder)} {file.stat().st_size}" for file in files)
    digest = hashlib.sha256(places.encode()).hexdigest()
    return ImageFolder(tuple(files), torch.tensor(labels), f"{folder.resolve().name}/{split}", digest)


def read_image(path: Path) -> Tensor:
    """(3, ``SIZE``, ``SIZE``) in [0, 1]: the central square, of ``SIZE`` / ``FRAME`` of the shorter side, scaled bilinearly.

    Raises:
        DataError: not a readable image, or Pillow is not installed.
    """
    pillow = _pillow()
    try:
        with pillow.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path}: {image.width}x{image.height} pixels, at most {MAX_PIXELS} are read")
            if image.mode[0] in "IF":
                raise DataError(f"{path}: pixels of mode {image.mode}, expected 8 bits per channel", "convert it first")
            kept = SIZE / FRAME * min(image.size)
            centre = [(side + sign * kept) / 2 for sign in (-1, 1) for side in image.size]
            scaled = image.convert("RGB").resize((SIZE, SIZE), pillow.Resampling.BILINEAR, box=centre)
    except DataError:
        raise
    except Exception as error:  # a decoder raises whatever it likes on a damaged file
        raise DataError(f"{path}: is not a readable image: {error}") from error
    return torch.from_numpy(np.asarray(scaled, np.float32) / 255.0).permute(2, 0, 1).contiguous()


def _pillow() -> Any:
    try:
        return import_module("PIL.Image")
    except ImportError as error:
        raise DataError("folders of images need Pillow, which is not installed", "pip install pillow") from error


def _held_out(folder: Path) -> Path:
    return folder / "val" if (folder / "val").is_dir() else folder / "test"


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
