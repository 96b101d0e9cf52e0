"""Sets of inputs by name, as the command line and a run's configuration give them."""

from __future__ import annotations

from neurocert.models.errors import InputError
from neurocert.perturbations.balls import BALLS
from neurocert.perturbations.flips import Flips
from neurocert.perturbations.sets import Ball

SETS: dict[str, type[Ball]] = {**BALLS, "flips": Flips}


def named_set(name: str, size: float) -> Ball:
    """The set of this name ("linf", "l2", "l1", "flips") and size: a radius, or how many flips.

    Raises:
        InputError: unknown name, or a size that the set cannot have.
    """
    if name not in SETS:
        raise InputError(f"norm is {name!r}, expected one of {', '.join(SETS)}")
    whole = name == "flips" and isinstance(size, float) and size.is_integer()
    return SETS[name](int(size) if whole else size)  # type: ignore[call-arg]
