"""One run, from a configuration to its report."""

from __future__ import annotations

import time

import torch

from neurocert.certify.campaign.campaign import Progress, campaign
from neurocert.certify.campaign.masking import saturation
from neurocert.certify.config import RunConfig
from neurocert.certify.errors import ConfigError
from neurocert.certify.problem import make_problem
from neurocert.certify.reports.build import build_report
from neurocert.certify.reports.schema import Report
from neurocert.certify.verifiers.margins import method
from neurocert.models.checkpoints import load
from neurocert.models.data.samples import Samples, require_fit
from neurocert.models.data.source import load_samples
from neurocert.perturbations.attacks import attack
from neurocert.perturbations.named import named_set
from neurocert.perturbations.weights import WeightBox

DEFAULT_SAMPLES = 100


def run(config: RunConfig, progress: Progress = lambda text, done, steps: None) -> Report:
    """Certifies and attacks a checkpoint on a data set.

    Args:
        config: what to do.
        progress: told before each step.

    Raises:
        InputError: a file, value or option that cannot be used; nothing has been computed then.
        SandwichBreach: an attack broke a proof: a defect of this package.
    """
    begun = time.perf_counter()
    methods, attacks = tuple(map(method, config.methods)), tuple(map(attack, config.attacks))
    checkpoint = load(config.checkpoint)
    data = load_samples(config.data)
    require_fit(data, checkpoint.network.inputs, len(checkpoint.network.classes))
    indices = chosen_indices(config.samples, data)
    chosen = data.take(indices)
    balls = tuple(named_set(config.norm, epsilon) for epsilon in config.epsilons)
    given = config.weights
    weights = None if given is None else WeightBox(given.relative, given.absolute, given.names)
    problem = make_problem(checkpoint.network, chosen.inputs, chosen.labels, balls[-1], config.arithmetic, weights)
    with torch.random.fork_rng():
        found = campaign(problem, balls, methods, attacks, config.seed, progress)
        reached = saturation(problem, attacks, found, config.seed) if config.saturation else None
    return build_report(config, checkpoint, data, indices, problem, attacks, found, reached, time.perf_counter() - begun)


def chosen_indices(samples: int | tuple[int, ...] | None, data: Samples) -> list[int]:
    """The first so many, or those named, or by default the first hundred.

    Raises:
        ConfigError: more than there are, or an index outside the data.
    """
    if samples is None:
        return list(range(min(DEFAULT_SAMPLES, len(data))))
    highest = samples - 1 if isinstance(samples, int) else max(samples)
    if highest >= len(data):
        raise ConfigError(f"samples: {data.name} has {len(data)} samples (0..{len(data) - 1}), asked for number {highest}")
    return list(range(samples)) if isinstance(samples, int) else list(samples)
