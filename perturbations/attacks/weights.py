"""A search over weights and input at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.sets import Ball
from neurocert.perturbations.weights import Weights, WeightSet

STEPS, RESTARTS, SAMPLES = 10, 3, 20
NAME = "weights"
DESCRIPTION = (
    f"joint search over weights and input: from the network's own weights and the worst {RESTARTS - 1} of {SAMPLES} random extreme ones, "
    f"{STEPS} gradient steps of half a radius in the input and to the opposite corner in the weights"
)


def descend(
    network: nn.Module, point: Tensor, label: Tensor, ball: Ball, weights: WeightSet, generator: torch.Generator
) -> tuple[Tensor, Weights]:
    """The point and the weights of least margin found, from random extreme weights by steps to the corner against the gradient.

    Args:
        point, label: one sample, (1, *shape) and (1,).

    Returns:
        (point, changed parameters by name).
    """
    own = {name: value.detach().clone() for name, value in weights.parameters(network).items()}
    starts = [own, *(weights.extreme(network, generator) for _ in range(SAMPLES))]
    ranked = sorted(starts, key=lambda start: _margin(network, point, label, start))
    best, found = float("inf"), (point, own)
    for start in (own, *ranked[: RESTARTS - 1]):
        here, changed = point, start
        for _ in range(STEPS):
            margin, on_point, on_weights = _gradients(network, here, label, changed)
            if margin < best:
                best, found = margin, (here, changed)
            here = ball.project(here + ball.step(on_point, ball.epsilon / 2), point)
            changed = weights.corner({name: -gradient for name, gradient in on_weights.items()}, network)
    return found


def _margin(network: nn.Module, point: Tensor, label: Tensor, changed: Weights) -> float:
    with torch.no_grad():
        return float(margins(torch.func.functional_call(network, changed, (point,)), label)[0])


def _gradients(network: nn.Module, point: Tensor, label: Tensor, changed: Weights) -> tuple[float, Tensor, Weights]:
    """(margin, its gradient in the point, in the weights); 0 where a network passes none on."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in changed.items()}
    start = point.detach().clone().requires_grad_()
    given: list[Tensor | None] = [None] * (1 + len(leaves))
    with torch.inference_mode(False), torch.enable_grad():
        margin = margins(torch.func.functional_call(network, leaves, (start,)), label).sum()
        if margin.requires_grad:
            given = list(torch.autograd.grad(margin, [start, *leaves.values()], allow_unused=True))
    known = [torch.zeros_like(x) if g is None else g for g, x in zip(given, (start, *leaves.values()), strict=True)]
    return float(margin.detach()), known[0], dict(zip(leaves, known[1:], strict=True))
