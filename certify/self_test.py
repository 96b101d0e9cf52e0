"""A short test of soundness for this machine: bounds of random networks against what the networks compute here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import FLOAT32
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.propagation import Propagation
from neurocert.models.layers.plastic_flex import MASK_ACTIVATIONS
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build
from neurocert.models.semantics import FactorLeak, Semantics, Spiking
from neurocert.perturbations.balls import Ball, L2Ball, LinfBall

SPIKING = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")
BALLS = (LinfBall(0.02, 0.0, 1.0), L2Ball(0.1, 0.0, 1.0))
CLASSES = ("a", "b", "c")
SAMPLES, POINTS = 4, 32


@dataclass(frozen=True)
class SelfTest:
    """What came out: ``violations`` of ``comparisons`` between a bound and a computed logit."""

    comparisons: int
    violations: int
    seconds: float


def self_test(seed: int = 0) -> SelfTest:
    """Compares interval and linear bounds of all logits with forward passes at random points and corners; about a second."""
    begun, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    comparisons = violations = 0
    for semantics in (Semantics(None), Semantics(SPIKING)):
        for mask in MASK_ACTIVATIONS:
            network = _network(semantics, mask, generator)
            centres = torch.rand(SAMPLES, *network.inputs.shape, generator=generator)
            for ball in BALLS:
                logits = _logits(network, ball, centres, generator)
                for lower, upper in _bounds(network, ball, centres):
                    violations += int(((logits < lower) | (logits > upper)).sum())
                    comparisons += logits.numel()
    return SelfTest(comparisons, violations, time.perf_counter() - begun)


def _network(semantics: Semantics, mask: str, generator: torch.Generator) -> Classifier:
    """A small Flex-VGG with random weights and random batch statistics."""
    network = build(
        "flex-vgg",
        {"blocks": [[4, 2]], "hidden": [8], "mask": mask},
        inputs=InputSpace((1, 6, 6), 0.0, 1.0),
        semantics=semantics,
        classes=CLASSES,
        mean=(0.5,),
        std=(0.3,),
    ).eval()
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.randn(value.shape, generator=generator) * 0.3
            value.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise + (1.0 if name.endswith("norm.weight") else 0.0))
    return network


def _logits(network: Classifier, ball: Ball, centres: Tensor, generator: torch.Generator) -> Tensor:
    """(points, B, classes) float64 at the centres, random points and projected corners."""
    points = [centres]
    for _ in range(POINTS):
        signs = torch.randint(0, 2, centres.shape, generator=generator) * 2.0 - 1.0
        points += [ball.sample(centres, generator), ball.project(centres + ball.epsilon * signs, centres)]
    with torch.no_grad():
        return torch.stack([network(point) for point in points]).double()


def _bounds(network: Classifier, ball: Ball, centres: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(lower, upper), (B, classes), of each method."""
    graph = capture(network, network.inputs.shape)
    unit = torch.eye(len(CLASSES), dtype=torch.float64)[:, None]
    bounds = []
    with torch.no_grad():
        for refine in (False, True):
            propagation = Propagation(graph, InputSet(ball, centres), FLOAT32, refine=refine)
            lower, upper = (sign * propagation.lower(graph.output, sign * unit, affine_only=not refine).T for sign in (1, -1))
            bounds.append((lower, upper))
    return bounds
