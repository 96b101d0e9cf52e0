"""Whatever a user gets wrong ends in one line with a reason, exit 2, nothing on stdout, and nothing written."""

from __future__ import annotations

import gzip
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurocert.certify.cli.main import USAGE
from neurocert.models import checkpoints

Certify = Callable[..., "Done"]  # noqa: F821  (see conftest)

ANN = "digits-flex-ann"
WORDS = {
    "no such command": (("certifi",), "No such command 'certifi'"),
    "no such option": (("run", ANN, "--radii", "1"), "No such option: --radii"),
    "no checkpoint": (("run",), "Missing argument 'CHECKPOINT...'"),
    "unknown checkpoint": (("run", "digits-flex"), "no checkpoint named 'digits-flex' (shipped: digits-flex-ann, digits-flex-ann-robust, "),
    "missing file": (("run", "absent.safetensors"), "absent.safetensors: no such file"),
    "folder as checkpoint": (("inspect", "."), ".: is a directory, expected a file"),
    "epsilon a word": (("run", ANN, "--epsilon", "small"), "epsilon is 'small', expected a finite number"),
    "epsilon negative": (("run", ANN, "--epsilon", "-0.1"), "epsilon is -0.1, expected a finite number >= 0"),
    "epsilon NaN": (("run", ANN, "--epsilon", "0.01,nan"), "epsilon is 'nan', expected a finite number"),
    "epsilon infinite": (("attack", ANN, "--epsilon", "inf"), "epsilon is 'inf', expected a finite number"),
    "no epsilon": (("run", ANN, "--epsilon", ""), "epsilon: got none, expected at least one radius"),
    "unknown norm": (("run", ANN, "--norm", "l0"), "norm is 'l0', expected one of linf, l2, l1, flips"),
    "half a flip": (("run", ANN, "--norm", "flips", "--epsilon", "1,1.5"), "epsilon is 1.5, expected whole numbers of flips"),
    "flips of grey pixels": (
        ("run", ANN, "--norm", "flips", "--epsilon", "1"),
        "inputs hold values other than 0 and 1, expected binary ones",
    ),
    "weights by a word": (("run", ANN, "--weights-relative", "little"), "weights-relative is 'little', expected a finite number"),
    "weights below 0": (("attack", ANN, "--weights-absolute", "-1"), "weights: absolute is -1.0, expected a finite number >= 0"),
    "weights without a size": (
        ("run", ANN, "--weights-named", "readout.*"),
        "weights: got no tolerance",
    ),
    "weights of no name": (("run", ANN, "--weights-relative", "1", "--weights-named", "head.*"), "weights: no parameter matches 'head.*'"),
    "weights and auto_LiRPA": (
        ("run", ANN, "--weights-relative", "1", "--method", "auto-lirpa"),
        "auto_LiRPA is asked about uncertain weights",
    ),
    "unknown method": (("run", ANN, "--method", "interval,milp"), "method is 'milp', expected one of interval, linear"),
    "unknown attack": (("run", ANN, "--attack", "cw"), "attack is 'cw', expected one of fgsm, pgd"),
    "nothing to do": (("run", ANN, "--method", "none", "--attack", "none"), "method and attack: got none of either"),
    "unknown arithmetic": (("run", ANN, "--arithmetic", "bfloat16"), "arithmetic is 'bfloat16', expected one of real, float32, float64"),
    "samples a word": (("run", ANN, "--samples", "few"), "samples is 'few', expected a number such as 50, or indices such as 3,17,20"),
    "too many samples": (("run", ANN, "--samples", "501"), "digits/test has 500 samples (0..499), asked for number 500"),
    "no samples": (("run", ANN, "--samples", "0"), "samples: got none"),
    "a sample twice": (("run", ANN, "--samples", "3,3"), "samples: an index is named twice"),
    "seed negative": (("run", ANN, "--seed", "-1"), "seed is -1, expected 0 <= seed < 2^63"),
    "seed a word": (("run", ANN, "--seed", "x"), "Invalid value for '--seed'"),
    "no such data": (("run", ANN, "--data", "absent"), "'absent': no such data (accepted: digits;"),
    "another requirement": (("run", ANN, "--require", "robust>=1@0.01"), "expected the form certified>=0.9@0.01"),
    "requirement at another radius": (("run", ANN, "--require", "certified>=0.9@0.5"), "0.5 is not among the radii"),
    "a share above 1": (("run", ANN, "--require", "certified>=90@0.01"), "the share is 90, expected a number in [0, 1]"),
    "a time limit of nothing": (("run", ANN, "--time-limit", "0"), "time limit is 0.0, expected a number of seconds above 0"),
    "a time limit in words": (("run", ANN, "--time-limit", "soon"), "time limit is 'soon', expected a finite number"),
    "no such list": (("ls", "nets"), "there is no list of 'nets' (expected one of models, recipes,"),
    "unknown recipe": (("train", "absent", "--out", "x.safetensors"), "absent: no such file (known recipes: digits-flex-ann,"),
    "train without out": (("train", ANN), "Missing option '--out'"),
    "train into no folder": (("train", ANN, "--out", "absent/x.safetensors"), "absent is not a directory"),
    "train onto a folder": (("train", ANN, "--out", "."), ".: is a directory, expected a file"),
    "training data missing": (("train", "mnist-flex-ann", "--out", "x.safetensors"), "trains on 'mnist'"),
    "out below a file": (("run", ANN, "--out", "taken/report"), "taken/report: cannot be made a directory"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    return tmp_path


def refused(done: Done, words: str, folder: Path, files: set[str]) -> None:  # noqa: F821
    """Exit 2, one line, and the folder as it was."""
    assert done.code == USAGE, done.err
    assert done.out == ""
    assert done.err.startswith("certify: error: ") and done.err.count("\n") == 1
    assert words in done.err
    assert {path.name for path in folder.iterdir()} == files


@pytest.mark.parametrize("case", WORDS)
def test_a_wrong_word(case: str, certify: Certify, elsewhere: Path) -> None:
    arguments, words = WORDS[case]
    refused(certify(*arguments), words, elsewhere, {"taken"})


def shipped_bytes() -> bytes:
    return checkpoints.resolve(ANN).read_bytes()


def with_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> bytes:
    """The shipped checkpoint with other tensors and the same metadata."""
    data = shipped_bytes()
    tensors = dict(safetensors.numpy.load(data))
    change(tensors)
    with safetensors.safe_open(checkpoints.resolve(ANN), "np") as file:
        metadata = file.metadata()
    return safetensors.numpy.save(tensors, metadata)


def zipped() -> bytes:
    path = Path("archive.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "x")
    data = path.read_bytes()
    path.unlink()
    return data


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "a pickle": (lambda: pickle.dumps({"weight": 1}), "is a Python pickle"),
    "a zip": (zipped, "is a zip archive"),
    "truncated": (lambda: shipped_bytes()[:-100], "model.safetensors: "),
    "truncated header": (lambda: shipped_bytes()[:50], "model.safetensors: "),
    "another architecture": (lambda: shipped_bytes().replace(b"flex-vgg", b"flex-vgh"), "unknown architecture"),
    "no metadata": (lambda: safetensors.numpy.save({"x": np.zeros(2, np.float32)}), "model.safetensors: "),
    "a missing tensor": (lambda: with_tensors(lambda tensors: tensors.popitem()), "missing"),
    "an extra tensor": (lambda: with_tensors(lambda tensors: tensors.update(extra=np.zeros(1, np.float32))), "extra"),
    "a NaN weight": (lambda: with_tensors(lambda tensors: tensors["readout.bias"].fill(np.nan)), "NaN"),
    "an infinite weight": (lambda: with_tensors(lambda tensors: tensors["readout.bias"].fill(np.inf)), "infinite"),
    "another weight": (lambda: with_tensors(lambda tensors: tensors["readout.bias"].fill(1)), "sha256"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_checkpoint(case: str, certify: Certify, elsewhere: Path) -> None:
    make, words = FILES[case]
    (elsewhere / "model.safetensors").write_bytes(make())
    for command in ("run", "inspect"):
        refused(certify(command, "model.safetensors"), words, elsewhere, {"taken", "model.safetensors"})


def idx(magic: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return struct.pack(f">I{len(shape)}I", magic, *shape) + data


def write_idx(folder: Path, images: bytes, labels: bytes) -> Path:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(labels)
    return folder


GOOD_IMAGES, GOOD_LABELS = idx(2051, (2, 8, 8), bytes(128)), idx(2049, (2,), bytes(2))
DATA = {
    "truncated images": (GOOD_IMAGES[:-1], GOOD_LABELS, "t10k-images-idx3-ubyte.gz: "),
    "other image size": (idx(2051, (2, 4, 4), bytes(32)), GOOD_LABELS, "images are 1x4x4, the network expects 1x8x8"),
    "label without a class": (GOOD_IMAGES, idx(2049, (2,), bytes([0, 10])), "a label is 10, the network has classes 0..9"),
    "labels of others": (GOOD_IMAGES, idx(2049, (3,), bytes(3)), "2"),
    "another magic": (idx(2050, (2, 8, 8), bytes(128)), GOOD_LABELS, "t10k-images-idx3-ubyte.gz: "),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_used(case: str, certify: Certify, elsewhere: Path) -> None:
    images, labels, words = DATA[case]
    folder = elsewhere / "data"
    folder.mkdir()
    write_idx(folder, images, labels)
    refused(certify("run", ANN, "--data", folder), words, elsewhere, {"taken", "data"})


def test_data_outside_the_input_range(certify: Certify, elsewhere: Path) -> None:
    np.savez(elsewhere / "data.npz", inputs=np.full((2, 1, 8, 8), 1.5, np.float32), labels=np.zeros(2, np.int64))
    refused(
        certify("run", ANN, "--data", "data.npz"), "values lie in [1.5, 1.5], the network expects [0, 1]", elsewhere, {"taken", "data.npz"}
    )


@given(data=st.binary(max_size=300))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_as_anything(data: bytes, certify: Certify, elsewhere: Path) -> None:
    (elsewhere / "bytes").write_bytes(data)
    for arguments in (("inspect", "./bytes"), ("run", ANN, "--data", "bytes"), ("train", "./bytes", "--out", "x.safetensors")):
        refused(certify(*arguments), "bytes", elsewhere, {"taken", "bytes"})


def test_a_name_cannot_steer_the_terminal(certify: Certify) -> None:
    done = certify("run", "a\x1b[2J\nb.safetensors")
    assert done.code == USAGE
    assert "\x1b" not in done.err and done.err.count("\n") == 1


def test_the_global_generator_is_left_alone(certify: Certify) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert certify("attack", ANN, "--samples", "2", "--epsilon", "0.01", "--attack", "pgd,square").code == 0
    assert torch.rand(1) == expected
