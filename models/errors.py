"""Errors that a user can cause and mend. Each says what was got, what was expected, where, and what to do."""

from __future__ import annotations


class NeurocertError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: what was got and what was expected, with the place (file, layer, argument).
        hint: what the user can do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(NeurocertError, ValueError):
    """Something handed to us (a file, a value, an option) cannot be used."""


class CheckpointError(InputError):
    """A checkpoint file that cannot be read, or that is not what it says it is."""


class DataError(InputError):
    """A data file or array that cannot be used as samples."""


class RecipeError(InputError):
    """A training recipe that cannot be read or does not describe a training."""
