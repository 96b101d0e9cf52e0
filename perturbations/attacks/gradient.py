"""What every attack is made of, and the two classic ones.

Spikes are exact in the forward pass; gradients pass through the network's surrogates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.errors import InputError
from neurocert.perturbations.balls import Ball

Sight = Literal["gradients", "logits", "both"]
DRAWS = 8
"""Over which the logits of a network that draws random numbers are averaged."""


@dataclass(frozen=True)
class AttackResult:
    """The worst point found for each sample.

    Attributes:
        points: (B, *shape), each inside the perturbation set.
        margins: (B,), the least logit margin f_y - max_{j != y} f_j at ``points``; a decision is broken at <= 0 (a tie
            is not a decision).
    """

    points: Tensor
    margins: Tensor

    @property
    def broken(self) -> Tensor:
        """Bool (B,)."""
        return self.margins <= 0


@dataclass(frozen=True)
class Attack(ABC):
    """A search over a perturbation set."""

    name: ClassVar[str]
    sees: ClassVar[Sight] = "gradients"
    """What it goes by. A network on which logits alone lead further than gradients hides its gradients."""

    @abstractmethod
    def describe(self) -> str:
        """The name and every parameter that matters."""

    @abstractmethod
    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        """The worst point found for each sample; the clean input is always among those tried."""


@dataclass(frozen=True)
class FGSM(Attack):
    """One signed (or, in L2, normalised) gradient step of the cross-entropy, of the ball's radius.

    Source: Eq. 4.3 of the PlasticFlex thesis.
    """

    name: ClassVar[str] = "fgsm"

    def describe(self) -> str:
        return "FGSM: one step of size epsilon along the cross-entropy's gradient"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        gradient = gradient_of(lambda points: -functional.cross_entropy(worst.network(points), labels, reduction="sum"), inputs)
        worst.offer(ball.project(inputs + downward(gradient, inputs, ball, ball.epsilon), inputs))
        return worst.result()


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent on the logit margin from random starts.

    Source: Eq. 4.4 of the PlasticFlex thesis, with the margin in place of the cross-entropy (no saturation).

    Attributes:
        steps: per restart.
        restarts: the first starts at the clean input, the others at random points of the set.
        step_ratio: first step size as a share of epsilon; it falls linearly to a tenth of that.
    """

    steps: int = 20
    restarts: int = 3
    step_ratio: float = 0.5
    name: ClassVar[str] = "pgd"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1 or not self.step_ratio > 0:
            raise InputError(f"PGD: got steps {self.steps}, restarts {self.restarts}, step_ratio {self.step_ratio}, expected all positive")

    def describe(self) -> str:
        return (
            f"PGD on the logit margin: {self.steps} steps, {self.restarts} restarts (the first from the clean input), "
            f"step size {self.step_ratio:g} epsilon falling linearly to {self.step_ratio / 10:g} epsilon"
        )

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        for restart in range(self.restarts):
            points = inputs if restart == 0 else ball.sample(inputs, generator)
            for step in range(self.steps):
                size = ball.epsilon * self.step_ratio * (1 - 0.9 * step / max(1, self.steps - 1))
                points = ball.project(points + downward(worst.gradient(points), points, ball, size), inputs)
                worst.offer(points)
        return worst.result()


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """f_y - max_{j != y} f_j for logits (B, K) and labels (B,): positive exactly where the decision is y, alone; float64."""
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own - others.max(1).values


def gradient_of(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Of a scalar function at ``points``; 0 where a network passes none on, as a comparison without a surrogate does."""
    with torch.inference_mode(False), torch.enable_grad():
        points = points.detach().clone().requires_grad_()
        value = function(points)
        gradient = torch.autograd.grad(value, points, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(points) if gradient is None else gradient


def downward(gradient: Tensor, points: Tensor, ball: Ball, size: float) -> Tensor:
    """The ball's step of this size, spent on no element that would leave the input range."""
    leaves = ((points <= ball.low) & (gradient > 0)) | ((points >= ball.high) & (gradient < 0))
    return ball.step(gradient.masked_fill(leaves, 0.0), size)


def spread(per_sample: Tensor, like: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1), to broadcast against ``like``."""
    return per_sample.reshape(-1, *[1] * (like.dim() - 1))


class Expected(nn.Module):
    """A network that draws random numbers (a rate encoder, say), averaged over the same few draws at every call.

    The mean logits are a function that an attack can descend, and its gradient is the expectation over these draws.
    """

    def __init__(self, network: nn.Module, draws: int = DRAWS) -> None:
        super().__init__()
        self.network, self.draws = network, draws

    def forward(self, points: Tensor) -> Tensor:
        """Args: (B, *shape). Returns: (B, classes); the global generator is left as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return torch.stack([self.network(points) for _ in range(self.draws)]).mean(0)


def steady(network: nn.Module, inputs: Tensor) -> nn.Module:
    """The network itself if it answers the same twice, else its expectation."""
    with torch.no_grad(), torch.random.fork_rng():
        first, second = network(inputs[:1]), network(inputs[:1])
    return network if torch.equal(first.nan_to_num(), second.nan_to_num()) else Expected(network)


class Worst:
    """Keeps, for each sample, the point of least margin among those offered; the inputs themselves are the first.

    Attributes:
        network: the one to ask; see ``steady``.
        points, margins: see ``AttackResult``.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        self.network, self.labels = steady(network, inputs), labels
        self.points = inputs.detach().clone()
        self.margins = self.margins_at(inputs)

    def margins_at(self, points: Tensor) -> Tensor:
        """Float64 (B,)."""
        with torch.no_grad():
            return margins(self.network(points), self.labels)

    def offer(self, points: Tensor) -> Tensor:
        """Keeps what is worse than before. Returns: the margins at ``points``, float64 (B,)."""
        found = self.margins_at(points)
        self.keep(points, found)
        return found

    def keep(self, points: Tensor, found: Tensor) -> None:
        """As ``offer``, where the margins at ``points`` are known."""
        better = found < self.margins
        self.margins = torch.where(better, found, self.margins)
        self.points = torch.where(spread(better, points), points, self.points)

    def merge(self, rows: Tensor, points: Tensor) -> None:
        """Offers points (R, *shape) for the samples ``rows`` (R,) alone."""
        self.offer(self.points.index_copy(0, rows, points))

    def unbroken(self) -> Tensor:
        """Positions of the samples that no point has broken yet."""
        return (self.margins > 0).nonzero()[:, 0]

    def gradient(self, points: Tensor) -> Tensor:
        """Of the margins, at ``points``."""
        return gradient_of(lambda points: margins(self.network(points), self.labels).sum(), points)

    def result(self) -> AttackResult:
        return AttackResult(self.points, self.margins)
