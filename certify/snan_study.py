"""One study of a hybrid, from a configuration to its report: certificates, noise, maps, clusters, spikes and calcium."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurocert.analysis.astrocyte_box import AstrocyteBox, require_possible
from neurocert.analysis.clusters import clusters
from neurocert.analysis.snan_activity import calcium_trace, raster
from neurocert.certify.campaign.campaign import Progress
from neurocert.certify.certificate import Verdict
from neurocert.certify.reports import parts
from neurocert.certify.reports.build import describe_environment, noun
from neurocert.certify.reports.snan import schema
from neurocert.certify.reports.snan.config import StudyConfig
from neurocert.certify.selection import select
from neurocert.certify.training import hybrid as training
from neurocert.certify.verifiers.binarised import Norm, enumerate_undecided, invariance
from neurocert.certify.verifiers.flips import Smoothing, single_flips, smooth
from neurocert.models.data.samples import Samples
from neurocert.models.networks.classifier import Classifier
from neurocert.models.snan.hybrid import Hybrid
from neurocert.models.snan.hybrid_files import HybridCheckpoint, load
from neurocert.models.snan.plasticity import Mask
from neurocert.models.training.recipe import Recipe, load_recipe
from neurocert.perturbations.impulse import invert

PICTURES = 4
RASTER_NEURONS = 1500
"""That a raster shows; more could not be told apart."""
RISK = 0.001
"""Probability that any of a study's certificates by smoothing is wrong, over its draws."""
NORMS: tuple[Norm, ...] = ("linf", "l2")


@dataclass(frozen=True, eq=False)
class _Subject:
    """What is studied: a hybrid, the samples, and their binary images."""

    checkpoint: HybridCheckpoint
    samples: Samples
    indices: list[int]
    binary: Mask

    @property
    def hybrid(self) -> Hybrid:
        return self.checkpoint.hybrid


def study(config: StudyConfig, progress: Progress = lambda text, done, steps: None) -> schema.Study:
    """Certifies a hybrid and measures it under impulse noise.

    Args:
        config: what to do.
        progress: told before each step.

    Raises:
        InputError: a file, value or option that cannot be used; nothing has been computed then.
    """
    begun = time.perf_counter()
    checkpoint = load(config.checkpoint)
    box, recipes = require_possible(checkpoint.hybrid.preprocessor.network), _few_recipes(config)
    chosen = select(checkpoint.classifier, config.data, config.samples)
    samples = chosen.samples
    subject = _Subject(checkpoint, samples, chosen.indices, checkpoint.hybrid.preprocessor.binarise(samples.inputs))
    exhausted = min(config.single_flips, len(chosen.indices))
    steps = len(config.noise) + 3 + exhausted
    seen = []
    for done, level in enumerate(config.noise):
        progress(f"noise {level:g}", done, steps)
        seen.append(checkpoint.hybrid.maps(_noisy(subject.binary, level, config.seed)))
    progress("invariance and enumeration", len(config.noise), steps)
    right = checkpoint.hybrid.classify(seen[0]) == samples.labels
    radii: dict[Norm, np.ndarray] = {norm: invariance(checkpoint.hybrid.preprocessor, samples.inputs, norm).radius for norm in NORMS}
    outcomes = _outcomes(config, subject, right, radii["linf"])
    flipped = []
    for position in range(exhausted):
        progress(f"every single flip of sample {subject.indices[position]}", len(config.noise) + 1 + position, steps)
        flipped.append(_single_flips(subject, position, bool(right[position])))
    progress("random flips", steps - 2, steps)
    smoothing = _smoothing(config, subject) if config.smoothed else None
    progress("spikes, calcium and few shots", steps - 1, steps)
    return schema.Study(
        network=_network(config, checkpoint),
        spiking=checkpoint.hybrid.spiking,
        shown=checkpoint.metadata.snan.classes,
        data=parts.Data(name=config.data, noun=noun(config.data), sha256=chosen.data.sha256, size=len(chosen.data)),
        samples=tuple(chosen.indices),
        clean=_share(right),
        radii=tuple(schema.Radii(norm=norm, values=tuple(values.tolist())) for norm, values in radii.items()),
        outcomes=outcomes,
        summaries=tuple(_summary(epsilon, outcomes) for epsilon in config.epsilons),
        single_flips=tuple(flipped),
        smoothing=smoothing,
        levels=_levels(config, subject, seen),
        shown_noise=config.shown_noise,
        pictures=_pictures(config, subject, seen),
        clouds=_clouds(config, subject, seen),
        few_shots=tuple(_few(config, recipe, samples) for recipe in recipes),
        trace=_trace(subject, box) if checkpoint.hybrid.spiking else None,
        seed=config.seed,
        environment=describe_environment(),
        seconds=time.perf_counter() - begun,
        command=config.command,
    )


def _few_recipes(config: StudyConfig) -> tuple[Recipe, ...]:
    """One for each number of images, all of them checked."""
    if config.recipe is None:
        return ()
    recipe = load_recipe(config.recipe)
    recipes = tuple(training.few_shots(recipe, count) for count in config.few_shots)
    training.require_enough(training.few_shots(recipe, max(config.few_shots)), _instead(config, recipe))
    return recipes


def _instead(config: StudyConfig, recipe: Recipe) -> str | None:
    """The data to train on where they are not the recipe's own."""
    return None if recipe.data.source == config.data else config.data


def _noisy(binary: Mask, level: float, seed: int) -> Mask:
    generator = torch.Generator().manual_seed(seed + round(1000 * level))
    return invert(torch.from_numpy(binary).float(), level, generator).numpy() > 0.5


@torch.no_grad()
def _embed(classifier: Classifier, maps: Tensor) -> Tensor:
    """What the readout sees; the logits of a classifier that names no embedding."""
    return getattr(classifier, "embed", classifier)(maps).double()


def _share(right: Tensor) -> parts.Share:
    return parts.Share.of(int(right.sum()), len(right))


def _network(config: StudyConfig, checkpoint: HybridCheckpoint) -> parts.Network:
    metadata, settings = checkpoint.metadata.classifier, checkpoint.hybrid.preprocessor.network.settings
    before = "SNAN" if checkpoint.hybrid.spiking else "resampling without a network"
    layers = f"{settings.excitatory}x{settings.excitatory} excitatory, {settings.inhibitory}x{settings.inhibitory} inhibitory neurons"
    return parts.Network(
        name=checkpoint.name,
        sha256=checkpoint.sha256,
        architecture=f"{metadata.architecture.name} behind {before} ({layers})",
        semantics=f"Images are enlarged, binarised at 50/255, and turned into maps by {before}.",
        parameters=sum(parameter.numel() for parameter in checkpoint.classifier.parameters()),
        classes=checkpoint.classifier.classes,
        provenance=metadata.provenance,
    )


def _outcomes(config: StudyConfig, subject: _Subject, right: Tensor, radius: np.ndarray) -> tuple[schema.Outcome, ...]:
    """By the invariance radius where it suffices, by enumeration for the first few others."""
    return tuple(
        _outcome(config, subject, position, bool(right[position]), float(radius[position]), epsilon)
        for epsilon in config.epsilons
        for position in range(len(subject.indices))
    )


def _outcome(config: StudyConfig, subject: _Subject, position: int, right: bool, radius: float, epsilon: float) -> schema.Outcome:
    verdict, by, undecided, runs, reason, witness = Verdict.CERTIFIED, "invariance", 0, 1, None, None
    image, label = subject.samples.inputs[position], int(subject.samples.labels[position])
    if not right:
        verdict, by, reason = Verdict.MISCLASSIFIED, None, "the unperturbed image is classified otherwise"
    elif epsilon > radius:
        budget = config.budget if position < config.enumerated else 0
        found = enumerate_undecided(subject.hybrid.preprocessor, subject.hybrid.decide, image, label, epsilon, budget)
        verdict, undecided, runs, reason, witness = found.verdict, found.undecided, found.runs, found.reason, found.witness
        by = "enumeration" if verdict is Verdict.CERTIFIED else None
    return schema.Outcome(
        sample=subject.indices[position],
        epsilon=epsilon,
        verdict=verdict.value,
        by=by,
        undecided=undecided,
        runs=runs,
        reason=reason,
        witness=None if witness is None else witness.tolist(),
    )


def _summary(epsilon: float, outcomes: Sequence[schema.Outcome]) -> schema.Summary:
    here = [outcome for outcome in outcomes if outcome.epsilon == epsilon]
    counts = {verdict.value: sum(outcome.verdict == verdict.value for outcome in here) for verdict in Verdict}
    by_invariance = sum(outcome.by == "invariance" for outcome in here)
    shares = {name: parts.Share.of(count, len(here)) for name, count in counts.items()}
    return schema.Summary(epsilon=epsilon, by_invariance=parts.Share.of(by_invariance, len(here)), **shares)


def _single_flips(subject: _Subject, position: int, right: bool) -> schema.SingleFlips:
    """Nothing is tried where the sample is misclassified as it is."""
    sample, binary = subject.indices[position], subject.binary[position]
    breaking = single_flips(subject.hybrid.decide, binary, int(subject.samples.labels[position])) if right else []
    return schema.SingleFlips(sample=sample, pixels=len(binary) if right else 0, breaking=tuple(breaking))


def _smoothing(config: StudyConfig, subject: _Subject) -> schema.Smoothing:
    count = min(config.smoothed, len(subject.indices))
    settings = Smoothing(config.flip, selection=max(1, config.draws // 10), estimation=config.draws, alpha=RISK / count)
    rows = []
    for position in range(count):
        found = smooth(subject.hybrid.decide, subject.binary[position], settings, config.seed + position)
        label = int(subject.samples.labels[position])
        rows.append(schema.Smoothed(sample=subject.indices[position], label=label, **vars(found)))
    right = [row.flips for row in rows if row.predicted == row.label]
    shares = tuple(parts.Share.of(sum(flips >= k for flips in right), len(rows)) for k in range(max([*right, 0]) + 2))
    description = f"{settings.describe()}, so that all hold with probability {1 - RISK:g}."
    return schema.Smoothing(description=description, flip=config.flip, draws=config.draws, risk=RISK, samples=tuple(rows), certified=shares)


def _levels(config: StudyConfig, subject: _Subject, seen: Sequence[Tensor]) -> tuple[schema.Level, ...]:
    """Accuracy and clusters at every level."""
    classifier, labels, rows = subject.checkpoint.classifier, subject.samples.labels, []
    several = len(set(labels.tolist())) > 1
    reference = clusters(_embed(classifier, seen[0]), labels) if several else None
    for level, maps in zip(config.noise, seen, strict=True):
        geometry = None
        if reference is not None:
            here = clusters(_embed(classifier, maps), labels)
            shift = reference.shift(here)
            geometry = schema.Geometry(size=here.size, mean_distance=here.mean_distance, least_distance=here.least_distance, shift=shift)
        rows.append(schema.Level(noise=level, correct=_share(subject.hybrid.classify(maps) == labels), clusters=geometry))
    return tuple(rows)


def _pictures(config: StudyConfig, subject: _Subject, seen: Sequence[Tensor]) -> tuple[schema.Pictures, ...]:
    noisy, side = _noisy(subject.binary, config.shown_noise, config.seed), subject.hybrid.preprocessor.network.settings.excitatory
    maps = seen[0], seen[config.noise.index(config.shown_noise)]
    return tuple(
        schema.Pictures(
            sample=subject.indices[position],
            label=int(subject.samples.labels[position]),
            image=subject.samples.inputs[position].tolist(),
            binary=subject.binary[position].astype(float).reshape(1, side, side).tolist(),
            map=maps[0][position].tolist(),
            noisy_binary=noisy[position].astype(float).reshape(1, side, side).tolist(),
            noisy_map=maps[1][position].tolist(),
        )
        for position in range(min(PICTURES, len(subject.indices)))
    )


def _clouds(config: StudyConfig, subject: _Subject, seen: Sequence[Tensor]) -> tuple[schema.Cloud, ...]:
    """Embeddings without and with noise, projected alike."""
    clean = _embed(subject.checkpoint.classifier, seen[0])
    centre = clean.mean(0)
    plane = torch.linalg.svd(clean - centre, full_matrices=False).Vh[:2].T
    labels, clouds = tuple(subject.samples.labels.tolist()), []
    for level in dict.fromkeys((0.0, config.shown_noise)):
        points = (_embed(subject.checkpoint.classifier, seen[config.noise.index(level)]) - centre) @ plane
        flat = torch.nn.functional.pad(points, (0, 2 - points.shape[1]))  # a single sample spans no plane
        clouds.append(schema.Cloud(noise=level, x=tuple(flat[:, 0].tolist()), y=tuple(flat[:, 1].tolist()), labels=labels))
    return tuple(clouds)


def _few(config: StudyConfig, recipe: Recipe, samples: Samples) -> schema.FewShots:
    """The recipe's hybrid on the samples."""
    assert recipe.snan is not None
    hybrid = training.train(recipe, data=_instead(config, recipe)).hybrid
    binary = hybrid.preprocessor.binarise(samples.inputs)
    shares = [_share(hybrid.decide(_noisy(binary, level, config.seed)) == samples.labels) for level in (0.0, config.shown_noise)]
    return schema.FewShots(per_class=recipe.snan.per_class, clean=shares[0], noisy=shares[1])


def _trace(subject: _Subject, box: AstrocyteBox) -> schema.Trace:
    """Spikes and calcium of the first sample, and what calcium can never exceed."""
    network = subject.hybrid.preprocessor.network
    settings, spikes, calcium = network.settings, raster(network, subject.binary[0]), calcium_trace(network, subject.binary[0])
    stride = math.ceil(settings.excitatory**2 / RASTER_NEURONS)
    kept = spikes.neurons % stride == 0
    inside, outside = (tuple(None if math.isnan(v) else v for v in part.tolist()) for part in (calcium.inside, calcium.outside))
    return schema.Trace(
        sample=subject.indices[0],
        spike_times=tuple(np.round(spikes.times[kept], 3).tolist()),
        spike_neurons=tuple((spikes.neurons[kept] // stride).tolist()),
        neurons=math.ceil(settings.excitatory**2 / stride),
        calcium_times=tuple(calcium.times.tolist()),
        inside=inside,
        outside=outside,
        highest=tuple(calcium.highest.tolist()),
        threshold=settings.modulation.calcium,
        limit=float(box.calcium),
        ip3_limit=float(box.ip3),
    )
