"""Small random networks of every kind, for tests by the million."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from neurocert.models.layers.lif import LIF
from neurocert.models.layers.plastic_flex import MASK_ACTIVATIONS, PlasticFlex
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.registry import build
from neurocert.models.semantics import EulerLeak, FactorLeak, Semantics, Spiking

IMAGE = (2, 4, 4)
ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.Sigmoid,
    nn.Hardsigmoid,
    nn.ReLU6,
    lambda: nn.Hardtanh(-0.3, 0.7),
)


class Spikes(nn.Module):
    """Two spiking layers under a constant current, T steps; potentials are read out beside spikes."""

    def __init__(self, semantics: Spiking, hidden: int) -> None:
        super().__init__()
        self.synapses = nn.ModuleList([nn.Sequential(nn.Flatten(), nn.Linear(32, hidden)), nn.Linear(hidden, 3), nn.Linear(3, 2)])
        self.neurons, self.steps = nn.ModuleList([LIF(semantics), LIF(semantics)]), semantics.time_steps

    def forward(self, x: Tensor) -> Tensor:
        """Args: (B, 2, 4, 4). Returns: (B, 2)."""
        current, states, total = self.synapses[0](x), [None, None], None
        for _ in range(self.steps):
            states[0], spikes = self.neurons[0](states[0], current)
            states[1], spikes = self.neurons[1](states[1], self.synapses[1](spikes))
            read = self.synapses[2](spikes) + self.synapses[2](states[1]) * 0.25
            total = read if total is None else total + read
        assert total is not None
        return total


def random_semantics(choose: random.Random) -> Spiking:
    """Any reset, timing, comparison and leak."""
    reset = choose.choice(("hard", "soft"))
    leaks = (FactorLeak(0.5), FactorLeak(1.0), FactorLeak(choose.random()), EulerLeak(1e-3, 4e-3))
    return Spiking(
        threshold=choose.choice((1.0, 0.5, 0.1)),
        comparison=choose.choice((">", ">=")),
        reset=reset,
        reset_value=choose.choice((0.0, 0.25, -0.5)) if reset == "hard" else 0.0,
        reset_timing=choose.choice(("in-step", "delayed")),
        leak=choose.choice(leaks),
        time_steps=choose.randint(1, 4),
        encoding="direct",
        readout=choose.choice(("mean", "sum")),
    )


def random_network(seed: int) -> nn.Module:
    """A network from (B, 2, 4, 4) to a few outputs, in evaluation mode; the same for the same seed.

    Weights are normal, of random scale, on a grid in every fourth network (so that ties happen), and partly zero.
    """
    choose, generator = random.Random(seed), torch.Generator().manual_seed(seed)  # noqa: S311  (not for secrets)
    network = choose.choice((_dense, _convolutional, _flexible, _spiking, _flex_vgg))(choose)
    scale, grid = choose.choice((0.3, 1.0, 1.0, 3.0)), choose.random() < 0.25
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.randn(value.shape, generator=generator) * scale
            noise[torch.rand(value.shape, generator=generator) < 0.1] = 0.0
            noise = (noise * 4).round() / 4 if grid else noise
            value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else noise)
    return network.eval()


def _dense(choose: random.Random) -> nn.Module:
    sizes = [32, *(choose.randint(2, 8) for _ in range(choose.randint(1, 3)))]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), choose.choice(ACTIVATIONS)()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 3))


def _convolutional(choose: random.Random) -> nn.Module:
    channels = choose.randint(1, 4)
    pool = choose.choice((nn.MaxPool2d(2, 1), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1)))
    front = [nn.Conv2d(2, channels, 3, choose.choice((1, 2)), 1), nn.BatchNorm2d(channels), choose.choice(ACTIVATIONS)()]
    return _with_head(nn.Sequential(*front, pool))


def _flexible(choose: random.Random) -> nn.Module:
    channels = choose.randint(1, 4)
    flex = PlasticFlex(
        2,
        channels,
        (4, 4),
        stride=choose.choice((1, 2)),
        mask=choose.choice(MASK_ACTIVATIONS),
        logits=choose.choice(("threshold", "threshold", "convolution")),
        slope=choose.choice((1.0, 1.0, 2.5)),
        logits_norm=choose.choice((True, True, False)),
        mixing=choose.choice(("mask", "mask", "mask", "maximum")),
    )
    for name, value in flex.named_buffers():
        if name.endswith("stored"):
            value.fill_(0.5)
    return _with_head(nn.Sequential(flex, nn.BatchNorm2d(channels), choose.choice(ACTIVATIONS)()))


def _spiking(choose: random.Random) -> nn.Module:
    return Spikes(random_semantics(choose), choose.randint(2, 6))


def _flex_vgg(choose: random.Random) -> nn.Module:
    return build(
        "flex-vgg",
        {"blocks": [[choose.randint(1, 3), 2]], "hidden": [choose.randint(2, 5)], "mask": choose.choice(("sigmoid", "hard-sigmoid"))},
        inputs=InputSpace(IMAGE, -1.0, 1.0),
        semantics=Semantics(choose.choice((None, random_semantics(choose)))),
        classes=("a", "b", "c"),
        mean=(0.1, -0.2),
        std=(0.5, 2.0),
    )


def _with_head(front: nn.Module) -> nn.Module:
    features = front.eval()(torch.zeros(1, *IMAGE)).numel()
    return nn.Sequential(front, nn.Flatten(), nn.Linear(features, 3))
