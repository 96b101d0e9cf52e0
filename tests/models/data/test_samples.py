from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neurocert.models.data.samples import Samples, content_sha256, make_samples, require_fit
from neurocert.models.errors import DataError
from neurocert.models.networks.classifier import InputSpace

LABELS = torch.tensor([0, 2, 1])


def images() -> Tensor:
    return torch.linspace(0, 1, 12).reshape(3, 1, 2, 2)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (images().double(), LABELS, r"inputs are float64 \(3, 1, 2, 2\), expected float32"),
        (images()[:, 0], LABELS, r"inputs are float32 \(3, 2, 2\)"),
        (images(), LABELS.int(), r"labels are int32 \(3,\), expected int64"),
        (images(), LABELS[:, None], r"labels are int64 \(3, 1\)"),
        (images(), LABELS[:2], "3 inputs but 2 labels"),
        (images()[:0], LABELS[:0], "no values"),
        (images()[:, :, :0], LABELS, "no values"),
        (images().index_fill(0, torch.tensor(1), math.nan), LABELS, "4 of 12 input values are NaN or infinite"),
        (images().index_fill(0, torch.tensor(0), -math.inf), LABELS, "4 of 12 input values are NaN or infinite"),
        (images(), LABELS - 1, "a label is -1, expected at least 0"),
    ],
)
def test_refuses(inputs: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=f"^somewhere: {message}"):
        Samples(inputs, labels, "somewhere", "0" * 64)


def test_take_keeps_order_and_the_hash_of_the_whole() -> None:
    whole = make_samples(images(), LABELS, "somewhere")
    part = whole.take([2, 0])
    assert len(part) == 2
    assert torch.equal(part.inputs, images()[[2, 0]])
    assert part.labels.tolist() == [1, 0]
    assert (part.name, part.sha256) == (whole.name, whole.sha256)


@pytest.mark.parametrize(
    ("indices", "message"), [([0, 3], "no sample 3, expected 0..2"), ([-1], "no sample -1"), ([], "no samples selected")]
)
def test_take_refuses(indices: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_samples(images(), LABELS, "somewhere").take(indices)


def test_hash_is_of_shape_and_content() -> None:
    hashes = {
        content_sha256(images(), LABELS),
        content_sha256(images().nextafter(torch.tensor(2.0)), LABELS),
        content_sha256(images(), LABELS.flip(0)),
        content_sha256(images().reshape(3, 1, 1, 4), LABELS),
    }
    assert len(hashes) == 4
    assert content_sha256(images().clone(), LABELS.clone()) in hashes


def test_fit() -> None:
    require_fit(make_samples(images(), LABELS, "somewhere"), InputSpace((1, 2, 2), 0.0, 1.0), classes=3)


@pytest.mark.parametrize(
    ("shape", "high", "classes", "message"),
    [
        ((1, 8, 8), 1.0, 3, "images are 1x2x2, the network expects 1x8x8"),
        ((1, 2, 2), 0.5, 3, r"values lie in \[0, 1\], the network expects \[0, 0.5\]"),
        ((1, 2, 2), 1.0, 2, r"a label is 2, the network has classes 0\.\.1"),
    ],
)
def test_misfit(shape: tuple[int, ...], high: float, classes: int, message: str) -> None:
    with pytest.raises(DataError, match=f"^somewhere: {message}"):
        require_fit(make_samples(images(), LABELS, "somewhere"), InputSpace(shape, 0.0, high), classes)
