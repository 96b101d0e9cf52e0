"""Every rule that a rational number can follow, against exact rational arithmetic: no rounding on the oracle's side, no tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import REAL
from neurocert.certify.bounds.backward import InputSet, Mixes
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.errors import NumericalFailure
from neurocert.models.layers.lif import LIF
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.plastic_flex import ChannelAlignment, MaskRouting
from neurocert.models.semantics import EulerLeak, FactorLeak, Spiking
from neurocert.perturbations.balls import LinfBall

Numbers = Any
"""A numpy array of ``Fraction``: numpy's +, -, *, @, comparisons and reductions are exact on it."""
Exact = Callable[[Numbers], Numbers]
NUMBERS = (0.0, 1e-30, -1e-30, 1e6, -1e6, 0.5, -0.5, 1.0, -1.0, 0.1, 0.3, -0.3, 3.0, -3.0, 1e-9)
WIDTHS = (0.0, 0.0, 1e-30, 1e-9, 0.25, 1.0, 3.0, 1e6)


@dataclass(frozen=True, eq=False)
class Box(LinfBall):
    """Any box, degenerate or wide; its points need no centre."""

    ends: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))

    def box(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        return self.ends


class Of(nn.Module):
    """A function of the input as a network."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers)


def fractions(x: Tensor) -> Numbers:
    return np.vectorize(Fraction, otypes=[object])(x.detach().double().numpy())


def at_most(x: Numbers, bound: Any) -> Numbers:
    return np.where(x > bound, bound, x)


def at_least(x: Numbers, bound: Any) -> Numbers:
    return np.where(x < bound, bound, x)


def numbers(generator: np.random.Generator, *shape: int) -> Tensor:
    """Special numbers, their neighbours, and random ones."""
    special = generator.choice(NUMBERS, shape) + generator.choice((0.0, 1.0, -1.0), shape) * 10.0 ** generator.uniform(-18, -2, shape)
    return torch.from_numpy(np.where(generator.random(shape) < 0.6, special, generator.normal(0, 2, shape)))


def box(generator: np.random.Generator, *shape: int) -> tuple[Tensor, Tensor]:
    lower = numbers(generator, 1, *shape)
    width = generator.choice(WIDTHS, lower.shape) * generator.random(lower.shape)
    return lower, torch.maximum(lower, lower + torch.from_numpy(width))


def filled(network: nn.Module, generator: np.random.Generator) -> nn.Module:
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            drawn = numbers(generator, *value.shape)
            value.copy_(torch.from_numpy(generator.choice((0.25, 1.0, 4.0), value.shape)) if name.endswith("running_var") else drawn)
    return network.double().eval()


def points(ends: tuple[Tensor, Tensor], generator: np.random.Generator, count: int = 6) -> Iterator[Numbers]:
    """Corners and rational points between them."""
    lower, upper = map(fractions, ends)
    for index in range(count):
        share = generator.integers(0, 2, lower.shape) if index < 4 else generator.integers(0, 33, lower.shape) * Fraction(1, 32)
        yield lower + (upper - lower) * share


def all_bounds(network: nn.Module, ends: tuple[Tensor, Tensor], seed: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name, lower, upper) of every way to bound the outputs."""
    captured = capture(network, tuple(ends[0].shape[1:]))
    shape = captured.shape(captured.output)
    units = torch.eye(shape.numel(), dtype=torch.float64)[:, None].unflatten(2, shape)
    for (name, graph), refine in product((("captured", captured), ("simplified", simplify(captured, REAL))), (False, True)):
        found = Propagation(graph, InputSet(Box(0.0, ends=ends), ends[0]), REAL, refine=refine)
        yield f"{name} interval, refine {refine}", found.bounds[graph.output].lower.flatten(), found.bounds[graph.output].upper.flatten()
        for mixed in (None, seed):
            lower, upper = (found.backward(graph.output, sign * units, leant(found, units, sign, mixed))[:, 0] for sign in (1, -1))
            yield f"{name} linear, refine {refine}, mix {mixed}", lower, -upper


def leant(found: Propagation, units: Tensor, sign: int, seed: int | None) -> Mixes | None:
    if seed is None:
        return None
    mixes, generator = Mixes(), torch.Generator().manual_seed(seed)
    found.backward(found.graph.output, sign * units, mixes)
    for mix in mixes.values.values():
        mix.copy_(torch.rand(mix.shape, generator=generator, dtype=mix.dtype).mul(3).sub(1.5).clamp(-1, 1))
    return mixes


def violations(network: nn.Module, exact: Exact, ends: tuple[Tensor, Tensor], seed: int) -> list[str]:
    """Every bound that an exact value breaks."""
    with torch.no_grad():
        bounds = [(name, fractions(lower), fractions(upper)) for name, lower, upper in all_bounds(network, ends, seed)]
    found = []
    for point in points(ends, np.random.default_rng(seed)):
        values = exact(point).ravel()
        for name, lower, upper in bounds:
            broken = np.flatnonzero((values < lower) | (values > upper))
            found += [
                f"{name}: {float(values[i])!r} outside [{float(lower[i])!r}, {float(upper[i])!r}] at {point.tolist()}" for i in broken
            ]
    return found


Case = Callable[[np.random.Generator], tuple[nn.Module, Exact, tuple[int, ...]]]
"""(network, what it computes, input shape)."""


def elementwise(make: Callable[[], Any], exact: Exact) -> Case:
    return lambda generator: (nn.Sequential(make()) if isinstance(made := make(), nn.Module) else Of(made), exact, (5,))


def clip(low: Any, high: Any) -> Exact:
    return lambda x: at_most(at_least(x, Fraction(low)), Fraction(high))


def linear(generator: np.random.Generator) -> Any:
    layer = filled(nn.Linear(4, 3), generator)
    return nn.Sequential(layer), lambda x: x @ fractions(layer.weight).T + fractions(layer.bias), (4,)


def windows(x: Numbers, kernel: int, stride: int, padding: int, fill: Any) -> Numbers:
    """(B, C, H, W) to (B, C, H', W', kernel, kernel)."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]


def convolution(generator: np.random.Generator) -> Any:
    layer = filled(nn.Conv2d(2, 3, 2, 2, 1), generator)
    weight, bias = fractions(layer.weight), fractions(layer.bias)

    def exact(x: Numbers) -> Numbers:
        seen = windows(x, 2, 2, 1, Fraction(0))
        return np.stack(
            [(seen * kernel[None, :, None, None]).sum((1, 4, 5)) + shift for kernel, shift in zip(weight, bias, strict=True)], 1
        )

    return nn.Sequential(layer), exact, (2, 3, 3)


def batch_norm(generator: np.random.Generator) -> Any:
    layer = filled(nn.BatchNorm2d(2, eps=0.0), generator)
    return nn.Sequential(layer), lambda x: normalised(layer, x), (2, 2, 1)


def normalised(layer: nn.BatchNorm2d, x: Numbers) -> Numbers:
    """Variances are squares of powers of 2, eps is 0."""
    mean, deviation, weight, bias = (
        fractions(value)[:, None, None] for value in (layer.running_mean, layer.running_var.sqrt(), layer.weight, layer.bias)
    )
    return (x - mean) / deviation * weight + bias


def normalise(generator: np.random.Generator) -> Any:
    layer = Normalise((0.1, -0.2), (0.3, 2.0)).double()
    return nn.Sequential(layer), lambda x: (x - fractions(layer.mean)) / fractions(layer.std), (2, 2, 1)


def alignment(generator: np.random.Generator) -> Any:
    layer = ChannelAlignment(2, 3).double()
    return nn.Sequential(layer), lambda x: np.moveaxis(np.moveaxis(x, 1, -1) @ fractions(layer.weight).T, -1, 1), (2, 2, 1)


def max_pool(generator: np.random.Generator) -> Any:
    return nn.Sequential(nn.MaxPool2d(2, 1, 1)), lambda x: windows(x, 2, 1, 1, Fraction(-(10**40))).max((4, 5)), (1, 2, 2)


def average_pool(generator: np.random.Generator) -> Any:
    return nn.Sequential(nn.AvgPool2d(2, 1, 1)), lambda x: windows(x, 2, 1, 1, Fraction(0)).sum((4, 5)) / 4, (1, 2, 2)


def routing(activation: Any) -> Case:
    def case(generator: np.random.Generator) -> Any:
        layer = MaskRouting(2, 1, 2, activation)
        if activation != "frozen":
            layer.norm = nn.BatchNorm2d(2, eps=0.0)
        filled(layer, generator)

        def exact(x: Numbers) -> Numbers:
            convolved, pooled = x[:, :2], x[:, 2:]
            if activation == "frozen":
                mask = fractions(layer.stored)
            else:
                logits = normalised(layer.norm, pooled - fractions(layer.threshold))
                mask = (
                    clip(0, 1)(logits / 6 + Fraction(1, 2))
                    if activation == "hard-sigmoid"
                    else np.where(logits > 0, Fraction(1), Fraction(0))
                )
            return mask * convolved + (1 - mask) * pooled

        return Of(lambda x, layer: layer(x[:, :2], x[:, 2:]), layer).eval(), exact, (4, 1, 2)

    return case


def fire(neurons: LIF, state: Numbers | None, current: Numbers) -> tuple[Numbers, Numbers]:
    """One step in exact arithmetic."""
    step, drive = neurons.fire, Fraction(neurons.gain) * current
    potential = drive if state is None else state + drive
    fired = potential > Fraction(step.threshold) if step.comparison == ">" else potential >= Fraction(step.threshold)
    spikes, leaked, amount = np.where(fired, Fraction(1), Fraction(0)), potential * Fraction(step.retention), Fraction(step.reset_amount)
    return (leaked * (1 - spikes) if step.hard else leaked - 2 * amount * spikes) + amount * spikes, spikes


SEMANTICS = [
    (reset, value, timing, comparison, leak)
    for reset, value in (("hard", 0.0), ("hard", 0.25), ("soft", 0.0))
    for timing in ("in-step", "delayed")
    for comparison in (">", ">=")
    for leak in (FactorLeak(0.5), FactorLeak(1.0), FactorLeak(0.0), FactorLeak(0.9), EulerLeak(1e-3, 4e-3))
]


def spiking(generator: np.random.Generator) -> Any:
    reset, value, timing, comparison, leak = SEMANTICS[generator.integers(len(SEMANTICS))]
    semantics = Spiking(float(generator.choice((1.0, 0.5))), comparison, reset, value, timing, leak, 3, "direct", "mean")
    neurons = LIF(semantics)
    reads = bool(generator.integers(2))

    def run(step: Callable[..., Any], x: Any) -> Any:
        state, total = None, 0
        for weight in (1, -2, 4):
            state, spikes = step(state, x)
            total = total + spikes * weight + (state * 3 if reads else 0)
        return total

    return Of(lambda x, layer: run(layer, x), neurons), lambda x: run(lambda *given: fire(neurons, *given), x), (4,)


def attention_scores(x: Numbers) -> Numbers:
    return x @ np.swapaxes(x, 1, 2)


CASES: dict[str, Case] = {
    "linear": linear,
    "convolution": convolution,
    "batch norm": batch_norm,
    "normalise": normalise,
    "alignment": alignment,
    "max pool": max_pool,
    "average pool": average_pool,
    "routing, hard sigmoid": routing("hard-sigmoid"),
    "routing, binary": routing("binary"),
    "routing, frozen": routing("frozen"),
    "spiking": spiking,
    "relu": elementwise(nn.ReLU, lambda x: at_least(x, 0)),
    "leaky relu": elementwise(lambda: nn.LeakyReLU(0.1), lambda x: np.where(x > 0, x, Fraction(0.1) * x)),
    "clip": elementwise(lambda: nn.Hardtanh(-0.3, 0.1), clip(-0.3, 0.1)),
    "hard sigmoid": elementwise(nn.Hardsigmoid, lambda x: clip(0, 1)(x / 6 + Fraction(1, 2))),
    "hard swish": elementwise(nn.Hardswish, lambda x: x * clip(0, 1)(x / 6 + Fraction(1, 2))),
    "absolute": elementwise(lambda: torch.abs, abs),
    "sums": elementwise(lambda: lambda x: (x + 0.1) - (0.3 - x), lambda x: 2 * x + Fraction(0.1) - Fraction(0.3)),
    "products with constants": elementwise(lambda: lambda x: (x * 0.1) / 0.3, lambda x: x * Fraction(0.1) / Fraction(0.3)),
    "squares": elementwise(lambda: lambda x: x * x - x**2 + torch.square(x), lambda x: x * x),
    "residual": elementwise(lambda: lambda x: x - torch.relu(x), lambda x: at_most(x, 0)),
    "products": elementwise(lambda: lambda x: x * x.flip(1), lambda x: x * x[:, ::-1]),
    "quotients": elementwise(lambda: lambda x: x / (abs(x.flip(1)) + 1), lambda x: x / (abs(x[:, ::-1]) + 1)),
    "larger": elementwise(lambda: lambda x: torch.maximum(x, x.flip(1)), lambda x: np.maximum(x, x[:, ::-1])),
    "smaller": elementwise(lambda: lambda x: torch.minimum(x, x.flip(1)), lambda x: np.minimum(x, x[:, ::-1])),
    "steps": elementwise(lambda: lambda x: torch.sign(x) + (x > 0.5).double(), lambda x: (x > 0) * 1 - (x < 0) * 1 + (x > 0.5) * 1),
    "comparisons": elementwise(lambda: lambda x: (x >= x.flip(1)).double(), lambda x: (x >= x[:, ::-1]) * Fraction(1)),
    "choices": elementwise(lambda: lambda x: torch.where(x > 0.5, x, 2 - x.flip(1)), lambda x: np.where(x > 0.5, x, 2 - x[:, ::-1])),
    "matrix products": lambda generator: (Of(lambda x: x @ x.mT), attention_scores, (2, 2)),
}


@pytest.mark.parametrize("case", CASES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_no_exact_value_leaves_the_bounds(case: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    network, exact, shape = CASES[case](generator)
    try:
        found = violations(network.double().eval(), exact, box(generator, *shape), seed)
    except NumericalFailure:  # bounds that contradict each other by less than rounding: no bound is claimed
        return
    assert not found, f"{len(found)} violations, first: {found[0]}"
