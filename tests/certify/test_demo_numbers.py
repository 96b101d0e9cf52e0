"""The shipped digit networks, bounded a second time by an implementation that shares no code with the package.

The reference below reads the file, runs the network on a box of inputs in NumPy's float64, and charges nothing for rounding.
On a box of a single point it is a second forward pass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from neurocert import certify
from neurocert.models.checkpoints import resolve
from neurocert.models.data.digits import digits
from neurocert.models.networks.classifier import Classifier

Array = NDArray[np.float64]
Box = tuple[Array, Array]
NETWORKS = ("digits-flex-ann", "digits-flex-snn")
METHODS = ("interval", "linear")
EPSILONS = (0.005, 0.01, 0.02)
DATA = digits("test").take([0, 1, 5, 40, 123])
PIXELS, RANDOM_CORNERS = 6, 192

for_each_network = pytest.mark.parametrize("name", NETWORKS)


def windows(image: Array, stride: int, border: float) -> Array:
    """(C, H, W) to (C, H', W', 3, 3), the neighbourhoods that a convolution or a pooling with padding 1 sees."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=border)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::stride, ::stride]


def affine(weight: Array, bias: Array | float, box: Box) -> Box:
    """W x + b over a box of vectors."""
    positive, negative = weight.clip(min=0), weight.clip(max=0)
    return positive @ box[0] + negative @ box[1] + bias, positive @ box[1] + negative @ box[0] + bias


def routed(convolved: Box, pooled: Box, slope: Array, offset: Array) -> Box:
    """Extremes of m C + (1 - m) P with m = clip(slope P + offset, 0, 1) over a box of (C, P).

    It is affine in C, and in P a parabola between two straight lines: every extreme lies at an end of C and at an end, a kink
    or a vertex in P.
    """
    values = []
    for c in convolved:
        for p in (*pooled, -offset / slope, (1 - offset) / slope, (slope * c + 1 - offset) / (2 * slope)):
            point = np.clip(p, *pooled)
            mask = np.clip(slope * point + offset, 0, 1)
            values.append(mask * c + (1 - mask) * point)
    return np.min(values, 0), np.max(values, 0)


def constant_current_spikes(current: Box, steps: int) -> list[Box]:
    """Spikes of LIF neurons (V > 1, decay 1/2, hard reset to 0) whose current is the same at every step.

    The train depends on the current alone and changes only where the k-th potential after a reset, c (2 - 2^(1-k)), crosses
    1: both sides of each such point, and the ends, show every train.
    """
    crossings = [1 / (2 - 2.0 ** (1 - k)) for k in range(1, steps + 1)]
    candidates = [*current, *(np.clip(c, *current) for border in crossings for c in (border, np.nextafter(border, 2)))]
    trains = [[] for _ in range(steps)]
    for c in candidates:
        potential = np.zeros_like(c)
        for spikes in trains:
            potential = potential / 2 + c
            spikes.append((potential > 1).astype(float))
            potential = np.where(potential > 1, 0.0, potential)
    return [(np.min(spikes, 0), np.max(spikes, 0)) for spikes in trains]


def changing_current_spikes(currents: list[Box]) -> list[Box]:
    """The same neurons under currents that change from step to step: intervals of potentials and of what a step leaves."""
    lower = upper = np.zeros_like(currents[0][0])
    spikes = []
    for current in currents:
        low, high = lower / 2 + current[0], upper / 2 + current[1]
        certain, possible = low > 1, high > 1
        spikes.append((certain.astype(float), possible.astype(float)))
        lower = np.where(certain, 0, np.where(possible, np.minimum(low, 0), low))
        upper = np.where(certain, 0, np.minimum(high, 1))
    return spikes


@dataclass(frozen=True)
class Reference:
    """A Flex-VGG as its file describes it."""

    tensors: dict[str, Array]
    note: dict[str, Any]

    @classmethod
    def of(cls, name: str) -> Reference:
        with safe_open(resolve(name), "numpy") as file:
            tensors = {key: file.get_tensor(key).astype(np.float64) for key in file.keys()}  # noqa: SIM118
            return cls(tensors, json.loads(file.metadata()["neurocert"]))

    @property
    def strides(self) -> list[int]:
        return [stride for _, stride in self.note["architecture"]["parameters"]["blocks"]]

    def norm(self, place: str) -> tuple[Array, Array]:
        """(scale, shift) of a batch norm, to be spread over positions."""
        weight, bias, mean, variance = (self.tensors[f"{place}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        scale = weight / np.sqrt(variance + 1e-5)
        return scale[:, None, None], (bias - scale * mean)[:, None, None]

    def block(self, index: int, box: Box) -> Box:
        """PlasticFlex, then a batch norm."""
        flex, stride = f"synapses.{index}.0", self.strides[index]
        weight, bias = (self.tensors[f"{flex}.convolution.{part}"] for part in ("weight", "bias"))
        seen = tuple(windows(end, stride, 0.0).transpose(0, 3, 4, 1, 2) for end in box)
        size = seen[0].shape[3:]
        ends = affine(weight.reshape(len(weight), -1), bias[:, None], tuple(end.reshape(-1, size[0] * size[1]) for end in seen))
        convolved = tuple(end.reshape(-1, *size) for end in ends)
        pooled = tuple(self.aligned(windows(end, stride, -np.inf).max((3, 4)), len(weight)) for end in box)
        scale, shift = self.norm(f"{flex}.routing.norm")
        mixed = routed(convolved, pooled, scale / 6, (shift - scale * self.tensors[f"{flex}.routing.threshold"]) / 6 + 0.5)
        scale, shift = self.norm(f"synapses.{index}.1")
        ends = [scale * end + shift for end in mixed]
        return np.minimum(*ends), np.maximum(*ends)

    @staticmethod
    def aligned(image: Array, channels: int) -> Array:
        """Linear interpolation along channels."""
        count = len(image)
        places = (np.arange(channels) + 0.5) * count / channels - 0.5
        rows = np.stack([np.interp(places, np.arange(count), unit) for unit in np.eye(count)], 1)
        return np.tensordot(rows, image, 1)

    def linear(self, place: str, box: Box) -> Box:
        return affine(self.tensors[f"{place}.weight"], self.tensors[f"{place}.bias"], box)

    def last_signals(self, box: Box) -> list[Box]:
        """What the readout sees, over the steps (one for a static network)."""
        normalisation = self.note["normalisation"]
        mean, std = (np.float64(np.float32(normalisation[part][0])) for part in ("mean", "std"))
        signal = self.block(0, ((box[0] - mean) / std, (box[1] - mean) / std))
        spiking = self.note["semantics"]["spiking"]
        if spiking is None:
            for index in range(1, len(self.strides)):
                signal = self.block(index, tuple(end.clip(min=0) for end in signal))
            flat = tuple(end.clip(min=0).ravel() for end in signal)
            return [tuple(end.clip(min=0) for end in self.linear(f"synapses.{len(self.strides)}.1", flat))]
        trains = constant_current_spikes(tuple(end.ravel() for end in signal), spiking["time_steps"])
        return changing_current_spikes([self.linear("synapses.1.1", train) for train in trains])

    def margin(self, box: Box, label: int) -> float:
        """A lower bound of f_y - max f_j; a margin is one row of numbers on what the readout sees, averaged over the steps."""
        weight, bias = self.tensors["readout.weight"], self.tensors["readout.bias"]
        others = [j for j in range(len(bias)) if j != label]
        signals = self.last_signals(box)
        bounds = [affine(weight[label] - weight[others], bias[label] - bias[others], signal)[0] for signal in signals]
        return float(np.mean(bounds, 0).min())

    def margin_at(self, point: Array, label: int) -> float:
        return self.margin((point, point), label)


def box_around(index: int, epsilon: float) -> Box:
    centre = DATA.inputs[index].double().numpy()
    return (centre - epsilon).clip(0, 1), (centre + epsilon).clip(0, 1)


def lower_bounds(name: str, epsilon: float, method: str, arithmetic: str) -> Array:
    """The package's, of every sample."""
    ball = certify.LinfBall(epsilon)
    found = certify.verify(certify.load(name), DATA.inputs, DATA.labels, ball, method, attack=None, arithmetic=arithmetic)
    return np.array([certificate.lower_bound for certificate in found], np.float64)


def corner(centre: Array, signs: Array, epsilon: float) -> NDArray[np.float32]:
    """centre + signs epsilon in float32, cut to [0, 1], one step back where rounding left the set."""
    points = (centre + signs * epsilon).clip(0, 1).astype(np.float32)
    return np.where(np.abs(points.astype(np.float64) - centre) > epsilon, np.nextafter(points, centre.astype(np.float32)), points)


def corners_of(network: Classifier, index: int, epsilon: float) -> Tensor:
    """Corners of the set: all of those in which the most influential pixels differ, the others at what hurts most; and random ones."""
    centre, label = DATA.inputs[index].double().numpy(), DATA.labels[index : index + 1]
    pixels = np.eye(centre.size).reshape(-1, *centre.shape)
    alone = [margins_at(network, corner(centre, sign * pixels, epsilon), label) for sign in (-1, 1)]
    worst_signs = np.where(alone[0] < alone[1], -1.0, 1.0)
    ranking = np.argsort(np.minimum(*alone))
    signs = np.tile(worst_signs, (2**PIXELS, 1))
    signs[:, ranking[:PIXELS]] = list(product((-1, 1), repeat=PIXELS))
    random = np.random.default_rng(index).choice([-1.0, 1.0], (RANDOM_CORNERS, centre.size))
    return torch.from_numpy(corner(centre, np.concatenate([signs, random]).reshape(-1, *centre.shape), epsilon))


def margins_at(network: Classifier, points: NDArray[np.float32] | Tensor, label: Tensor) -> Array:
    """f_y - max f_j, as the network computes it."""
    with torch.no_grad():
        logits = network(torch.as_tensor(points)).double()
    others = logits.index_fill(1, label, -torch.inf).amax(1)
    return (logits[:, int(label)] - others).numpy()


@for_each_network
def test_the_reference_computes_what_the_network_computes(name: str) -> None:
    network, reference = certify.load(name).double(), Reference.of(name)
    for index, label in enumerate(DATA.labels):
        (expected,) = margins_at(network, DATA.inputs[index : index + 1].double(), label[None])
        assert reference.margin_at(DATA.inputs[index].double().numpy(), int(label)) == pytest.approx(expected, rel=1e-12)


@for_each_network
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_interval_bounds_are_those_of_the_reference(name: str, epsilon: float) -> None:
    """Never above it: the reference charges nothing for rounding. How far below is a matter of tightness, not of soundness."""
    reference = Reference.of(name)
    expected = np.array([reference.margin(box_around(index, epsilon), int(label)) for index, label in enumerate(DATA.labels)])
    for arithmetic, slack in (("real", 1e-8), ("float32", 0.02)):
        found = lower_bounds(name, epsilon, "interval", arithmetic)
        assert (found <= expected).all()
        assert (found >= expected - slack).all()


@for_each_network
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_linear_bounds_are_never_worse(name: str, epsilon: float) -> None:
    """Up to rounding, charged in another order; on most samples they are far better."""
    interval, linear = (lower_bounds(name, epsilon, method, "float32") for method in ("interval", "linear"))
    assert (linear >= interval - 1e-3).all()
    assert (linear > interval + 0.05).sum() >= 3


@for_each_network
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_no_corner_lies_below_a_bound(name: str, epsilon: float) -> None:
    """No tolerance: float32 margins against bounds for float32, those of the reference against bounds for real numbers."""
    network, reference = certify.load(name), Reference.of(name)
    computed = np.max([lower_bounds(name, epsilon, method, "float32") for method in METHODS], 0)
    real = np.max([lower_bounds(name, epsilon, method, "real") for method in METHODS], 0)
    for index, label in enumerate(DATA.labels):
        points = corners_of(network, index, epsilon)
        assert (margins_at(network, points, label[None]) >= computed[index]).all()
        exact = [reference.margin_at(point, int(label)) for point in points[: 2**PIXELS].double().numpy()]
        assert min(exact) >= real[index]
