"""Bounds and times of this package beside auto_LiRPA's, on the same networks, sets and machine, in one process.

    OMP_NUM_THREADS=1 python benchmarks/peers.py --out benchmarks/results/peers.json [--only NAME] [--mnist FOLDER]

Networks are trained briefly from a fixed seed. Bounds are about real arithmetic: ours rounded outward in float64,
auto_LiRPA's as float64 gives them. Its times are those of float32, in which it runs by default; ours are float64's.
Converting a network (its ``BoundedModule``, our ``capture``) is timed apart. Targets that are missed are written down as missed.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import surroundings, timed
from networks import (
    ElementaryFlex,
    ElementarySpikes,
    SpikingNetwork,
    flex_vgg6,
    flex_vgg16,
    relu_convolution,
    spiking_convolution,
    spiking_digits,
)
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.backends.compatibility import contained, library
from neurocert.certify.bounds.arithmetic import REAL
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.optimise import Ascent, optimised_lower
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.verifiers.margins import margin_coefficients
from neurocert.models.data.source import load_samples
from neurocert.perturbations.balls import LinfBall

SEED = 0
CLASSES = 10
EVERY_ROW = Ascent(steps=60, decay=0.98, enough=torch.inf)
Bounds = tuple[Tensor, Tensor]


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """Adam on cross-entropy, batches of 50."""
    optimiser = torch.optim.Adam(network.parameters(), 0.003)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            optimiser.zero_grad()
            functional.cross_entropy(network.train()(images[batch]), labels[batch]).backward()
            optimiser.step()
    return network.eval()


def ours(network: nn.Module, images: Tensor, epsilon: float, rows: Tensor, *, refine: bool = True) -> Tensor:
    """Lower bounds (R, B) of linear functions ``rows`` (R, B or 1, 10) of the logits; captures nothing, see ``captured``."""
    inputs = InputSet(LinfBall(epsilon, 0.0, 1.0), images)
    with torch.no_grad():
        graph = captured(network, images)
        return Propagation(graph, inputs, REAL, refine=refine).lower(graph.output, rows, affine_only=not refine)


_captured: dict[int, Any] = {}


def captured(network: nn.Module, images: Tensor) -> Any:
    """The network's graph, made once."""
    if id(network) not in _captured:
        _captured[id(network)] = simplify(capture(network, tuple(images.shape[1:])), REAL)
    return _captured[id(network)]


def our_widths(network: nn.Module, images: Tensor, epsilon: float, *, refine: bool = True) -> Bounds:
    """(lower, upper) bounds (B, 10) of the logits."""
    unit = torch.eye(CLASSES, dtype=torch.float64)[:, None]
    below, above = ours(network, images, epsilon, torch.cat([unit, -unit]), refine=refine).chunk(2)
    return below.T, -above.T


def optimised_widths(network: nn.Module, images: Tensor, epsilon: float) -> Bounds:
    """As ``our_widths``, with the slopes of each logit's bounds optimised."""
    inputs = InputSet(LinfBall(epsilon, 0.0, 1.0), images)
    unit = torch.eye(CLASSES, dtype=torch.float64)[:, None]
    with torch.no_grad():
        graph = captured(network, images)
        found = Propagation(graph, inputs, REAL, refine=True)
    below, above = (optimised_lower(found, graph.output, sign * unit, EVERY_ROW) for sign in (1, -1))
    return below.T, -above.T


class Peer:
    """auto_LiRPA on one network, in one dtype."""

    def __init__(self, network: nn.Module, images: Tensor, epsilon: float, dtype: torch.dtype, **options: Any) -> None:
        self.lirpa, self.dtype = library(), dtype
        self._repair_heaviside()
        self.images = images.to(dtype)
        low, high = LinfBall(epsilon, 0.0, 1.0).box(images)
        self.ends = low.to(dtype), high.to(dtype)
        self.epsilon = epsilon
        with contained():
            torch.set_default_dtype(dtype)
            self.module = self.lirpa.BoundedModule(copy.deepcopy(network).to(dtype), self.images, bound_opts=options)

    def bounds(self, method: str, specification: Tensor | None = None) -> Bounds:
        """(lower, upper) of the logits, or of ``specification`` (B, R, 10) times the logits."""
        with contained(), torch.no_grad():
            torch.set_default_dtype(self.dtype)
            ball = self.lirpa.PerturbationLpNorm(norm=float("inf"), eps=self.epsilon, x_L=self.ends[0], x_U=self.ends[1])
            inputs = (self.lirpa.BoundedTensor(self.images, ball),)
            matrix = None if specification is None else specification.to(self.dtype)
            return self.module.compute_bounds(x=inputs, C=matrix, method=method)

    def _repair_heaviside(self) -> None:
        """Release 0.3 forgets the value at 0 in its interval rule; this is the rule of the 0.7 line."""
        if self.lirpa.__version__ == "0.3":
            from auto_LiRPA.operators.activation import BoundATenHeaviside

            def interval(node: Any, *inputs: Any) -> Bounds:
                return node.forward(inputs[0][0], inputs[1][0]), node.forward(inputs[0][1], inputs[1][0])

            BoundATenHeaviside.interval_propagate = interval  # type: ignore[method-assign]


def width(bounds: Bounds) -> float:
    """Mean over samples and logits."""
    return float((bounds[1] - bounds[0]).mean())


def attacked_width(network: nn.Module, images: Tensor, epsilon: float, steps: int = 20) -> float:
    """Mean range of the logits that gradient steps reach: no sound bounds can be narrower."""
    ends = []
    for sign in (1, -1):
        for logit in range(CLASSES):
            points, best = images.clone(), torch.full((len(images),), -torch.inf)
            for _ in range(steps):
                points = points.detach().requires_grad_()
                value = sign * network(points)[:, logit]
                best = torch.maximum(best, value.detach())
                (gradient,) = torch.autograd.grad(value.sum(), points)
                points = torch.clamp(points + epsilon / 4 * gradient.sign(), images - epsilon, images + epsilon).clamp(0, 1)
            ends.append(best)
    return float(torch.stack(ends).sum(0).mean()) / CLASSES


def relu_case(mnist: Path) -> dict[str, Any]:
    """CROWN against ours, lower bounds of the margins."""
    images, labels = _mnist(mnist, "train", 5000)
    network = train(relu_convolution(), images, labels, 2)
    images, _ = _mnist(mnist, "test", 16)
    labels = network(images).argmax(1)
    rows = margin_coefficients(labels, CLASSES)
    found: dict[str, Any] = {"n": 16, "target": "lower bounds equal within 1e-5 relative or higher; time at most auto_LiRPA's"}
    for epsilon in (0.02, 0.05):
        here, seconds = timed(lambda radius=epsilon: ours(network, images, radius, rows), 3)
        double, double_seconds = timed(
            lambda radius=epsilon: Peer(network, images, radius, torch.float64).bounds("CROWN", rows.transpose(0, 1))
        )
        peer = Peer(network, images, epsilon, torch.float32)
        _, peer_seconds = timed(lambda run=peer: run.bounds("CROWN", rows.transpose(0, 1)), 3)
        gap = (here.T - double[0]) / double[0].abs()
        found[f"epsilon {epsilon}"] = {
            "seconds": seconds, "auto_LiRPA seconds": peer_seconds, "auto_LiRPA float64 seconds, with conversion": double_seconds,
            "time ratio": seconds / peer_seconds, "least relative gain": float(gap.min()), "mean gain": float((here.T - double[0]).mean()),
            "lower bounds below auto_LiRPA's by more than 1e-5": int((gap < -1e-5).sum()), "of": gap.numel(),
            "met": bool((gap >= -1e-5).all()) and seconds <= peer_seconds,
        }  # fmt: skip
    return found


def _spiking(network: SpikingNetwork, images: Tensor, epsilon: float, dtypes: tuple[torch.dtype, ...]) -> dict[str, Any]:
    """Widths of the logits' bounds: ours, ours by intervals, auto_LiRPA's on the unrolled network."""
    linear, seconds = timed(lambda: our_widths(network, images, epsilon), 2)
    interval, interval_seconds = timed(lambda: our_widths(network, images, epsilon, refine=False), 3)
    found = {
        "n": len(images), "epsilon": epsilon, "time steps": network.time_steps, "seconds": seconds, "interval seconds": interval_seconds,
        "width": width(linear), "interval width": width(interval), "width ratio": width(linear) / width(interval),
        "spikes per neuron and step": _activity(network, images),
    }  # fmt: skip
    for dtype in dtypes:
        name = "auto_LiRPA" if dtype == torch.float32 else "auto_LiRPA float64"
        peer, found[f"{name} conversion seconds"] = timed(
            lambda kind=dtype: Peer(ElementarySpikes(network), images, epsilon, kind, conv_mode="matrix")
        )
        bounds, found[f"{name} seconds"] = timed(lambda run=peer: run.bounds("CROWN"))
        intervals, found[f"{name} IBP seconds"] = timed(lambda run=peer: run.bounds("IBP"))
        found |= {f"{name} width": width(bounds), f"{name} IBP width": width(intervals)}
    return found


def _activity(network: SpikingNetwork, images: Tensor) -> list[float]:
    """Mean spikes of each layer."""
    counts: dict[int, list[Tensor]] = {layer: [] for layer in range(len(network.neurons))}
    hooks = [
        neuron.register_forward_hook(lambda _module, _inputs, output, layer=layer: counts[layer].append(output[1].mean()))
        for layer, neuron in enumerate(network.neurons)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return [round(float(torch.stack(layer).mean()), 3) for layer in counts.values()]


def spiking_digits_case(time_steps: int) -> dict[str, Any]:
    """64 - 100 - 10 on 8x8 digits."""
    samples = load_samples("digits", "train")
    images, labels = samples.inputs.flatten(1), samples.labels
    network = train(spiking_digits(time_steps), images, labels, 10 if time_steps <= 10 else 2)
    assert isinstance(network, SpikingNetwork)
    batch = load_samples("digits", "test").inputs.flatten(1)[: 16 if time_steps <= 10 else 1]
    long = time_steps > 10
    found = _spiking(network, batch, 0.005, (torch.float32,) if long else (torch.float32, torch.float64))
    target = "at most 2 s" if long else "at most half the interval width; time at most auto_LiRPA's"
    met = found["seconds"] <= 2 if long else found["width ratio"] <= 0.5 and found["seconds"] <= found["auto_LiRPA seconds"]
    return {"target": target, "met": met, **found}


def spiking_convolution_case(mnist: Path) -> dict[str, Any]:
    """1x14x14 - conv 8/2 - 64 - 10 on MNIST, halved by averaging."""
    images, labels = _mnist(mnist, "train", 3000)
    network = train(spiking_convolution(4), functional.avg_pool2d(images, 2), labels, 2)
    assert isinstance(network, SpikingNetwork)
    found = _spiking(network, functional.avg_pool2d(_mnist(mnist, "test", 4)[0], 2), 0.01, (torch.float32,))
    met = found["width ratio"] < 1 and found["seconds"] <= 1
    return {"target": "tighter than intervals; at most 1 s", "met": met, **found}


def flex_vgg6_case(mnist: Path) -> dict[str, Any]:
    """Width 1/8 on MNIST, against CROWN on the same function from convolutions, ReLUs, sums and products."""
    images, labels = _mnist(mnist, "train", 1500)
    network = train(flex_vgg6(), images, labels, 1)
    batch, epsilon = _mnist(mnist, "test", 1)[0], 2 / 255
    linear, linear_seconds = timed(lambda: our_widths(network, batch, epsilon))
    here, seconds = timed(lambda: optimised_widths(network, batch, epsilon))
    interval, interval_seconds = timed(lambda: our_widths(network, batch, epsilon, refine=False), 3)
    elementary = ElementaryFlex(network).eval()
    difference = float((network(batch) - elementary(batch)).abs().max())
    peer = Peer(elementary, batch, epsilon, torch.float32, conv_mode="matrix")
    intervals, ibp_seconds = timed(lambda: peer.bounds("IBP"))
    theirs, peer_seconds = timed(lambda: peer.bounds("CROWN"))
    lower = bool((here[0] >= theirs[0] - 1e-5 * theirs[0].abs()).all())
    ratio = width(here) / width(theirs)
    return {
        "target": "every lower bound at least auto_LiRPA's; mean width at most 0.8 of its; time at most 0.5 of its",
        "met": lower and ratio <= 0.8 and seconds <= 0.5 * peer_seconds, "n": 1, "epsilon": epsilon,
        "seconds": seconds, "auto_LiRPA seconds": peer_seconds, "time ratio": seconds / peer_seconds,
        "width": width(here), "auto_LiRPA width": width(theirs), "width ratio": ratio,
        "width without optimised slopes": width(linear), "seconds without optimised slopes": linear_seconds,
        "attacked width": attacked_width(network, batch, epsilon), "every lower bound at least auto_LiRPA's": lower,
        "difference of the two networks": difference,
        "interval width": width(interval), "interval seconds": interval_seconds,
        "auto_LiRPA IBP width": width(intervals), "auto_LiRPA IBP seconds": ibp_seconds,
    }  # fmt: skip


def flex_vgg16_case() -> dict[str, Any]:
    """Intervals at 3x224x224 and width 1/4 against a plain forward pass in float32 (and float64); statistics of random images."""
    network = flex_vgg16().train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, 224, 224))
    network.eval()
    images = torch.rand(1, 3, 224, 224)
    captured(network, images)
    with torch.no_grad():
        _, forward = timed(lambda: network(images), 5)
        double = copy.deepcopy(network).double()
        _, forward_double = timed(lambda: double(images.double()), 5)
    _, seconds = timed(lambda: our_widths(network, images, 1 / 255, refine=False), 3)
    return {
        "target": "at most 6 times a plain forward pass", "met": seconds <= 6 * forward, "n": 1, "seconds": seconds,
        "forward seconds": forward, "forward seconds in float64": forward_double, "time ratio": seconds / forward,
        "time ratio to float64": seconds / forward_double,
    }  # fmt: skip


def _mnist(folder: Path, split: str, count: int) -> tuple[Tensor, Tensor]:
    samples = load_samples(str(folder), split)  # type: ignore[arg-type]
    return samples.inputs[:count], samples.labels[:count]


def main() -> None:
    """Runs the cases and writes what was found, case by case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="one case; the others keep what the file says of them")
    parser.add_argument("--mnist", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist")
    options = parser.parse_args()
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "ReLU conv net, MNIST": lambda: relu_case(options.mnist),
        "LIF 64-100-10, T=10": lambda: spiking_digits_case(10),
        "LIF conv 1x14x14-8-64-10, T=4": lambda: spiking_convolution_case(options.mnist),
        "Flex-VGG16 224x224, intervals": flex_vgg16_case,
        "LIF 64-100-10, T=80": lambda: spiking_digits_case(80),
        "Flex-VGG6, MNIST": lambda: flex_vgg6_case(options.mnist),
    }
    results = json.loads(options.out.read_text(encoding="utf-8")) if options.only and options.out.exists() else {}
    for name, case in cases.items():
        if options.only not in (None, name):
            continue
        torch.manual_seed(SEED)
        found = {"seed": SEED, **surroundings(), **case()}
        results[name] = found
        sys.stdout.write(f"{name} {json.dumps(found, indent=2)}\n")
        sys.stdout.flush()
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
