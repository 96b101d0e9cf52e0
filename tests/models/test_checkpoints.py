from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from neurocert.models.checkpoints import encode, load, resolve, save, shipped, tensors_sha256
from neurocert.models.errors import CheckpointError, InputError
from neurocert.models.networks.classifier import Classifier
from neurocert.models.schema import CheckpointMetadata

Made = tuple[Classifier, CheckpointMetadata]
Document = dict[str, Any]
Tensors = dict[str, Tensor]
MEAN, VARIANCE, COUNT = (f"synapses.0.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked"))


def write(path: Path, document: Document | str | None, tensors: Tensors) -> Path:
    """A file with that metadata document, hash included as it is."""
    text = json.dumps(document) if isinstance(document, dict) else document
    path.write_bytes(safetensors.save(tensors, metadata=None if text is None else {"neurocert": text}))
    return path


def parts(made: Made) -> tuple[Document, Tensors]:
    network, metadata = made
    return json.loads(metadata.model_dump_json()), dict(network.state_dict())


def refused(path: Path, message: str) -> CheckpointError:
    """The error of loading ``path``, which names the file."""
    with pytest.raises(CheckpointError, match=message) as error:
        load(path)
    assert error.value.message.startswith(f"{path}: ")
    return error.value


def test_round_trip(tmp_path: Path, made: Made) -> None:
    network, metadata = made
    path = tmp_path / "small.safetensors"
    save(path, network, metadata)
    checkpoint = load(path)
    images = torch.rand(32, 1, 4, 4)
    assert torch.equal(checkpoint.network(images), network.eval()(images))
    assert not checkpoint.network.training
    assert checkpoint.metadata == metadata
    assert checkpoint.semantics == network.semantics
    assert checkpoint.network.inputs == network.inputs
    assert checkpoint.network.classes == ("no", "yes")
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (checkpoint.name, checkpoint.path) == ("small", path)


def test_same_network_same_bytes(made: Made) -> None:
    network, metadata = made
    copy = CheckpointMetadata.model_validate_json(metadata.model_dump_json())
    assert encode(network, metadata) == encode(network, copy)


def test_load_leaves_the_random_generator_alone(tmp_path: Path, made: Made) -> None:
    save(tmp_path / "small", *made)
    before = torch.get_rng_state()
    load(tmp_path / "small")
    assert torch.equal(torch.get_rng_state(), before)


def test_suffix_does_not_matter(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "plain", *made)
    monkeypatch.chdir(tmp_path)
    assert load("plain").path == Path("plain")
    assert load("./plain").name == "plain"


# ---- files that are no checkpoints


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.safetensors", "no such file")


def test_directory(tmp_path: Path) -> None:
    refused(tmp_path, "is a directory, expected a file")


def test_device() -> None:
    refused(Path(os.devnull), "is not a regular file")


def test_name_that_no_file_can_have(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 5000), "cannot be read|no such file")
    with pytest.raises(CheckpointError, match="no checkpoint named"):
        load("x" * 5000)
    with pytest.raises(CheckpointError, match="no checkpoint named"):
        load("a\0b")


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.touch()
    refused(path, "is empty")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes([0x80, protocol]) + b"\x95\x0b\0\0\0\0\0\0\0]\x94(K\1e.")
    error = refused(path, "is a Python pickle, expected a .safetensors file")
    assert error.hint is not None and "never opened" in error.hint


def test_torch_save(tmp_path: Path, made: Made) -> None:
    path = tmp_path / "a.safetensors"
    torch.save(made[0].state_dict(), path)
    error = refused(path, "is a zip archive, as torch.save writes")
    assert error.hint is not None and "never opened" in error.hint


@pytest.mark.parametrize("start", [b"\x80\x02", b"PK"])
def test_header_length_that_looks_like_another_format(tmp_path: Path, made: Made, start: bytes) -> None:
    """0x280 and 0x4b50 are lengths that a header can have: padded to them, the file is a checkpoint like any other."""
    data = encode(*made)
    length = int.from_bytes(data[:8], "little")
    wanted = int.from_bytes(start, "little")
    wanted += 0x10000 * (wanted < length)
    path = tmp_path / "a.safetensors"
    path.write_bytes(wanted.to_bytes(8, "little") + data[8 : 8 + length].ljust(wanted) + data[8 + length :])
    assert path.read_bytes().startswith(start)
    assert load(path).metadata == made[1]


@pytest.mark.parametrize("kept", [1, 7, 8, 9, 100, -300, -1])
def test_truncated(tmp_path: Path, made: Made, kept: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(encode(*made)[:kept])
    refused(path, "is truncated|is not a valid .safetensors file")


def test_huge_header_length(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 8 + b"{}")
    refused(path, f"claims a header of {2**64 - 1} bytes, expected at most 100000000")


@pytest.mark.parametrize("header", [b"{nonsense", b"{}{}", b"\xff\xfe{}", b'{"a": 1}', b"[" * 4000, b'{"a":' * 2000])
def test_bad_header(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    refused(path, "is not a valid .safetensors file")


def test_bytes_left_over(tmp_path: Path, made: Made) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(encode(*made) + b"\0")
    refused(path, "is not a valid .safetensors file")


# ---- metadata


def test_safetensors_of_another_project(tmp_path: Path, made: Made) -> None:
    _, tensors = parts(made)
    error = refused(write(tmp_path / "a", None, tensors), "has no 'neurocert' entry in its header")
    assert error.hint is not None


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "null", "{}", '{"format_version": "1"}', '{"format_version": true}', "[" * 10_000])
def test_metadata_that_is_no_document(tmp_path: Path, made: Made, text: str) -> None:
    _, tensors = parts(made)
    refused(write(tmp_path / "a", text, tensors), "has bad metadata")


def test_newer_format_is_named_before_anything_else(tmp_path: Path, made: Made) -> None:
    _, tensors = parts(made)
    error = refused(
        write(tmp_path / "a", {"format_version": 2, "new": 0}, tensors), "has format version 2, the newest that is read here is 1"
    )
    assert error.hint == "install a newer neurocert"


def at(document: Document, path: str) -> tuple[Document, str]:
    """The object that holds a dotted path, and the last name of the path."""
    *parents, last = path.split(".")
    for parent in parents:
        document = document[parent]
    return document, last


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("format_version", 0, "format_version: Input should be 1, got 0"),
        ("surprise", 1, "surprise: Extra inputs are not permitted"),
        ("architecture.name", "alexnet", "unknown architecture 'alexnet'"),
        ("architecture.parameters.hidden", [0], "architecture flex-vgg: hidden.0: Input should be greater than or equal to 1, got 0"),
        ("architecture.parameters.hidden", [3.0], "hidden.0: Input should be a valid integer, got 3.0"),
        ("architecture.parameters.hidden", "three", "hidden: Input should be a valid tuple, got 'three'"),
        ("architecture.parameters.blocks", [], "blocks: Tuple should have at least 1 item"),
        ("architecture.parameters.blocks", [[10**9, 1]], "less than or equal to 4096, got 1000000000"),
        ("architecture.parameters.depth", 3, "depth: Extra inputs are not permitted"),
        ("semantics.spiking.comparison", ">>", "semantics.spiking.comparison: Input should be '>' or '>='"),
        ("semantics.spiking.threshold", float("nan"), "semantics.spiking.threshold: Input should be"),
        ("semantics.spiking.threshold", 1e300, "semantics.spiking.threshold: Input should be less than or equal to"),
        ("semantics.spiking.threshold", "1", "semantics.spiking.threshold: Input should be a valid number, got '1'"),
        ("semantics.spiking.time_steps", 10**9, "semantics.spiking.time_steps: Input should be less than or equal to 1000"),
        ("semantics.spiking.reset_value", 0.5, "semantics: reset_value is 0.5, expected 0.0 with a soft reset"),
        ("semantics.spiking.leak", {"kind": "none"}, "semantics.spiking.leak: Input tag 'none'"),
        ("semantics.spiking.leak", {"kind": "factor", "decay": 2}, "leak.factor.decay: Input should be less than or equal to 1, got 2"),
        ("semantics.spiking.leak", {"kind": "euler", "dt": 2.0, "tau": 1.0}, "tau is 1.0, expected a finite number of at least dt = 2.0"),
        ("inputs.shape", [1, 4], "inputs.shape.2: Field required"),
        ("inputs.shape", [1, 4, 0], "inputs.shape.2: Input should be greater than or equal to 1"),
        ("inputs.high", -1.0, "inputs: got low -1.0 and high -1.0, expected low < high"),
        ("normalisation.std", [0.0], "normalisation.std.0"),
        ("normalisation.mean", [0.25, 0.25], "normalisation: got 2 means, expected one per channel"),
        ("normalisation.std", [0.5, 0.5], "expected one mean and one positive std per channel"),
        ("classes", ["no"], "classes: Tuple should have at least 2 items"),
        ("classes", ["no", "\x1b[2J"], r"classes.1: got '\\x1b\[2J', expected printable characters"),
        ("provenance.accuracy.test", {"correct": 3, "n": 2}, "provenance.accuracy.test: got 3 correct of 2"),
        ("provenance.data.sha256", "abc", "provenance.data.sha256: String should match pattern"),
        ("provenance.seed", None, "provenance.seed: Input should be a valid integer, got None"),
    ],
)
def test_bad_metadata(tmp_path: Path, made: Made, place: str, value: object, message: str) -> None:
    document, tensors = parts(made)
    holder, name = at(document, place)
    holder[name] = value
    refused(write(tmp_path / "a", document, tensors), message)


@pytest.mark.parametrize(
    "field", ["semantics.spiking.threshold", "semantics.spiking.leak.tau", "semantics", "inputs.low", "provenance", "classes"]
)
def test_no_field_has_a_default(tmp_path: Path, made: Made, field: str) -> None:
    document, tensors = parts(made)
    holder, name = at(document, field)
    del holder[name]
    refused(write(tmp_path / "a", document, tensors), f"{name}: Field required")


def test_static_semantics_are_written_as_null(tmp_path: Path, made: Made) -> None:
    document, tensors = parts(made)
    document["semantics"] = {"spiking": None}
    assert load(write(tmp_path / "a", document, tensors)).semantics.spiking is None


# ---- tensors


def rename(old: str, new: str) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def put(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.update({name: change(tensors[name].clone())})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("readout.bias"), "does not hold the tensors of flex-vgg: missing readout.bias$"),
        (lambda tensors: tensors.update(spare=torch.zeros(1)), "does not hold the tensors of flex-vgg: unexpected spare$"),
        (rename("readout.bias", "readout.b"), "missing readout.bias; unexpected readout.b$"),
        (lambda tensors: tensors.clear(), "missing readout.bias, readout.weight, .* and [0-9]+ more$"),
        (rename("readout.bias", "\x1b[2J\n"), r"unexpected \\x1b\[2J\\n$"),
        (put("readout.weight", lambda t: t.T.contiguous()), r"tensor readout.weight: shape \(3, 2\), expected \(2, 3\)$"),
        (put("readout.bias", lambda t: t.double()), "tensor readout.bias: torch.float64, expected torch.float32$"),
        (put("readout.bias", lambda t: t.bfloat16()), "tensor readout.bias: torch.bfloat16, expected torch.float32$"),
        (put(COUNT, lambda t: t.float()), f"tensor {COUNT}: torch.float32, expected torch.int64$"),
        (put(MEAN, lambda t: t.fill_(torch.nan)), f"tensor {MEAN}: 2 of 2 values are NaN or infinite"),
        (put("readout.bias", lambda t: t.index_fill(0, torch.tensor(1), -torch.inf)), "tensor readout.bias: 1 of 2 values are NaN"),
        (put(VARIANCE, lambda t: t.fill_(-0.5)), f"tensor {VARIANCE}: a variance of -0.5, expected none below 0$"),
        (put("readout.bias", lambda t: t.nextafter(torch.tensor(9.0))), "does not hold the tensors that its metadata was written for"),
    ],
)
def test_bad_tensors(tmp_path: Path, made: Made, change: Callable[[Tensors], Any], message: str) -> None:
    document, tensors = parts(made)
    change(tensors)
    error = refused(write(tmp_path / "a", document, tensors), ".")
    with pytest.raises(CheckpointError, match=message):
        raise CheckpointError(error.message)


def test_a_network_larger_than_its_tensors_takes_no_memory(tmp_path: Path, made: Made) -> None:
    """The metadata asks for 2e15 weights: shapes disagree before anything is allocated."""
    document, tensors = parts(made)
    document["architecture"]["parameters"] = {"blocks": [[4096, 1]], "hidden": [4096]}
    document["inputs"]["shape"] = [1, 4096, 4096]
    refused(write(tmp_path / "a", document, tensors), "tensor .*: shape .*, expected")


def test_hash_covers_names_types_and_shapes() -> None:
    zeros = torch.zeros(2, 3)
    variants = [{"a": zeros}, {"b": zeros}, {"a": zeros.T}, {"a": zeros.flatten()}, {"a": zeros.int()}, {"a": zeros, "b": zeros[:0]}, {}]
    assert len({tensors_sha256(tensors) for tensors in variants}) == len(variants)
    assert tensors_sha256({"a": zeros, "b": zeros + 1}) == tensors_sha256({"b": zeros + 1, "a": zeros})


# ---- writing


def test_save_refuses_what_load_would(tmp_path: Path, made: Made) -> None:
    network, metadata = made
    path = tmp_path / "a.safetensors"
    path.write_text("the old file")
    with pytest.raises(CheckpointError, match="not written: does not hold the tensors that its metadata was written for"):
        save(path, network, metadata.model_copy(update={"tensors_sha256": "f" * 64}))
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_half_written_when_the_disk_fails(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.safetensors"
    path.write_text("the old file")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        save(path, *made)
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_save_into_a_missing_folder(tmp_path: Path, made: Made) -> None:
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        save(tmp_path / "nowhere" / "a.safetensors", *made)


# ---- names


def test_resolve(tmp_path: Path) -> None:
    assert resolve("digits-flex-snn").name == "digits-flex-snn.safetensors"
    assert resolve("digits-flex-snn").is_file()
    assert resolve("a/b") == Path("a/b")
    assert resolve(tmp_path) == tmp_path
    assert resolve("b.safetensors") == Path("b.safetensors")


def test_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(CheckpointError, match="no checkpoint named 'digits'") as error:
        load("digits")
    assert error.value.hint is not None
    assert all(name in error.value.hint for name in shipped())
