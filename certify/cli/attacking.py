"""``certify attack``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from neurocert.certify.cli.certifying import configurations
from neurocert.certify.config import RunConfig, WeightTolerance, parse_names, parse_numbers
from neurocert.certify.errors import ConfigError
from neurocert.perturbations.attacks import attack


def attack_configurations(
    checkpoints: Sequence[str],
    data: str,
    epsilons: str,
    norm: str,
    attacks: str,
    samples: str | None,
    seed: int,
    weights: WeightTolerance | None = None,
) -> tuple[RunConfig, ...]:
    """One configuration for each checkpoint: attacks alone, and whether gradients lead them anywhere.

    Raises:
        ConfigError: a grid that does not increase, a word that cannot be read, or a value that cannot be used.
        InputError: an unknown attack.
    """
    radii = parse_numbers(epsilons, "epsilon")
    if any(not a < b for a, b in pairwise(radii)):
        raise ConfigError(
            f"epsilons are {', '.join(f'{radius:g}' for radius in radii)}, expected increasing ones", "sort the grid, each once"
        )
    for name in parse_names(attacks):
        attack(name)
    configs = configurations(checkpoints, data, epsilons, norm, "none", attacks, samples, seed, weights=weights)
    return tuple(replace(config, saturation=True) for config in configs)
