"""A search over weights and input at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.balls import Ball
from neurocert.perturbations.weights import WeightBox

STEPS, RESTARTS = 10, 3


def descend(
    network: nn.Module, point: Tensor, label: Tensor, ball: Ball, weights: WeightBox, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """The point and the weights of least margin found by signed gradient steps from the centre and from random corners.

    Args:
        point, label: one sample, (1, *shape) and (1,).

    Returns:
        (point, changed parameters by name).
    """
    centre, movable = point, weights.parameters(network)
    best, found = float("inf"), (point, {name: value.detach().clone() for name, value in movable.items()})
    for restart in range(RESTARTS):
        changed = {name: value.detach().clone() for name, value in movable.items()}
        if restart:
            changed = {name: _moved(name, value, _signs(value, generator), weights, network) for name, value in changed.items()}
        here = centre
        for _ in range(STEPS):
            margin, on_point, on_weights = _gradients(network, here, label, changed)
            if margin < best:
                best, found = margin, (here, changed)
            here = ball.project(here + ball.step(on_point, ball.epsilon / 2), centre)
            changed = {name: _moved(name, value, -on_weights[name].sign(), weights, network) for name, value in changed.items()}
    return found


def _gradients(network: nn.Module, point: Tensor, label: Tensor, changed: dict[str, Tensor]) -> tuple[float, Tensor, dict[str, Tensor]]:
    point = point.detach().clone().requires_grad_()
    leaves = {name: value.detach().clone().requires_grad_() for name, value in changed.items()}
    with torch.enable_grad():
        margin = margins(torch.func.functional_call(network, leaves, (point,)), label).sum()
        on_point, *rest = torch.autograd.grad(margin, [point, *leaves.values()], allow_unused=True)
    given = [torch.zeros_like(value) if g is None else g for g, value in zip(rest, leaves.values(), strict=True)]
    return float(margin.detach()), torch.zeros_like(point) if on_point is None else on_point, dict(zip(leaves, given, strict=True))


def _moved(name: str, value: Tensor, signs: Tensor, weights: WeightBox, network: nn.Module) -> Tensor:
    """All the way along the signs, as far as the set goes."""
    reach = weights.relative * value.abs() + weights.absolute
    return weights.project(name, value + 2 * reach * signs, network)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, like.shape, generator=generator).to(like.dtype) * 2 - 1
