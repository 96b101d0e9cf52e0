"""One word or path -> samples: what ``--data`` accepts."""

from __future__ import annotations

from pathlib import Path

import torch

from neurocert.models.data.cifar import TEST_FILES, TRAIN_FILES, read_cifar
from neurocert.models.data.digits import SPLITS, Split, digits
from neurocert.models.data.idx import GZIP_MAGIC, read_idx_pair
from neurocert.models.data.image_folder import is_image_folder, open_image_folder
from neurocert.models.data.npz import read_npz
from neurocert.models.data.samples import Batches, Samples
from neurocert.models.errors import DataError

ACCEPTED = (
    "accepted: digits; a folder with MNIST's four files (train-images-idx3-ubyte, ..., .gz or not), with CIFAR-10's binary "
    "version (data_batch_1.bin, ...), or with images as train/CLASS/*.jpg and val/CLASS/*.jpg; "
    "an images-idx3 file with its labels-idx1 file beside it; an .npz with inputs and labels"
)
VALIDATION_SHARE = 12  # the last twelfth of a folder's training images is its validation split: 5000 of MNIST's 60000


def load_samples(source: str, split: Split = "test") -> Samples:
    """Samples from "digits" or from a path.

    Args:
        source: "digits"; a folder of IDX files, where t10k-* is "test" and the last twelfth of train-* is "validation";
            a folder with the binary version of CIFAR-10, split likewise; a folder of images (``open_image_folder``);
            one images-idx3 file or one ``.npz``, which has no splits and serves as "test".
        split: "train", "validation" or "test".

    Raises:
        DataError: nothing of that kind, or a file that cannot be used.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}", f"known: {', '.join(SPLITS)}")
    if source == "digits":
        return digits(split)
    path = Path(source)
    try:
        return _from_folder(path, split) if path.is_dir() else _from_file(path, split)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source!r}: cannot be read: {error}", ACCEPTED) from error


def open_split(source: str, split: Split) -> Batches:
    """As ``load_samples``, but what is too large for memory is read batch by batch.

    Raises:
        DataError: see ``load_samples``.
    """
    folder = Path(source)
    return open_image_folder(folder, split) if is_image_folder(folder) else load_samples(source, split)


def _from_folder(folder: Path, split: Split) -> Samples:
    if is_image_folder(folder):
        return open_image_folder(folder, split).samples()
    samples = _whole_file(folder, split)
    if split == "test":
        return samples
    border = len(samples) - len(samples) // VALIDATION_SHARE
    if border == len(samples):
        raise DataError(f"{folder}: {len(samples)} images, expected at least {VALIDATION_SHARE} to set some aside for validation")
    chosen = torch.arange(len(samples))[slice(border) if split == "train" else slice(border, None)]
    return samples.take(chosen.tolist())


def _whole_file(folder: Path, split: Split) -> Samples:
    """CIFAR-10's or MNIST's test images, or all of their training images."""
    name = f"{folder.resolve().name}/{split}"
    if (folder / TEST_FILES[0]).is_file():
        return read_cifar([folder / file for file in (TEST_FILES if split == "test" else TRAIN_FILES)], name)
    prefix = "t10k" if split == "test" else "train"
    images, labels = (_find(folder, prefix, kind) for kind in ("images-idx3", "labels-idx1"))
    return read_idx_pair(images, labels, name)


def _find(folder: Path, prefix: str, kind: str) -> Path:
    """The file of that kind; some distributions write "images.idx3" for "images-idx3"."""
    names = [f"{prefix}-{stem}-ubyte{suffix}" for stem in (kind, kind.replace("-", ".")) for suffix in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: holds no {names[0]} (nor the same with .gz)", ACCEPTED)


def _from_file(path: Path, split: Split) -> Samples:
    if not path.is_file():
        raise DataError(f"{str(path)!r}: no such data", ACCEPTED)
    if split != "test":
        raise DataError(f"{path}: one file has no {split!r} split", "give a folder with MNIST's four files, or digits")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith(b"PK"):
        return read_npz(path, path.name)
    if start.startswith((b"\0\0", GZIP_MAGIC)):
        return read_idx_pair(path, _labels_beside(path), path.name)
    raise DataError(f"{path}: starts with bytes {start.hex(' ') or '(none)'}, which is neither IDX, gzip nor .npz", ACCEPTED)


def _labels_beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    for candidate in (name, plain, f"{plain}.gz"):
        if candidate != images.name and (images.parent / candidate).is_file():
            return images.parent / candidate
    raise DataError(f"{images}: no labels file beside it, expected {name}", ACCEPTED)
