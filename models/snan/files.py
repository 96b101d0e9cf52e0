"""SNAN files: one ``.safetensors`` file with connections, weights and calcium map, and in its header the settings and seed.

The same container as a checkpoint's, under the same rules: nothing in it is trusted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import torch as safetensors
from torch import Tensor

from neurocert.models.checkpoints import KEY, MAX_BYTES, parse, tensors_sha256
from neurocert.models.errors import CheckpointError, InputError
from neurocert.models.files import printable, read_file, write_atomically
from neurocert.models.schema import Sha256, Source, Strict, explain
from neurocert.models.snan.network import Network
from neurocert.models.snan.settings import Settings

ARRAYS = ("excitatory_targets", "interneuron_targets", "inhibitory_targets", "excitatory_weights", "inhibitory_weights")
LARGEST = 2**16


class Metadata(Strict):
    """What an SNAN file says beside its tensors.

    Attributes:
        settings: see ``Settings``; every field is written.
        seed: of the connections.
        trained_on: what its images were taken from; None for a network that has learned nothing.
        classes: the labels that it has seen: a subset in the situation-based variant.
    """

    format_version: Literal[1]
    kind: Literal["snan"]
    settings: dict[str, Any]
    seed: Annotated[int, Field(ge=0)]
    trained_on: Source | None
    classes: tuple[int, ...]
    tensors_sha256: Sha256


class Stored(NamedTuple):
    """A network and what its file says about it."""

    network: Network
    metadata: Metadata


def save(path: str | Path, network: Network, trained_on: Source | None = None, classes: tuple[int, ...] = ()) -> None:
    """Writes a network, atomically: the same bytes for the same network.

    Raises:
        InputError: the file cannot be written.
    """
    tensors, metadata = take_apart(network, trained_on, classes)
    write_atomically(Path(path), safetensors.save(tensors, metadata={KEY: metadata.model_dump_json()}))


def take_apart(network: Network, trained_on: Source | None = None, classes: tuple[int, ...] = ()) -> tuple[dict[str, Tensor], Metadata]:
    """What a file holds of a network."""
    tensors = {name: torch.from_numpy(getattr(network, name).astype(np.int32)) for name in ARRAYS}
    tensors["calcium"] = torch.from_numpy(network.calcium.copy())
    metadata = Metadata(
        format_version=1,
        kind="snan",
        settings=_as_json(network.settings),
        seed=network.seed,
        trained_on=trained_on,
        classes=classes,
        tensors_sha256=tensors_sha256(tensors),
    )
    return tensors, metadata


def load(path: str | Path) -> Stored:
    """Reads a network, checking everything before it is handed out.

    Raises:
        CheckpointError: the first thing that is wrong with the file.
    """
    try:
        return _decode(read_file(Path(path), MAX_BYTES))
    except InputError as error:
        raise CheckpointError(f"{path}: {printable(error.message)}", error.hint) from error


def _decode(data: bytes) -> Stored:
    tensors, note = parse(data)
    try:
        metadata = Metadata.model_validate_json(note)
    except ValidationError as error:
        raise CheckpointError(f"has bad SNAN metadata: {explain(error)}") from error
    return Stored(restore(tensors, metadata), metadata)


def restore(tensors: dict[str, Tensor], metadata: Metadata) -> Network:
    """The network that metadata and tensors make.

    Raises:
        InputError: they do not fit together.
    """
    try:
        settings = TypeAdapter(Settings).validate_python(metadata.settings)
    except ValidationError as error:
        raise CheckpointError(f"has bad SNAN metadata: {explain(error)}") from error
    if _as_json(settings) != metadata.settings:
        raise CheckpointError("has bad SNAN metadata: settings with missing, unknown or converted fields")
    if set(tensors) != {*ARRAYS, "calcium"}:
        raise CheckpointError(f"holds tensors {sorted(tensors)}, expected {sorted([*ARRAYS, 'calcium'])}")
    arrays = {name: _indices(name, tensors[name]) for name in ARRAYS}
    calcium = tensors["calcium"].numpy()
    if calcium.dtype != np.float64:
        raise CheckpointError(f"calcium: {calcium.dtype}, expected float64")
    if (got := tensors_sha256(tensors)) != metadata.tensors_sha256:
        message = f"does not hold the tensors that its metadata was written for: sha256 {got}, expected {metadata.tensors_sha256}"
        raise CheckpointError(message, "the file was changed or damaged; get it again")
    return Network(settings, metadata.seed, calcium=calcium, **arrays)


def _indices(name: str, tensor: Tensor) -> np.ndarray:
    """An array of whole numbers that fit into 16 bits."""
    if tensor.dtype != torch.int32 or tensor.dim() != 2 or not tensor.numel():
        raise CheckpointError(f"{name}: {tensor.dtype} {tuple(tensor.shape)}, expected a matrix of int32")
    if int(tensor.min()) < 0 or int(tensor.max()) >= LARGEST:
        raise CheckpointError(f"{name}: values from {int(tensor.min())} to {int(tensor.max())}, expected 0 to {LARGEST - 1}")
    return tensor.numpy().astype(np.uint16)


def _as_json(settings: Settings) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in fields.items()}
