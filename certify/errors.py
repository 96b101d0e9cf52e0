"""Errors of the verifier. ``InputError`` and its kin (see ``neurocert.models.errors``) are the user's to mend."""

from __future__ import annotations

from neurocert.models.errors import CheckpointError, DataError, InputError, NeurocertError, RecipeError

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InputError",
    "NeurocertError",
    "NumericalFailure",
    "OutOfTime",
    "RecipeError",
    "SandwichBreach",
    "UnsupportedLayer",
]


class ConfigError(InputError):
    """An option or configuration value that cannot be used."""


class UnsupportedLayer(InputError):
    """A layer without a rule, found before anything is computed."""


class NumericalFailure(NeurocertError):
    """A bound that is not a number, not finite, or empty. Turns a verdict into "unknown", never into anything else."""


class OutOfTime(NeurocertError):
    """A bound was not found before its deadline. Turns a verdict into "unknown", never into anything else."""


class SandwichBreach(NeurocertError):
    """An attack broke what a proof had certified: a defect of this package, never a result."""
