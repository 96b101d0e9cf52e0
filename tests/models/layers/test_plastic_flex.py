"""PlasticFlex against its equations, written out position by position."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import ChannelAlignment, MaskActivation, PlasticFlex

CHANNELS, OUT_CHANNELS, SIZE, KERNEL, PADDING = 2, 3, 5, 3, 1


def random_layer(stride: int, mask: MaskActivation) -> PlasticFlex:
    """In evaluation mode, with thresholds and statistics that spread the masks over [0, 1]."""
    torch.manual_seed(0)
    layer = PlasticFlex(CHANNELS, OUT_CHANNELS, (SIZE, SIZE), stride=stride, mask=mask).double().eval()
    norm = layer.routing.norm
    for tensor, low, high in ((layer.routing.threshold, -1, 2), (norm.weight, 1, 5), (norm.bias, -1, 1), (norm.running_mean, -1, 1)):
        nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    return layer


def window(image: Tensor, channel: int, row: int, column: int, stride: int) -> dict[tuple[int, int], float]:
    """The values under the kernel at an output position, by their place in the kernel; padding is left out."""
    places = ((i, j, row * stride + i - PADDING, column * stride + j - PADDING) for i in range(KERNEL) for j in range(KERNEL))
    return {(i, j): image[channel, y, x].item() for i, j, y, x in places if 0 <= y < SIZE and 0 <= x < SIZE}


def convolved(layer: PlasticFlex, image: Tensor, out: int, row: int, column: int, stride: int) -> float:
    weight, bias = layer.convolution.weight, layer.convolution.bias
    assert bias is not None
    products = [
        weight[out, k, i, j].item() * value for k in range(CHANNELS) for (i, j), value in window(image, k, row, column, stride).items()
    ]
    return math.fsum(products) + bias[out].item()


def pooled(image: Tensor, out: int, row: int, column: int, stride: int) -> float:
    """Max pooling, then channel ``out`` of 2 -> 3 channels: 1; .5/.5; 1."""
    first, second = (max(window(image, k, row, column, stride).values()) for k in range(CHANNELS))
    return (first, (first + second) / 2, second)[out]


def mask(layer: PlasticFlex, p: float, out: int, row: int, column: int) -> float:
    """phi(BN(P - theta)), Eq. 3.2."""
    norm, theta = layer.routing.norm, layer.routing.threshold[out, row, column].item()
    assert norm.running_mean is not None and norm.running_var is not None
    standard = (p - theta - norm.running_mean[out].item()) / math.sqrt(norm.running_var[out].item() + norm.eps)
    z = norm.weight[out].item() * standard + norm.bias[out].item()
    if layer.routing.activation == "binary":
        return float(z > 0)
    return 1 / (1 + math.exp(-z)) if layer.routing.activation == "sigmoid" else min(max(z / 6 + 0.5, 0.0), 1.0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("activation", ["sigmoid", "hard-sigmoid", "binary"])
def test_layer_is_equations_3_1_and_3_2(stride: int, activation: MaskActivation) -> None:
    layer = random_layer(stride, activation)
    image = torch.randn(CHANNELS, SIZE, SIZE, dtype=torch.float64)
    output, masks = layer(image[None])[0], layer.mask(image[None])[0]
    height, width = layer.output_size
    assert output.shape == (OUT_CHANNELS, height, width)
    for out in range(OUT_CHANNELS):
        for row in range(height):
            for column in range(width):
                c, p = convolved(layer, image, out, row, column, stride), pooled(image, out, row, column, stride)
                m = mask(layer, p, out, row, column)
                assert masks[out, row, column].item() == pytest.approx(m, abs=1e-12)
                assert output[out, row, column].item() == pytest.approx(m * c + (1 - m) * p, abs=1e-12)
    if activation == "hard-sigmoid":
        assert (masks == 0).any() and (masks == 1).any() and ((masks > 0) & (masks < 1)).any()


def test_alignment_from_3_to_6_channels() -> None:
    expected = [[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0.75, 0.25], [0, 0.25, 0.75], [0, 0, 1]]
    assert ChannelAlignment(3, 6).weight.tolist() == expected


@pytest.mark.parametrize(("channels", "aligned"), [(1, 8), (8, 16), (6, 3), (5, 7), (7, 5), (4, 1)])
def test_alignment_is_an_average(channels: int, aligned: int) -> None:
    weight = ChannelAlignment(channels, aligned).weight
    assert (weight >= 0).all()
    assert weight.sum(1).tolist() == pytest.approx([1.0] * aligned)
    features = torch.rand(2, channels, 3, 3)
    assert torch.allclose(ChannelAlignment(channels, aligned)(features), torch.einsum("oc,bchw->bohw", weight, features))


def test_alignment_of_equal_counts_is_the_identity() -> None:
    features = torch.randn(2, 4, 3, 3)
    assert torch.equal(ChannelAlignment(4, 4)(features), features)


def test_thresholds_are_learned_and_saved() -> None:
    layer = PlasticFlex(1, 2, (4, 4))
    layer(torch.randn(3, 1, 4, 4)).square().sum().backward()
    gradient = layer.routing.threshold.grad
    assert gradient is not None and (gradient != 0).any()
    assert "routing.threshold" in layer.state_dict()


def test_a_binary_mask_learns_by_its_straight_through_estimate() -> None:
    layer = PlasticFlex(1, 2, (4, 4), mask="binary")
    layer(torch.randn(3, 1, 4, 4)).square().sum().backward()
    gradient = layer.routing.threshold.grad
    assert gradient is not None and (gradient != 0).any()


def test_a_frozen_mask_is_what_is_stored() -> None:
    layer = PlasticFlex(1, 2, (4, 4), mask="frozen")
    layer.routing.stored.copy_(torch.rand(2, 4, 4))
    image = torch.randn(3, 1, 4, 4)
    stored, c, p = layer.routing.stored, layer.convolution(image), layer.alignment(layer.pooling(image))
    assert torch.equal(layer(image), stored * c + (1 - stored) * p)
    assert torch.equal(layer.mask(image), stored.expand(3, -1, -1, -1))
    assert "routing.stored" in layer.state_dict() and not list(layer.routing.parameters())


def test_window_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="7x7 window with stride 1 does not fit an input of 4x4"):
        PlasticFlex(1, 2, (4, 4), kernel_size=7, padding=0)


def test_unknown_mask() -> None:
    with pytest.raises(InputError, match="mask is 'relu', expected one of sigmoid, hard-sigmoid"):
        PlasticFlex(1, 2, (4, 4), mask="relu")  # type: ignore[arg-type]
