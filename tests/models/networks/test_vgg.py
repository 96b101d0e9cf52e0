from __future__ import annotations

import pytest
import torch
from torch import nn

from neurocert.models.errors import InputError
from neurocert.models.layers.plastic_flex import PlasticFlex
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.networks.vgg import VGG
from neurocert.models.registry import build
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

SPIKING = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.95), 3, "direct", "mean")
CHANNELS = {
    6: [64, 128, 256, 256],
    11: [64, 128, 256, 256, 512, 512, 512, 512],
    16: [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
}
STRIDES = {6: [1, 2, 1, 2], 11: [2, 2, 1, 2, 1, 2, 1, 2], 16: [1, 2, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2]}
HIDDEN = {6: [1024, 512], 11: [2048, 1024], 16: [4096, 2048]}


def vgg(depth: int, flex: bool, size: int = 32, width: float = 1 / 16, spiking: Spiking | None = None, **more: float) -> Classifier:
    return build(
        "vgg",
        {"depth": depth, "flex": flex, "width": width, **more},
        inputs=InputSpace((1, size, size), 0.0, 1.0),
        semantics=Semantics(spiking),
        classes=tuple("0123456789"),
        mean=(0.1,),
        std=(0.3,),
    )


@pytest.mark.parametrize("flex", [False, True])
@pytest.mark.parametrize("depth", [6, 11, 16])
@torch.no_grad()
def test_tables_of_appendix_b(depth: int, flex: bool) -> None:
    net = vgg(depth, flex).eval()
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [16 * m.out_channels for m in convolutions] == CHANNELS[depth]
    assert all(m.kernel_size == (3, 3) for m in convolutions)
    blocks = len([stride for stride in STRIDES[depth] if stride == 2])
    layers = [m for m in net.modules() if isinstance(m, PlasticFlex)]
    pools = [m for m in net.modules() if isinstance(m, nn.MaxPool2d) and m.stride == 2]
    if flex:
        assert [m.convolution.stride[0] for m in layers] == STRIDES[depth]
        assert all(m.pooling.kernel_size == 3 and m.pooling.stride == m.convolution.stride[0] for m in layers)
    else:
        assert not layers and len(pools) == blocks
        assert {m.stride for m in convolutions} == {(1, 1)}
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [16 * m.out_features for m in linears[:-1]] == HIDDEN[depth]
    assert 16 * linears[0].in_features == CHANNELS[depth][-1] * (32 // 2**blocks) ** 2
    assert net(torch.rand(2, 1, 32, 32)).shape == (2, 10)


@torch.no_grad()
def test_baseline_pools_what_the_neurons_say() -> None:
    net, image = vgg(6, False, 8).eval(), torch.rand(3, 1, 8, 8)
    assert isinstance(net, VGG)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    signal = net.normalise(image)
    for index, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        signal = torch.relu(norm(convolution(signal)))
        signal = torch.max_pool2d(signal, 2) if index % 2 else signal
    signal = signal.flatten(1)
    for linear in linears[:-1]:
        signal = torch.relu(linear(signal))
    assert torch.allclose(net(image), linears[-1](signal), atol=1e-6)


@torch.no_grad()
def test_border_is_padding_before_normalisation() -> None:
    torch.manual_seed(0)
    padded = vgg(6, True, 28, border=2).eval()
    torch.manual_seed(0)
    plain = vgg(6, True, 32).eval()
    image = torch.rand(2, 1, 28, 28)
    assert torch.equal(padded(image), plain(nn.functional.pad(image, (2, 2, 2, 2))))


def test_dropout_comes_after_each_fully_connected_layer_and_only_in_training() -> None:
    net, image = vgg(6, False, 8, dropout=0.5), torch.rand(4, 1, 8, 8)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))


def test_heads_exist_before_the_first_forward_pass() -> None:
    net = vgg(16, True, spiking=SPIKING)
    before = {name for name, _ in net.named_parameters()}
    net.eval()(torch.rand(1, 1, 32, 32))
    assert {name for name, _ in net.named_parameters()} == before


def test_kaiming_normal_weights() -> None:
    torch.manual_seed(0)
    weight = dict(vgg(6, False, 8, width=1.0).named_parameters())["synapses.3.0.weight"]
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


def test_image_too_small() -> None:
    with pytest.raises(InputError, match="VGG11 halves an image 5 times: got 8x8, expected at least 32"):
        vgg(11, True, 8)


def test_unknown_depth() -> None:
    with pytest.raises(InputError, match="depth: Input should be 6, 11 or 16, got 7"):
        vgg(7, True)
    with pytest.raises(InputError, match="depth is 7, expected one of 6, 11, 16"):
        VGG(InputSpace((1, 32, 32), 0.0, 1.0), Semantics(None), ("a", "b"), mean=[0.0], std=[1.0], depth=7, flex=True)
