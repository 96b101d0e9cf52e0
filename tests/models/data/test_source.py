from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocert.models.data.digits import Split, digits
from neurocert.models.data.source import load_samples
from neurocert.models.errors import DataError

MNIST = Path(__file__).parents[4] / "shared" / "data" / "mnist"
FOLDER = {"train": range(22), "validation": range(22, 24), "test": range(5)}


def filled_with(source: Path, split: Split) -> list[float]:
    samples = load_samples(str(source), split)
    assert samples.inputs.shape[1:] == (1, 3, 4)
    return (samples.inputs.amax((1, 2, 3)) * 255).round().tolist()


def test_digits() -> None:
    assert load_samples("digits").sha256 == digits("test").sha256
    assert load_samples("digits", "train").sha256 == digits("train").sha256


@pytest.mark.parametrize("split", FOLDER)
def test_folder_sets_the_last_twelfth_of_training_images_aside(mnist_like: Path, split: Split) -> None:
    assert filled_with(mnist_like, split) == list(FOLDER[split])
    assert load_samples(str(mnist_like), split).labels.tolist() == [i % 10 for i in FOLDER[split]]


@pytest.mark.parametrize("split", FOLDER)
def test_folder_with_other_spellings(mnist_like: Path, split: Split) -> None:
    for path in list(mnist_like.iterdir()):
        path.with_name(path.name.replace("-idx", ".idx") + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert filled_with(mnist_like, split) == list(FOLDER[split])


def test_images_file_finds_its_labels(mnist_like: Path) -> None:
    assert filled_with(mnist_like / "t10k-images-idx3-ubyte", "test") == list(FOLDER["test"])
    labels = mnist_like / "train-labels-idx1-ubyte"
    labels.with_name(f"{labels.name}.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    assert filled_with(mnist_like / "train-images-idx3-ubyte", "test") == list(range(24))


def test_npz_is_known_by_its_content(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 3, 4)), labels=np.array([0, 1]))
    (tmp_path / "a.npz").rename(tmp_path / "a.data")
    assert load_samples(str(tmp_path / "a.data")).labels.tolist() == [0, 1]


def break_folder(folder: Path) -> Path:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    return folder


def lone_images(folder: Path) -> Path:
    break_folder(folder)
    return folder / "t10k-images-idx3-ubyte"


def labels_as_images(folder: Path) -> Path:
    return folder / "t10k-labels-idx1-ubyte"


def text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello")
    return folder / "notes.txt"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda folder: folder / "nothing", "no such data"),
        (lambda folder: folder / "\0", "cannot be read|no such data"),
        (lambda folder: folder / ("x" * 5000), "cannot be read|no such data"),
        (break_folder, "holds no t10k-labels-idx1-ubyte"),
        (lone_images, "no labels file beside it, expected t10k-labels-idx1-ubyte"),
        (labels_as_images, "no labels file beside it"),
        (text, "starts with bytes 68 65 6c 6c, which is neither IDX, gzip nor .npz"),
    ],
)
def test_refuses_and_says_what_is_accepted(mnist_like: Path, source: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        load_samples(str(source(mnist_like)))
    assert error.value.hint is not None and "digits; a folder with MNIST's four files" in error.value.hint


def test_one_file_has_no_training_split(mnist_like: Path) -> None:
    with pytest.raises(DataError, match="one file has no 'train' split"):
        load_samples(str(mnist_like / "t10k-images-idx3-ubyte"), "train")


def test_too_few_images_for_a_validation_split(mnist_like: Path, idx_bytes: Callable[[np.ndarray], bytes]) -> None:
    (mnist_like / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((11, 3, 4))))
    (mnist_like / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(11)))
    with pytest.raises(DataError, match="11 images, expected at least 12"):
        load_samples(str(mnist_like), "train")


def test_unknown_split() -> None:
    with pytest.raises(DataError, match="unknown split 'dev'"):
        load_samples("digits", "dev")  # type: ignore[arg-type]


@given(data=st.binary(max_size=100), start=st.sampled_from([b"", b"PK\3\4", b"\0\0\x08\3", b"\x1f\x8b"]))
def test_any_file_is_a_data_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-source"
    path.write_bytes(start + data)
    with pytest.raises(DataError):
        load_samples(str(path))


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST's four files in ../shared/data/mnist")
def test_mnist() -> None:
    samples = load_samples(str(MNIST))
    assert samples.inputs.shape == (10_000, 1, 28, 28)
    assert samples.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (samples.inputs * 255).mean().item() == pytest.approx(33.791, abs=1e-2)
    assert len(load_samples(str(MNIST), "validation")) == 5000
