"""The networks that are measured, and for each what another tool can read: the same function from elementary operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.layers.lif import LIF
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import MaskRouting, PlasticFlex
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.networks.flex_vgg import FlexVGG
from neurocert.models.registry import build
from neurocert.models.semantics import FactorLeak, Semantics, Spiking

CLASSES = tuple("0123456789")
DECAY, THRESHOLD = 0.5, 1.0
VGG6 = {"blocks": [[64, 1], [128, 2], [256, 2], [512, 2]], "hidden": [512]}
VGG16_STRIDES = {1: 2, 3: 2, 6: 2, 9: 2, 12: 2}
VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def relu_convolution() -> nn.Module:
    """1x28x28 - conv 16/2 - conv 32/2 - 100 - 10."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


class SpikingNetwork(Classifier):
    """Synapses with LIF neurons (hard reset to 0, `>`, the same image at each step), a linear readout, the mean over steps."""

    def __init__(self, shape: tuple[int, ...], synapses: list[nn.Module], readout: nn.Linear, time_steps: int) -> None:
        spiking = Spiking(
            threshold=THRESHOLD, comparison=">", reset="hard", reset_value=0.0, reset_timing="in-step", leak=FactorLeak(DECAY),
            time_steps=time_steps, encoding="direct", readout="mean",
        )  # fmt: skip
        super().__init__(InputSpace(shape, 0.0, 1.0), Semantics(spiking), CLASSES)
        self.synapses, self.readout, self.time_steps = nn.ModuleList(synapses), readout, time_steps
        self.neurons = nn.ModuleList(LIF(spiking) for _ in synapses)

    def forward(self, image: Tensor) -> Tensor:
        """Args: (B, *shape). Returns: logits (B, 10)."""
        current = self.synapses[0](image)
        states: list[Tensor | None] = [None] * len(self.neurons)
        total: Tensor | None = None
        for _ in range(self.time_steps):
            signal = current
            for layer, neuron in enumerate(self.neurons):
                states[layer], signal = neuron(states[layer], self.synapses[layer](signal) if layer else signal)
            logits = self.readout(signal)
            total = logits if total is None else total + logits
        assert total is not None
        return total / self.time_steps


class ElementarySpikes(nn.Module):
    """A ``SpikingNetwork`` unrolled: heaviside, products and sums."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.synapses, self.readout, self.time_steps = network.synapses, network.readout, network.time_steps
        self.at_threshold = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """As the network's."""
        current = self.synapses[0](image)
        potentials: list[Tensor | None] = [None] * len(self.synapses)
        total: Tensor | None = None
        for _ in range(self.time_steps):
            signal = current
            for layer, synapse in enumerate(self.synapses):
                drive = synapse(signal) if layer else signal
                before = potentials[layer]
                potential = drive if before is None else before + drive
                signal = torch.heaviside(potential - THRESHOLD, self.at_threshold)
                potentials[layer] = DECAY * potential * (1 - signal)
            logits = self.readout(signal)
            total = logits if total is None else total + logits
        assert total is not None
        return total / self.time_steps


def spiking_digits(time_steps: int) -> SpikingNetwork:
    """64 - 100 LIF - 10."""
    return SpikingNetwork((64,), [nn.Linear(64, 100)], nn.Linear(100, 10), time_steps)


def spiking_convolution(time_steps: int) -> SpikingNetwork:
    """1x14x14 - conv 8/2 LIF - 64 LIF - 10."""
    synapses = [nn.Conv2d(1, 8, 3, 2, 1), nn.Sequential(nn.Flatten(), nn.Linear(8 * 49, 64))]
    return SpikingNetwork((1, 14, 14), synapses, nn.Linear(64, 10), time_steps)


def flex_vgg6() -> FlexVGG:
    """Four PlasticFlex blocks (8, 16, 32, 64 channels at width 1/8), one hidden layer, ReLU, MNIST."""
    return _flex({**VGG6, "width": 1 / 8}, (1, 28, 28))


def flex_vgg16() -> FlexVGG:
    """Thirteen PlasticFlex blocks and two hidden layers at width 1/4, 3x224x224."""
    blocks = [(channels, VGG16_STRIDES.get(index, 1)) for index, channels in enumerate(VGG16_CHANNELS)]
    return _flex({"blocks": blocks, "hidden": [4096, 4096], "width": 1 / 4}, (3, 224, 224))


def _flex(parameters: dict[str, object], shape: tuple[int, int, int]) -> FlexVGG:
    mean = [0.5] * shape[0]
    network = build(
        "flex-vgg", parameters, inputs=InputSpace(shape, 0.0, 1.0), semantics=Semantics(None), classes=CLASSES, mean=mean, std=mean
    )
    assert isinstance(network, FlexVGG)
    return network


class ElementaryFlex(nn.Module):
    """A static Flex-VGG from convolutions, ReLUs, sums and products.

    max(a, b) = a + relu(b - a), and a hard sigmoid is a difference of two ReLUs. Pooling comes before the normalisation
    that is then common to both branches, so that its zero padding never wins.
    """

    def __init__(self, network: FlexVGG) -> None:
        super().__init__()
        self.normalise, self.readout = network.normalise, network.readout
        self.blocks = nn.ModuleList(
            nn.Sequential(_ElementaryBlock(synapse[0], index == 0 and self.normalise), synapse[1])
            if isinstance(synapse, nn.Sequential) and isinstance(synapse[0], PlasticFlex) else synapse
            for index, synapse in enumerate(network.synapses)
        )  # fmt: skip

    def forward(self, signal: Tensor) -> Tensor:
        """As the network's."""
        for block in self.blocks:
            signal = functional.relu(block(signal))
        return self.readout(signal)


class _ElementaryBlock(nn.Module):
    def __init__(self, flex: PlasticFlex, normalise: Normalise | bool) -> None:
        super().__init__()
        self.convolution, self.alignment, self.routing = flex.convolution, flex.alignment, flex.routing
        self.normalise = normalise or nn.Identity()
        self.pooling = _ElementaryPooling(flex.convolution.in_channels, flex.convolution.stride[0])
        self.mask = _ElementaryMask(flex.routing)

    def forward(self, features: Tensor) -> Tensor:
        convolved = self.convolution(self.normalise(features))
        pooled = self.alignment(self.normalise(self.pooling(features)))
        mask = self.mask(pooled)
        return mask * convolved + (1 - mask) * pooled


class _ElementaryMask(nn.Module):
    def __init__(self, routing: MaskRouting) -> None:
        super().__init__()
        self.threshold, self.norm = routing.threshold, routing.norm

    def forward(self, pooled: Tensor) -> Tensor:
        ramp = self.norm(pooled - self.threshold) / 6 + 0.5
        return functional.relu(ramp) - functional.relu(ramp - 1)


class _ElementaryPooling(nn.Module):
    """3x3 maximum of nonnegative values, padding 1: first down the columns, then along the rows, by fixed convolutions."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        shape = {"column": (3, 1), "row": (1, 3)}
        for axis, size in shape.items():
            for name, taps in (("rise", (1.0, -1.0, 0.0)), ("last", (0.0, 0.0, 1.0))):
                convolution = nn.Conv2d(channels, channels, size, padding=(size[0] // 2, size[1] // 2), bias=False)
                convolution.weight = nn.Parameter(torch.eye(channels)[:, :, None, None] * torch.tensor(taps).view(1, 1, *size))
                setattr(self, f"{axis}_{name}", convolution)
        self.pick = nn.Conv2d(channels, channels, 1, stride, bias=False)
        self.pick.weight = nn.Parameter(torch.eye(channels)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        for rise, last in ((self.column_rise, self.column_last), (self.row_rise, self.row_last)):
            two = x + functional.relu(rise(x))
            x = two + functional.relu(last(x) - two)
        return self.pick(x)
