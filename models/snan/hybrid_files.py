"""Hybrid files: a spiking preprocessor and its classifier in one ``.safetensors`` file, under the rules of a checkpoint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError
from safetensors import torch as safetensors
from torch import Tensor

from neurocert.models import checkpoints
from neurocert.models.checkpoints import KEY, MAX_BYTES, SUFFIX, parse
from neurocert.models.errors import CheckpointError, InputError
from neurocert.models.files import printable, read_file, write_atomically
from neurocert.models.networks.classifier import Classifier
from neurocert.models.schema import CheckpointMetadata, Source, Strict, explain
from neurocert.models.snan import files
from neurocert.models.snan.hybrid import Hybrid
from neurocert.models.snan.preprocessor import Preprocessor

KIND = "snan-hybrid"
PARTS = ("snan", "classifier")


class _Kind(BaseModel):
    kind: str | None = None


class Metadata(Strict):
    """What a hybrid's file says beside its tensors.

    Attributes:
        spiking: False for the control, which resamples.
        snan, classifier: of the two parts.
    """

    format_version: Literal[1]
    kind: Literal["snan-hybrid"]
    spiking: bool
    snan: files.Metadata
    classifier: CheckpointMetadata


@dataclass(frozen=True, eq=False)
class HybridCheckpoint:
    """A hybrid as read from a file.

    Attributes:
        classifier: that of ``hybrid``, in evaluation mode.
        sha256: of the file's bytes.
    """

    hybrid: Hybrid
    classifier: Classifier
    metadata: Metadata
    sha256: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)


def describe(
    hybrid: Hybrid, classifier: CheckpointMetadata, trained_on: Source | None, classes: tuple[int, ...]
) -> tuple[dict[str, Tensor], Metadata]:
    """What a file holds of a hybrid.

    Args:
        classifier: as training describes it.
        trained_on, classes: what the spiking network was shown.
    """
    tensors, snan = files.take_apart(hybrid.preprocessor.network, trained_on, classes)
    whole = {f"snan.{name}": tensor for name, tensor in tensors.items()}
    whole |= {f"classifier.{name}": tensor.detach().cpu().contiguous() for name, tensor in hybrid.classifier.state_dict().items()}
    return whole, Metadata(format_version=1, kind="snan-hybrid", spiking=hybrid.spiking, snan=snan, classifier=classifier)


def save(
    path: str | Path, hybrid: Hybrid, classifier: CheckpointMetadata, trained_on: Source | None = None, classes: tuple[int, ...] = ()
) -> None:
    """Writes a hybrid, atomically; what ``load`` would refuse is refused here. Arguments as in ``describe``.

    Raises:
        CheckpointError: the classifier is not the one that its metadata describe.
        InputError: the file cannot be written.
    """
    tensors, metadata = describe(hybrid, classifier, trained_on, classes)
    data = safetensors.save(tensors, metadata={KEY: metadata.model_dump_json()})
    try:
        _decode(data)
    except InputError as error:
        raise CheckpointError(f"{path}: not written: {error.message}", error.hint) from error
    write_atomically(Path(path), data)


def load(name_or_path: str | Path) -> HybridCheckpoint:
    """Reads a hybrid, checking everything before it is handed out.

    Args:
        name_or_path: see ``checkpoints.resolve``.

    Raises:
        CheckpointError: the first thing that is wrong with the file.
    """
    path = checkpoints.resolve(name_or_path)
    try:
        data = read_file(path, MAX_BYTES)
        hybrid, classifier, metadata = _decode(data)
    except InputError as error:
        raise CheckpointError(f"{path}: {printable(error.message)}", error.hint) from error
    return HybridCheckpoint(hybrid, classifier, metadata, hashlib.sha256(data).hexdigest(), path)


def _decode(data: bytes) -> tuple[Hybrid, Classifier, Metadata]:
    tensors, note = parse(data)
    try:
        kind = _Kind.model_validate_json(note).kind
        if kind != KIND:
            hint = "`certify train` makes hybrids by recipes with a table [snan]"
            raise CheckpointError(f"holds {kind or 'a classifier alone'}, expected a classifier behind an SNAN", hint)
        metadata = Metadata.model_validate_json(note)
    except ValidationError as error:
        raise CheckpointError(f"has bad hybrid metadata: {explain(error)}") from error
    if stray := [name for name in tensors if name.partition(".")[0] not in PARTS]:
        raise CheckpointError(f"holds a tensor {stray[0]!r}, expected names that begin with snan. or classifier.")
    snan, own = ({name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")} for part in PARTS)
    classifier, network = checkpoints.restore(own, metadata.classifier), files.restore(snan, metadata.snan)
    channels, height, width = classifier.inputs.shape
    if channels != 1 or height != width or (classifier.inputs.low, classifier.inputs.high) != (0.0, 1.0):
        raise CheckpointError(f"has a classifier of inputs {classifier.inputs}, expected one square channel of values from 0 to 1")
    if absent := [label for label in metadata.snan.classes if not 0 <= label < len(classifier.classes)]:
        raise CheckpointError(f"was shown class {absent[0]}, but its classifier has classes 0..{len(classifier.classes) - 1}")
    return Hybrid(Preprocessor(network, height), classifier, metadata.spiking), classifier, metadata
