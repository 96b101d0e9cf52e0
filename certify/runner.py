"""One run, from a configuration to its report."""

from __future__ import annotations

import time

import torch

from neurocert.certify.campaign.campaign import Progress, campaign
from neurocert.certify.campaign.masking import saturation
from neurocert.certify.config import RunConfig
from neurocert.certify.problem import make_problem
from neurocert.certify.reports.build import build_report
from neurocert.certify.reports.schema import Report
from neurocert.certify.selection import select
from neurocert.certify.verifiers.margins import method
from neurocert.models.checkpoints import load
from neurocert.perturbations.attacks import attack, completed
from neurocert.perturbations.named import named_set
from neurocert.perturbations.weights import WeightBox


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
    methods, chosen_attacks = tuple(map(method, config.methods)), tuple(map(attack, config.attacks))
    checkpoint = load(config.checkpoint)
    chosen = select(checkpoint.network, config.data, config.samples)
    balls = tuple(named_set(config.norm, epsilon) for epsilon in config.epsilons)
    attacks = completed(chosen_attacks, balls[-1])
    given = config.weights
    weights = None if given is None else WeightBox(given.relative, given.absolute, given.names)
    problem = make_problem(checkpoint.network, chosen.samples.inputs, chosen.samples.labels, balls[-1], config.arithmetic, weights)
    with torch.random.fork_rng():
        found = campaign(problem, balls, methods, attacks, config.seed, progress, config.time_limit)
        reached = saturation(problem, attacks, found, config.seed) if config.saturation else None
    return build_report(config, checkpoint, chosen.data, chosen.indices, problem, attacks, found, reached, time.perf_counter() - begun)
