"""Labelled inputs as a value, checked once when made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from neurocert.models.errors import DataError
from neurocert.models.networks.classifier import InputSpace

MAX_ELEMENTS = 2**28  # of one array: 1 GiB as float32; readers check it against a header before they allocate


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and their labels.

    Attributes:
        inputs: float32 (N, C, H, W), finite, in the units of the source.
        labels: int64 (N,), at least 0.
        name: what the source is called.
        sha256: of the source's content (``content_sha256``); a selection keeps the hash of what it was taken from.
    """

    inputs: Tensor
    labels: Tensor
    name: str
    sha256: str

    def __post_init__(self) -> None:
        inputs, labels = self.inputs, self.labels
        self._require(inputs.dtype == torch.float32 and inputs.ndim == 4, f"inputs are {_describe(inputs)}, expected float32 (N, C, H, W)")
        self._require(labels.dtype == torch.int64 and labels.ndim == 1, f"labels are {_describe(labels)}, expected int64 (N,)")
        self._require(len(inputs) == len(labels), f"{len(inputs)} inputs but {len(labels)} labels")
        self._require(inputs.numel() > 0, f"no values: inputs are {_describe(inputs)}")
        wrong = int((~torch.isfinite(inputs)).sum())
        self._require(wrong == 0, f"{wrong} of {inputs.numel()} input values are NaN or infinite")
        self._require(int(labels.min()) >= 0, f"a label is {int(labels.min())}, expected at least 0")

    def _require(self, holds: bool, message: str) -> None:
        if not holds:
            raise DataError(f"{self.name}: {message}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an input."""
        return tuple(self.inputs.shape[1:])

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return self.inputs.min().item(), self.inputs.max().item()

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels at ``indices`` (int64)."""
        return self.inputs[indices], self.labels[indices]

    def take(self, indices: Sequence[int]) -> Samples:
        """The samples at ``indices``, in that order.

        Raises:
            DataError: no index, or one outside 0..N-1.
        """
        outside = [index for index in indices if not 0 <= index < len(self)]
        self._require(not outside, f"no sample {outside[0] if outside else ''}, expected 0..{len(self) - 1}")
        self._require(len(indices) > 0, "no samples selected")
        chosen = torch.tensor(indices, dtype=torch.int64)
        return Samples(self.inputs[chosen], self.labels[chosen], self.name, self.sha256)


class Batches(Protocol):
    """Labelled inputs that need not all be in memory at once; ``Samples`` are, and more."""

    @property
    def labels(self) -> Tensor: ...
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def range(self) -> tuple[float, float]: ...
    def __len__(self) -> int: ...
    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]: ...


def in_order(samples: Batches, size: int, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of ``size`` samples in their order, the first ``most`` of them or all."""
    for indices in torch.arange(len(samples) if most is None else min(most, len(samples))).split(size):
        yield samples.batch(indices)


def make_samples(inputs: Tensor, labels: Tensor, name: str) -> Samples:
    """Samples whose hash is that of their own content.

    Raises:
        DataError: see ``Samples``.
    """
    return Samples(inputs, labels, name, content_sha256(inputs, labels))


def content_sha256(inputs: Tensor, labels: Tensor) -> str:
    """Hash of the shape of ``inputs``, then the little-endian bytes of inputs and labels."""
    digest = hashlib.sha256(repr(tuple(inputs.shape)).encode())
    for tensor in (inputs, labels):
        array = tensor.contiguous().numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def require_fit(samples: Batches, inputs: InputSpace, classes: int) -> None:
    """Checks that a network with that input space and number of classes can be asked about these samples.

    Raises:
        DataError: other image shape, values outside the range, or a label without a class.
    """
    shape = samples.shape
    if shape != inputs.shape:
        raise DataError(f"{samples.name}: images are {_by(shape)}, the network expects {_by(inputs.shape)}")
    low, high = samples.range
    if low < inputs.low or high > inputs.high:
        hint = "scale the images to the network's input range"
        raise DataError(f"{samples.name}: values lie in [{low:g}, {high:g}], the network expects [{inputs.low:g}, {inputs.high:g}]", hint)
    if (largest := int(samples.labels.max())) >= classes:
        raise DataError(f"{samples.name}: a label is {largest}, the network has classes 0..{classes - 1}")


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
