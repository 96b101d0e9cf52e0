"""One analysis, from a configuration to what its page shows."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from neurocert.analysis.hessian import FlatLoss, Hessian
from neurocert.analysis.loss_landscape import along, landscape, random_direction
from neurocert.analysis.routing import routing
from neurocert.analysis.spectrum import Krylov, random_runs, trace
from neurocert.analysis.spiking import record
from neurocert.certify.config import RunConfig
from neurocert.certify.errors import ConfigError
from neurocert.certify.reports import parts
from neurocert.certify.reports.analysis import build
from neurocert.certify.reports.analysis.config import LEAST_SAMPLES, AnalysisConfig
from neurocert.certify.reports.analysis.schema import Absent, Analysis, Attacks, Landscapes, Masks, Spectrum, Spikes, Training
from neurocert.certify.reports.build import describe_environment, describe_network, noun
from neurocert.certify.runner import run
from neurocert.certify.selection import select
from neurocert.models.checkpoints import Checkpoint, load
from neurocert.models.data.samples import Samples
from neurocert.models.errors import InputError
from neurocert.models.networks.classifier import Classifier
from neurocert.perturbations.attacks import attack
from neurocert.perturbations.attacks.gradient import margins

Progress = Callable[[str, int, int], None]
LANCZOS_STEPS, LANCZOS_RUNS, TRACE_PROBES = 40, 4, 32


def analyse(config: AnalysisConfig, progress: Progress = lambda text, done, steps: None) -> Analysis:
    """Measures a network: attacks, landscape, Hessian, routing, spikes.

    Args:
        config: what to do.
        progress: told before each step.

    Raises:
        InputError: a file, value or option that cannot be used; nothing has been computed then.
    """
    begun = time.perf_counter()
    for name in config.attacks:
        attack(name)
    checkpoint = load(config.checkpoint)
    chosen = select(checkpoint.network, config.data, config.samples)
    if (count := len(chosen.indices)) < LEAST_SAMPLES:
        raise ConfigError(f"samples: {chosen.data.name} has {count}, expected at least {LEAST_SAMPLES}")
    subject = _Subject(config, checkpoint, chosen.samples, copy.deepcopy(checkpoint.network).double(), progress)
    curved = config.wants("hessian") or "landscape-eigenvectors" in config.figures
    curvature = _curvature(subject) if curved else Absent(absent="not asked for")
    training = build.training_section(checkpoint.metadata.history)
    return Analysis(
        network=describe_network(checkpoint),
        data=parts.Data(name=config.data, noun=noun(config.data), sha256=chosen.data.sha256, size=len(chosen.data)),
        samples=tuple(chosen.indices),
        clean=parts.Share.of(_correct(subject), count),
        training=training if config.wants("training") else None,
        attacks=_attacks(subject, chosen.indices) if config.wants("attacks") else None,
        landscape=_landscapes(subject, curvature) if config.wants("landscape") else None,
        hessian=_spectrum(subject, curvature) if config.wants("hessian") else None,
        routing=_masks(subject, training) if config.wants("routing") else None,
        spiking=_spikes(subject) if config.wants("spiking") else None,
        figures=config.figures,
        seed=config.seed,
        environment=describe_environment(),
        seconds=time.perf_counter() - begun,
        command=config.command,
    )


@dataclass(frozen=True)
class _Subject:
    """What is measured: the network, also in float64 for what differs little, and the samples."""

    config: AnalysisConfig
    checkpoint: Checkpoint
    samples: Samples
    precise: Classifier
    progress: Progress

    @property
    def network(self) -> Classifier:
        return self.checkpoint.network


@dataclass(frozen=True)
class _Curvature:
    """The Hessian, and what random runs of Lanczos found in it."""

    hessian: Hessian
    runs: tuple[Krylov, ...]


def _correct(subject: _Subject) -> int:
    with torch.no_grad():
        return int((margins(subject.network(subject.samples.inputs), subject.samples.labels) > 0).sum())


def _attacks(subject: _Subject, indices: Sequence[int]) -> Attacks:
    """A run of attacks alone, as ``certify attack`` makes it."""
    asked = subject.config
    config = RunConfig(
        checkpoint=asked.checkpoint,
        data=asked.data,
        epsilons=asked.epsilons,
        norm=asked.norm,
        methods=(),
        attacks=asked.attacks,
        samples=tuple(indices),
        seed=asked.seed,
        saturation=True,
    )
    found = run(config, subject.progress)
    return Attacks(norm=asked.norm, epsilons=asked.epsilons, attacks=found.attacks, curves=found.curves, masking=found.masking)


def _curvature(subject: _Subject) -> _Curvature | Absent:
    subject.progress("Hessian", 0, 1)
    try:
        hessian = Hessian(subject.precise, subject.samples.inputs.double(), subject.samples.labels)
    except FlatLoss as error:
        return Absent(absent=str(error))
    return _Curvature(hessian, random_runs(hessian, LANCZOS_STEPS, LANCZOS_RUNS, subject.config.seed, keep=2))


def _landscapes(subject: _Subject, curvature: _Curvature | Absent) -> Landscapes:
    config, network, seed = subject.config, subject.precise, subject.config.seed
    subject.progress("loss landscapes", 0, 1)
    inputs, labels = subject.samples.inputs.double(), subject.samples.labels
    directions = random_direction(network, seed), random_direction(network, seed + 1)
    random = build.plane(landscape(network, inputs, labels, *directions, radius=config.radius, points=config.points))
    if isinstance(curvature, Absent):
        return Landscapes(random=random, eigenvectors=curvature)
    if len(curvature.runs[0].vectors) < 2:
        return Landscapes(random=random, eigenvectors=Absent(absent="The Hessian has fewer than two distinct eigenvalues"))
    steepest = along(network, curvature.runs[0].vectors[0]), along(network, curvature.runs[0].vectors[1])
    found = landscape(network, inputs, labels, *steepest, radius=config.radius, points=config.points)
    return Landscapes(random=random, eigenvectors=build.plane(found))


def _spectrum(subject: _Subject, curvature: _Curvature | Absent) -> Spectrum | Absent:
    if isinstance(curvature, Absent):
        return curvature
    subject.progress("trace of the Hessian", 0, 1)
    estimate = trace(curvature.hessian, TRACE_PROBES, subject.config.seed)
    return build.spectrum_section(curvature.hessian, curvature.runs, LANCZOS_STEPS, estimate)


def _masks(subject: _Subject, training: Training | Absent) -> Masks | Absent:
    subject.progress("routing", 0, 1)
    inputs = subject.samples.inputs
    layers = routing(subject.network, inputs)
    if not layers:
        return Absent(absent="The network has no PlasticFlex layer")
    samples = [routing(subject.network, inputs[index : index + 1]) for index in range(len(inputs))]
    return build.routing_section(layers, samples, training)


def _spikes(subject: _Subject) -> Spikes | Absent:
    subject.progress("spikes", 0, 1)
    try:
        return build.spiking_section(record(subject.network, subject.samples.inputs))
    except InputError as error:  # no such neurons
        return Absent(absent=str(error))
