"""A search over weights and input at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.sets import Ball
from neurocert.perturbations.weights import Weights, WeightSet

STEPS, RESTARTS, SAMPLES = 10, 3, 20


def descend(
    network: nn.Module, point: Tensor, label: Tensor, ball: Ball, weights: WeightSet, generator: torch.Generator
) -> tuple[Tensor, Weights]:
    """The point and the weights of least margin found: at random, and by steps to the corner of the weights against the gradient.

    Args:
        point, label: one sample, (1, *shape) and (1,).

    Returns:
        (point, changed parameters by name).
    """
    own = {name: value.detach().clone() for name, value in weights.parameters(network).items()}
    starts = [own, *(weights.sample(network, generator) for _ in range(SAMPLES))]
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
    point = point.detach().clone().requires_grad_()
    leaves = {name: value.detach().clone().requires_grad_() for name, value in changed.items()}
    with torch.enable_grad():
        margin = margins(torch.func.functional_call(network, leaves, (point,)), label).sum()
        on_point, *rest = torch.autograd.grad(margin, [point, *leaves.values()], allow_unused=True)
    given = [torch.zeros_like(value) if g is None else g for g, value in zip(rest, leaves.values(), strict=True)]
    return float(margin.detach()), torch.zeros_like(point) if on_point is None else on_point, dict(zip(leaves, given, strict=True))
