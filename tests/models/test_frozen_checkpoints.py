"""A frozen mask in a file is zeros and ones of its layer's shape, or the file is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neurocert.models.checkpoints import decode, encode, load, restore, tensors_sha256
from neurocert.models.data.digits import digits
from neurocert.models.errors import CheckpointError
from neurocert.models.schema import CheckpointMetadata
from neurocert.models.training.masks import freeze_masks

Frozen = tuple[dict[str, Tensor], CheckpointMetadata]
NAME = "synapses.0.0.routing.stored"


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    checkpoint = load("digits-flex-ann")
    freeze_masks(checkpoint.network, digits("validation").take(range(20)))
    metadata = checkpoint.metadata
    parameters = {**metadata.architecture.parameters, "mask": "frozen"}
    architecture = metadata.architecture.model_copy(update={"parameters": parameters})
    return dict(checkpoint.network.state_dict()), metadata.model_copy(update={"architecture": architecture})


def signed(tensors: dict[str, Tensor], metadata: CheckpointMetadata) -> CheckpointMetadata:
    """With the hash that fits: a file that was made wrong, rather than damaged."""
    return metadata.model_copy(update={"tensors_sha256": tensors_sha256(tensors)})


@pytest.mark.parametrize("change", [lambda mask: mask, lambda mask: -0.0 * mask], ids=["as stored", "zeros and negative zeros"])
def test_binary_masks_come_back(frozen: Frozen, change: Callable[[Tensor], Tensor]) -> None:
    tensors = {**frozen[0], NAME: change(frozen[0][NAME])}
    network, metadata = restore(tensors, signed(tensors, frozen[1])), signed(tensors, frozen[1])
    again, _ = decode(encode(network, metadata))
    images = digits("test").take(range(5)).inputs
    assert torch.equal(again(images), network(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask * 0.5, "are neither 0 nor 1, expected a frozen mask"),
        (lambda mask: mask - 1, "are neither 0 nor 1, expected a frozen mask"),
        (lambda mask: mask.index_fill(0, torch.tensor([0]), 1 + 2.0**-23), "are neither 0 nor 1"),
        (lambda mask: mask * torch.nan, "values are NaN or infinite"),
        (lambda mask: mask[:, :1], "shape .*, expected"),
        (lambda mask: mask.bool(), "torch.bool, expected torch.float32"),
    ],
    ids=["half", "negative", "just above 1", "nan", "shape", "bool"],
)
def test_wrong_masks_are_refused(frozen: Frozen, change: Callable[[Tensor], Tensor], message: str) -> None:
    tensors = {**frozen[0], NAME: change(frozen[0][NAME])}
    with pytest.raises(CheckpointError, match=message):
        restore(tensors, signed(tensors, frozen[1]))


def test_a_frozen_mask_that_is_missing_or_beside_thresholds(frozen: Frozen) -> None:
    without = {name: tensor for name, tensor in frozen[0].items() if name != NAME}
    both = {**frozen[0], NAME.replace("stored", "threshold"): frozen[0][NAME]}
    for tensors, message in ((without, "missing .*stored"), (both, "unexpected .*threshold")):
        with pytest.raises(CheckpointError, match=message):
            restore(tensors, signed(tensors, frozen[1]))
