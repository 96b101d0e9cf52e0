"""The Python interface: load a checkpoint, attack a network; ``verify`` and ``run`` have files of their own."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from neurocert.certify.problem import make_problem, on
from neurocert.certify.verifiers.verify import search, verify
from neurocert.models import checkpoints
from neurocert.models.networks.classifier import Classifier
from neurocert.perturbations.attacks import AttackResult
from neurocert.perturbations.attacks import attack as attack_named
from neurocert.perturbations.balls import Ball

__all__ = ["attack", "load", "verify"]


def load(checkpoint: str | Path) -> Classifier:
    """The network of a checkpoint file, or of a shipped checkpoint by its name, in evaluation mode.

    Raises:
        CheckpointError: a file that is not a checkpoint of this package, or not what it says it is.
    """
    return checkpoints.load(checkpoint).network


def attack(network: nn.Module, inputs: Tensor, labels: Tensor, perturbation: Ball, name: str = "pgd", *, seed: int = 0) -> AttackResult:
    """Searches the perturbation set for the point of least margin, for each sample.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), in the network's dtype and input range.
        labels: (B,) integers.
        perturbation: such as ``LinfBall(0.01)``; clipped to the network's input range if it declares one.
        name: one of ``certify ls attacks``, or "torchattacks:NAME".
        seed: of the random starts.

    Raises:
        InputError: inputs, labels or options that cannot be used.
    """
    searcher = attack_named(name)
    problem = make_problem(network, inputs, labels, perturbation)
    with on(problem.inputs.device):
        return search(problem, searcher, list(range(len(problem.inputs))), seed)
