"""PlasticFlex against its equations, written out position by position."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import ChannelAlignment, LocalRouting, MaskActivation, MaskRouting, PlasticFlex

CHANNELS, OUT_CHANNELS, SIZE, KERNEL, PADDING = 2, 3, 5, 3, 1


def random_layer(stride: int, mask: MaskActivation, slope: float = 1.0) -> PlasticFlex:
    """In evaluation mode, with thresholds and statistics that spread the masks over [0, 1]."""
    torch.manual_seed(0)
    layer = PlasticFlex(CHANNELS, OUT_CHANNELS, (SIZE, SIZE), stride=stride, mask=mask, slope=slope).double().eval()
    assert isinstance(layer.routing, MaskRouting)
    norm = layer.routing.norm
    assert norm is not None
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
    assert isinstance(layer.routing, MaskRouting)
    norm, theta = layer.routing.norm, layer.routing.threshold[out, row, column].item()
    assert norm is not None and norm.running_mean is not None and norm.running_var is not None
    standard = (p - theta - norm.running_mean[out].item()) / math.sqrt(norm.running_var[out].item() + norm.eps)
    z = layer.routing.slope * (norm.weight[out].item() * standard + norm.bias[out].item())
    if layer.routing.activation in ("binary", "hard-sigmoid-ste"):
        return float(z > 0)
    return 1 / (1 + math.exp(-z)) if layer.routing.activation == "sigmoid" else min(max(z / 6 + 0.5, 0.0), 1.0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("activation", "slope"), [("sigmoid", 1.0), ("sigmoid", 2.5), ("hard-sigmoid", 1.0), ("binary", 1.0), ("hard-sigmoid-ste", 1.0)]
)
def test_layer_is_equations_3_1_and_3_2(stride: int, activation: MaskActivation, slope: float) -> None:
    layer = random_layer(stride, activation, slope)
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
    gradient = dict(layer.named_parameters())["routing.threshold"].grad
    assert gradient is not None and (gradient != 0).any()
    assert "routing.threshold" in layer.state_dict()


@pytest.mark.parametrize(("mask", "width", "slope"), [("binary", 0.5, 1.0), ("hard-sigmoid-ste", 3.0, 1 / 6)])
def test_a_binary_mask_learns_by_its_straight_through_estimate(mask: MaskActivation, width: float, slope: float) -> None:
    """The gradient of the logits is dy/dM = C - P times the estimate, written out."""
    routing = MaskRouting(2, 3, 3, mask, logits_norm=False)
    nn.init.uniform_(routing.threshold, -4, 4)
    c, p = torch.randn(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    routing(c, p).sum().backward()
    z = -routing.threshold.detach()
    estimate = torch.where(z.abs() < width, slope, 0.0)
    assert routing.threshold.grad is not None
    assert torch.allclose(routing.threshold.grad, -(c - p)[0] * estimate)
    assert 0 < int((estimate > 0).sum()) < estimate.numel()


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("norm", [True, False])
def test_local_mask_is_a_1x1_convolution_of_the_input(stride: int, norm: bool) -> None:
    torch.manual_seed(2)
    layer = PlasticFlex(CHANNELS, OUT_CHANNELS, (SIZE, SIZE), stride=stride, logits="convolution", logits_norm=norm).double().eval()
    routing = layer.routing
    assert isinstance(routing, LocalRouting)
    for value in (routing.logits.weight, routing.logits.bias):
        assert value is not None
        nn.init.uniform_(value, -3, 3)
    mean, variance = (0.3, 2.0) if norm else (0.0, 1.0)
    if routing.norm is not None and routing.norm.running_mean is not None and routing.norm.running_var is not None:
        routing.norm.running_mean.fill_(mean)
        routing.norm.running_var.fill_(variance)
    image = torch.randn(CHANNELS, SIZE, SIZE, dtype=torch.float64)
    output, masks = layer(image[None])[0], layer.mask(image[None])[0]
    assert output.shape == masks.shape == (OUT_CHANNELS, *layer.output_size)
    for row in range(layer.output_size[0]):
        for column in range(layer.output_size[1]):
            assert routing.logits.bias is not None
            products = [routing.logits.weight[0, k, 0, 0] * image[k, row * stride, column * stride] for k in range(CHANNELS)]
            z = (float(sum(products)) + routing.logits.bias.item() - mean) / math.sqrt(variance + (1e-5 if norm else 0.0))
            m = min(max(z / 6 + 0.5, 0.0), 1.0)
            for out in range(OUT_CHANNELS):
                c, p = convolved(layer, image, out, row, column, stride), pooled(image, out, row, column, stride)
                assert masks[out, row, column].item() == pytest.approx(m, abs=1e-12)
                assert output[out, row, column].item() == pytest.approx(m * c + (1 - m) * p, abs=1e-12)


def test_threshold_logits_without_a_norm() -> None:
    routing = MaskRouting(1, 1, 1, "hard-sigmoid", logits_norm=False)
    routing.threshold.data.fill_(0.25)
    assert routing.mask(torch.full((1, 1, 1, 1), 1.75)).item() == pytest.approx(1.5 / 6 + 0.5)
    assert [name for name, _ in routing.named_parameters()] == ["threshold"]


@torch.no_grad()
def test_the_greater_branch() -> None:
    layer = PlasticFlex(1, 2, (4, 4), mixing="maximum")
    image = torch.randn(3, 1, 4, 4)
    c, p = layer.convolution(image), layer.alignment(layer.pooling(image))
    assert torch.equal(layer(image), torch.where(c > p, c, p))
    assert torch.equal(layer.mask(image), (c > p).float())
    assert 0 < layer.mask(image).mean() < 1


@torch.no_grad()
@pytest.mark.parametrize("logits", ["threshold", "convolution"])
def test_a_frozen_mask_is_what_was_binarised_and_stored(logits: Literal["threshold", "convolution"]) -> None:
    layer = PlasticFlex(1, 2, (4, 4), logits=logits)
    mean = torch.rand(2, 4, 4)
    mean[0, 0, 0] = 0.5
    layer.freeze(mean)
    stored = (mean >= 0.5).float()
    image = torch.randn(3, 1, 4, 4)
    c, p = layer.convolution(image), layer.alignment(layer.pooling(image))
    assert torch.equal(layer(image), stored * c + (1 - stored) * p)
    assert torch.equal(layer.mask(image), stored.expand(3, -1, -1, -1))
    assert sorted(layer.state_dict()) == ["convolution.bias", "convolution.weight", "routing.stored"]
    loaded = PlasticFlex(1, 2, (4, 4), logits=logits, mask="frozen")
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded(image), layer(image))


def test_a_frozen_mask_that_was_never_stored() -> None:
    with pytest.raises(InputError, match="the mask is frozen, but none is stored"):
        PlasticFlex(1, 2, (4, 4), mask="frozen")(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("mask", [torch.zeros(2, 4, 3), torch.full((2, 4, 4), 1.5), torch.full((2, 4, 4), torch.nan)])
def test_what_cannot_be_frozen(mask: Tensor) -> None:
    with pytest.raises(InputError, match=r"mask to freeze: got shape .*, expected \(2, 4, 4\) with values in \[0, 1\]"):
        PlasticFlex(1, 2, (4, 4)).freeze(mask)
    with pytest.raises(InputError, match="has no mask to freeze"):
        PlasticFlex(1, 2, (4, 4), mixing="maximum").freeze(torch.zeros(2, 4, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logits": "fourier"}, "logits is 'fourier', expected one of threshold, convolution"),
        ({"mixing": "minimum"}, "mixing is 'minimum', expected one of mask, maximum"),
        ({"slope": 0.0}, "slope is 0.0, expected a positive number"),
        ({"slope": math.nan}, "slope is nan"),
        ({"logits": "convolution", "kernel_size": 2, "padding": 0}, "1x1 logits with stride 1 do not fit the 3x3 outputs of a 2x2 window"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PlasticFlex(1, 2, (4, 4), **options)


def test_window_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="7x7 window with stride 1 does not fit an input of 4x4"):
        PlasticFlex(1, 2, (4, 4), kernel_size=7, padding=0)


def test_unknown_mask() -> None:
    with pytest.raises(InputError, match="mask is 'relu', expected one of sigmoid, hard-sigmoid"):
        PlasticFlex(1, 2, (4, 4), mask="relu")  # type: ignore[arg-type]
