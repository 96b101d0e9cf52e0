"""The Python interface: load a checkpoint, attack a network; ``verify`` and ``run`` have files of their own."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from neurocert.certify.problem import Problem, make_problem, on
from neurocert.certify.verifiers.verify import least_through_weights, search, verify
from neurocert.models import checkpoints
from neurocert.models.networks.classifier import Classifier
from neurocert.perturbations.attacks import AttackResult
from neurocert.perturbations.attacks import attack as attack_named
from neurocert.perturbations.balls import Ball
from neurocert.perturbations.weights import Weights, WeightSet

__all__ = ["attack", "load", "verify"]


def load(checkpoint: str | Path) -> Classifier:
    """The network of a checkpoint file, or of a shipped checkpoint by its name, in evaluation mode.

    Raises:
        CheckpointError: a file that is not a checkpoint of this package, or not what it says it is.
    """
    return checkpoints.load(checkpoint).network


def attack(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    perturbation: Ball,
    name: str = "pgd",
    *,
    weights: WeightSet | None = None,
    seed: int = 0,
) -> AttackResult:
    """Searches the perturbation set for the point of least margin, for each sample.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), in the network's dtype and input range.
        labels: (B,) integers.
        perturbation: such as ``LinfBall(0.01)``; clipped to the network's input range if it declares one.
        name: one of ``certify ls attacks``, or "torchattacks:NAME".
        weights: the weights, too, may be any of these, such as ``WeightBox(relative=0.01)``: after the attack, weights and input are
            searched at once, for each sample; the result says which weights attained its margins.
        seed: of the random starts.

    Raises:
        InputError: inputs, labels or options that cannot be used.
    """
    searcher = attack_named(name)
    problem = make_problem(network, inputs, labels, perturbation, weights=weights)
    with on(problem.inputs.device):
        result = search(problem, searcher, list(range(len(problem.inputs))), seed)
        return result if weights is None else _with_weights(problem, result, seed)


def _with_weights(problem: Problem, result: AttackResult, seed: int) -> AttackResult:
    """The worse, for each sample, of what was found with the network's own weights and of what is found with others."""
    points, least = result.points.clone(), result.margins.clone()
    chosen: list[Weights | None] = [None] * len(points)
    for index in range(len(points)):
        found = least_through_weights(problem, index, seed)
        if found is not None and found[0] < float(least[index]):
            least[index], points[index], chosen[index] = found
    return AttackResult(points, least, tuple(chosen))
