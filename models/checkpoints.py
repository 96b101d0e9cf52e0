"""Checkpoints: one ``.safetensors`` file that holds the weights and, in its header, everything else about the network.

Nothing in a file is trusted: it is data for a strict schema and for named tensors of known shapes, never code.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from pydantic import BaseModel, ValidationError
from safetensors import torch as safetensors
from torch import Tensor

from neurocert.models.errors import CheckpointError, InputError
from neurocert.models.files import printable, read_file, write_atomically
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build
from neurocert.models.schema import FORMAT_VERSION, CheckpointMetadata, explain
from neurocert.models.semantics import Semantics

KEY = "neurocert"
SUFFIX = ".safetensors"
MAX_BYTES = 2**30
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format itself


@dataclass(frozen=True)
class Checkpoint:
    """A network as read from a file.

    Attributes:
        network: in evaluation mode.
        metadata: what the file says about it.
        sha256: of the file's bytes.
        path: where it was read.
    """

    network: Classifier
    metadata: CheckpointMetadata
    sha256: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def semantics(self) -> Semantics:
        return self.network.semantics


def shipped() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package, sorted."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in _shipped_folder().glob(f"*{SUFFIX}")))


def resolve(name_or_path: str | Path) -> Path:
    """Where a checkpoint lies: a bare name without suffix is a shipped one, then a file of that name; anything else is a path.

    Raises:
        CheckpointError: a bare name that is neither.
    """
    path = Path(name_or_path)
    bare = str(name_or_path) == path.name and not path.suffix
    if not bare:
        return path
    if path.name in shipped():
        return _shipped_folder() / f"{path.name}{SUFFIX}"
    if os.path.exists(path):
        return path
    raise CheckpointError(
        f"no checkpoint named {str(name_or_path)!r}", f"shipped: {', '.join(shipped())}; or give the path of a {SUFFIX} file"
    )


def load(name_or_path: str | Path) -> Checkpoint:
    """Reads a checkpoint, checking everything before the network is handed out.

    Args:
        name_or_path: see ``resolve``.

    Raises:
        CheckpointError: the first thing that is wrong with the file.
    """
    path = resolve(name_or_path)
    try:
        data = read_file(path, MAX_BYTES)
        network, metadata = decode(data)
    except InputError as error:
        raise CheckpointError(f"{path}: {printable(error.message)}", error.hint) from error
    return Checkpoint(network, metadata, hashlib.sha256(data).hexdigest(), path)


def save(path: str | Path, network: Classifier, metadata: CheckpointMetadata) -> None:
    """Writes a checkpoint, atomically; what ``load`` would refuse is refused here, before anything is written.

    Raises:
        CheckpointError: the network is not the one that the metadata describes.
        InputError: the file cannot be written.
    """
    data = encode(network, metadata)
    try:
        decode(data)
    except InputError as error:
        raise CheckpointError(f"{path}: not written: {error.message}", error.hint) from error
    write_atomically(Path(path), data)


def encode(network: Classifier, metadata: CheckpointMetadata) -> bytes:
    """The bytes of a checkpoint file: the same for the same weights and metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return safetensors.save(tensors, metadata={KEY: metadata.model_dump_json()})


def decode(data: bytes) -> tuple[Classifier, CheckpointMetadata]:
    """The network, in evaluation mode, and the metadata in the bytes of a checkpoint file.

    Raises:
        InputError: the first thing that is wrong, without the file's name.
    """
    tensors, note = parse(data)
    metadata = _metadata(note)
    return restore(tensors, metadata), metadata


def restore(tensors: dict[str, Tensor], metadata: CheckpointMetadata) -> Classifier:
    """The network, in evaluation mode, that metadata and tensors make.

    Raises:
        InputError: they do not fit together.
    """
    # Shapes are compared on a network without storage: a file can ask for no more memory than it brings tensors.
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):
            expected = _network(metadata).state_dict()
        _require_tensors(tensors, expected, metadata)
        network = _network(metadata)
    network.load_state_dict(tensors)
    return network.eval()


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Hash over the tensors sorted by name: of each its name, dtype and shape as JSON, then its little-endian bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _shipped_folder() -> Path:
    return Path(str(resources.files("neurocert.models") / "shipped"))


def _require_safetensors(data: bytes) -> None:
    """Says what a file is that cannot be safetensors: 8 bytes of header length, then a JSON object."""
    length = int.from_bytes(data[:8], "little")
    if not data:
        raise CheckpointError("is empty")
    if data[8:9] != b"{":
        for magic, kind in ((b"\x80", "a Python pickle"), (b"PK", "a zip archive, as torch.save writes")):
            if data.startswith(magic):
                hint = "such files can run code when opened, so they are never opened here; save the weights as safetensors"
                raise CheckpointError(f"is {kind}, expected a {SUFFIX} file", hint)
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"claims a header of {length} bytes, expected at most {MAX_HEADER_BYTES}", f"is it a {SUFFIX} file?")
    if length + 8 > len(data):
        raise CheckpointError(f"is truncated: {len(data)} bytes, at least {length + 8} expected", "copy or download it again")


def parse(data: bytes) -> tuple[dict[str, Tensor], str]:
    """The tensors and our JSON text, through the safetensors library's own checks.

    Raises:
        CheckpointError: the first thing that is wrong, without the file's name.
    """
    _require_safetensors(data)
    try:
        tensors = safetensors.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        note = header.get("__metadata__", {}).get(KEY)
    except Exception as error:  # any bytes may come; whatever a parser makes of them is an error in the file
        raise CheckpointError(f"is not a valid {SUFFIX} file: {error}", "copy or download it again") from error
    if note is None:
        hint = "it holds weights but not what the network computes with them; `certify train` writes files that do"
        raise CheckpointError(f"has no {KEY!r} entry in its header", hint)
    return tensors, note


class _Version(BaseModel):
    format_version: int
    kind: str | None = None


def _metadata(note: str) -> CheckpointMetadata:
    try:
        header = _Version.model_validate_json(note, strict=True)
        if header.kind is not None:
            raise CheckpointError(f"holds {header.kind!r}, expected a classifier alone", "`certify snan` takes classifiers behind an SNAN")
        if (version := header.format_version) > FORMAT_VERSION:
            hint = "install a newer neurocert"
            raise CheckpointError(f"has format version {version}, the newest that is read here is {FORMAT_VERSION}", hint)
        return CheckpointMetadata.model_validate_json(note)
    except ValidationError as error:
        raise CheckpointError(f"has bad metadata: {explain(error)}") from error


def _network(metadata: CheckpointMetadata) -> Classifier:
    inputs = metadata.inputs
    return build(
        metadata.architecture.name,
        metadata.architecture.parameters,
        inputs=InputSpace(inputs.shape, inputs.low, inputs.high),
        semantics=metadata.semantics.value(),
        classes=metadata.classes,
        mean=metadata.normalisation.mean,
        std=metadata.normalisation.std,
    )


def _require_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor], metadata: CheckpointMetadata) -> None:
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        found = [f"{kind} {_some(names)}" for kind, names in (("missing", missing), ("unexpected", extra)) if names]
        raise CheckpointError(f"does not hold the tensors of {metadata.architecture.name}: {'; '.join(found)}")
    for name in sorted(expected):
        _require_tensor(name, tensors[name], expected[name])
    if (got := tensors_sha256(tensors)) != metadata.tensors_sha256:
        message = f"does not hold the tensors that its metadata was written for: sha256 {got}, expected {metadata.tensors_sha256}"
        raise CheckpointError(message, "the file was changed or damaged; get it again")


def _require_tensor(name: str, tensor: Tensor, expected: Tensor) -> None:
    if tensor.shape != expected.shape:
        raise CheckpointError(f"tensor {name}: shape {tuple(tensor.shape)}, expected {tuple(expected.shape)}")
    if tensor.dtype != expected.dtype:
        raise CheckpointError(f"tensor {name}: {tensor.dtype}, expected {expected.dtype}")
    if wrong := int((~torch.isfinite(tensor)).sum()):
        raise CheckpointError(
            f"tensor {name}: {wrong} of {tensor.numel()} values are NaN or infinite", "the training diverged or the file is damaged"
        )
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise CheckpointError(f"tensor {name}: a variance of {tensor.min().item():g}, expected none below 0")
    if name.endswith("routing.stored") and (wrong := int(((tensor != 0) & (tensor != 1)).sum())):
        message = f"tensor {name}: {wrong} of {tensor.numel()} values are neither 0 nor 1, expected a frozen mask"
        raise CheckpointError(message, "PlasticFlex.freeze stores such masks")


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
