"""From what a campaign found to the report."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch

from neurocert.analysis.routing import routing
from neurocert.certify.campaign import masking
from neurocert.certify.campaign.campaign import Outcome as Found
from neurocert.certify.certificate import Witness
from neurocert.certify.config import RunConfig
from neurocert.certify.problem import Problem
from neurocert.certify.reports import parts
from neurocert.certify.reports.curves import Saturation, accuracy_curves, signs_of_masking
from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.weights import pack
from neurocert.models.checkpoints import Checkpoint
from neurocert.models.data.samples import Samples
from neurocert.perturbations.attacks import Attack
from neurocert.perturbations.attacks.weights import DESCRIPTION, NAME

ASSUMPTIONS = (
    "The network is the one that the checkpoint and its semantics describe; another framework may read the same weights differently.",
    "The arithmetic is the one stated above; reduced-precision modes such as TF32 or bfloat16 are not covered.",
    "The perturbation is exactly the stated set around each tested input; nothing is said about other inputs or other changes.",
    "The bounds were computed in float64 with every rounding error charged outward, by this version of neurocert.",
)
ONE_CHOICE = (
    "A weight that may be off is one number for all positions and time steps of a decision; statistics that batch norms keep are as stored."
)


def build_report(
    config: RunConfig,
    checkpoint: Checkpoint,
    data: Samples,
    indices: Sequence[int],
    problem: Problem,
    attacks: tuple[Attack, ...],
    found: Sequence[Found],
    saturation: masking.Saturation | None,
    seconds: float,
) -> Report:
    """The report of one run.

    Args:
        data: the whole split.
        indices: which of its samples the problem holds, in order.
        found: the campaign's outcomes.
        saturation: what attacks by gradients reach on the whole input range; None where it was not asked.
        seconds: of the whole run.
    """
    witnesses = {id(outcome.witness): outcome.witness for outcome in found if outcome.witness is not None}
    positions = {identity: position for position, identity in enumerate(witnesses)}
    with_image = {outcome.sample for outcome in found if outcome.witness is not None}
    samples = _samples(problem, indices, with_image)
    outcomes = tuple(_outcome(outcome, indices, positions) for outcome in found)
    run = _attacks(attacks, problem)
    reached = None if saturation is None else Saturation(epsilon=saturation.epsilon, left=saturation.left, n=saturation.n)
    return Report(
        network=describe_network(checkpoint),
        data=parts.Data(name=config.data, noun=noun(config.data), sha256=data.sha256, size=len(data)),
        perturbation=_perturbation(config, problem),
        arithmetic=parts.Arithmetic(name=problem.arithmetic.name, statement=problem.arithmetic.statement),
        methods=config.methods,
        attacks=run,
        seed=config.seed,
        clean=parts.clean_share(samples),
        samples=samples,
        outcomes=outcomes,
        witnesses=tuple(_witness(witness, problem) for witness in witnesses.values()),
        summaries=tuple(parts.summarise(outcomes, epsilon, config.methods) for epsilon in config.epsilons),
        curves=accuracy_curves(outcomes, run, config.epsilons),
        saturation=reached,
        masking=signs_of_masking(outcomes, run, config.epsilons, reached),
        routing=_routing(checkpoint, problem),
        environment=describe_environment(),
        seconds=seconds,
        assumptions=ASSUMPTIONS if problem.weights is None else (*ASSUMPTIONS, ONE_CHOICE),
        command=config.command,
    )


def _samples(problem: Problem, indices: Sequence[int], with_image: set[int]) -> tuple[parts.Sample, ...]:
    logits, margins = problem.logits(problem.inputs).double(), problem.margins(problem.inputs)
    return tuple(
        parts.Sample(
            index=int(indices[position]),
            label=int(problem.labels[position]),
            predicted=int(logits[position].argmax()),
            clean_margin=float(margins[position]),
            input=problem.inputs[position].tolist() if position in with_image else None,
        )
        for position in range(len(margins))
    )


def _outcome(found: Found, indices: Sequence[int], positions: dict[int, int]) -> parts.Outcome:
    return parts.Outcome(
        sample=int(indices[found.sample]),
        epsilon=found.epsilon,
        verdict=found.verdict.value,
        reason=found.reason or "",
        bounds=found.bounds,
        attacks=found.attacks,
        witness=None if found.witness is None else positions[id(found.witness)],
        seconds=found.seconds,
    )


def describe_network(checkpoint: Checkpoint) -> parts.Network:
    """The part of a report that says which network it speaks of."""
    metadata, network = checkpoint.metadata, checkpoint.network
    parameters = ", ".join(f"{name} {value}" for name, value in metadata.architecture.parameters.items())
    return parts.Network(
        name=checkpoint.name,
        sha256=checkpoint.sha256,
        architecture=f"{metadata.architecture.name}: {parameters}",
        semantics=checkpoint.semantics.describe(),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        classes=network.classes,
        provenance=metadata.provenance,
    )


def _perturbation(config: RunConfig, problem: Problem) -> parts.Perturbation:
    low, high = (None if abs(end) == float("inf") else end for end in (problem.ball.low, problem.ball.high))
    weights = None
    if config.weights is not None and problem.weights is not None:
        given, description = config.weights, problem.weights.describe()
        weights = parts.WeightTolerance(relative=given.relative, absolute=given.absolute, names=given.names, description=description)
    return parts.Perturbation(name=config.norm, epsilons=config.epsilons, low=low, high=high, weights=weights)


def _attacks(attacks: tuple[Attack, ...], problem: Problem) -> tuple[parts.Attack, ...]:
    run = [parts.Attack(name=attack.name, description=attack.describe(), sees=attack.sees) for attack in attacks]
    if run and problem.weights is not None:
        run.append(parts.Attack(name=NAME, description=DESCRIPTION))
    return tuple(run)


def _witness(witness: Witness, problem: Problem) -> parts.Witness:
    weights = None
    if witness.weights is not None and problem.weights is not None:
        weights = pack(witness.weights, problem.weights, problem.network)
    return parts.Witness(input=witness.point.tolist(), margin=witness.margin, predicted=witness.predicted, weights=weights)


def _routing(checkpoint: Checkpoint, problem: Problem) -> tuple[parts.Routing, ...]:
    return tuple(
        parts.Routing(layer=layer.layer, conv_ratio=layer.conv_ratio, binariness=layer.binariness, calls=layer.calls)
        for layer in routing(checkpoint.network, problem.inputs)
    )


def describe_environment() -> parts.Environment:
    """Versions and threads, now."""
    return parts.Environment(
        neurocert=version("neurocert"),
        torch=torch.__version__,
        numpy=version("numpy"),
        python=platform.python_version(),
        platform=platform.platform(),
        threads=torch.get_num_threads(),
    )


def noun(data: str) -> str:
    """What the samples of a data source are, in the plural."""
    return "held-out digits" if data == "digits" else "test samples"
