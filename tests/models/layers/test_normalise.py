from __future__ import annotations

import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.models.layers.normalise import Normalise


def test_normalises_each_channel() -> None:
    image = torch.tensor([1.0, 3.0])[None, :, None, None].expand(1, 2, 2, 2)
    assert torch.equal(Normalise([0.5, 1.0], [0.25, 4.0])(image), torch.tensor([2.0, 0.5])[None, :, None, None].expand(1, 2, 2, 2))


@pytest.mark.parametrize(
    ("mean", "std"),
    [([0.0], [0.0]), ([0.0], [-1.0]), ([0.0], [float("nan")]), ([0.0, 1.0], [1.0]), ([float("nan")], [1.0]), ([0.0], [float("inf")])],
)
def test_refuses(mean: list[float], std: list[float]) -> None:
    with pytest.raises(InputError, match="normalisation"):
        Normalise(mean, std)
