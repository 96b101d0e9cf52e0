"""Weights of a witness survive the report, bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert.certify.reports.weights import pack, unpack
from neurocert.models.errors import InputError, NeurocertError
from neurocert.perturbations.weights import WeightBox


def network_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2))
    network[0].weight.data[0] = 0.0  # a relative tolerance leaves these where they are
    return network


@given(st.integers(0, 2**16), st.sampled_from([1e-9, 0.01, 2.0]), st.sampled_from([("*",), ("0.*",), ("*.bias",)]))
@settings(max_examples=40, deadline=None)
def test_corners_survive(seed: int, relative: float, names: tuple[str, ...]) -> None:
    network, weights = network_of(seed), WeightBox(relative, names=names)
    generator = torch.Generator().manual_seed(seed)
    along = {name: torch.randn(value.shape, generator=generator).round() for name, value in weights.parameters(network).items()}
    changed = weights.corner(along, network)
    again = unpack(pack(changed, weights, network), weights, network)
    assert again.keys() == changed.keys() and all(torch.equal(again[name], changed[name]) for name in changed)


def test_what_is_no_corner_is_refused() -> None:
    network, weights = network_of(0), WeightBox(0.1)
    inner: dict[str, Tensor] = weights.sample(network, torch.Generator().manual_seed(0))
    with pytest.raises(NeurocertError, match="not at the ends of their ranges"):
        pack(inner, weights, network)


def test_signs_that_do_not_fit() -> None:
    network, weights = network_of(0), WeightBox(0.1, names=("0.*",))
    with pytest.raises(InputError, match=r"weights of 1.bias, expected of 0.weight, 0.bias"):
        unpack({"1.bias": "gA=="}, weights, network)
    with pytest.raises(InputError, match="1 bytes of signs, expected those of 3 weights"):
        unpack({"0.bias": "gA=="}, weights, network)
