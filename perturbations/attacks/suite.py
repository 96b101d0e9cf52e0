"""Every attack by its name."""

from __future__ import annotations

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from neurocert.perturbations.attacks.estimated import SPGD
from neurocert.perturbations.attacks.flipping import FlipSearch
from neurocert.perturbations.attacks.gradient import FGSM, PGD, Attack
from neurocert.perturbations.attacks.library import PREFIX, library_attack
from neurocert.perturbations.attacks.refined import Refined
from neurocert.perturbations.attacks.softened import Softened
from neurocert.perturbations.attacks.square import Square
from neurocert.perturbations.attacks.surrogates import Surrogates
from neurocert.perturbations.flips import Flips
from neurocert.perturbations.sets import Ball


def attacks() -> tuple[Attack, ...]:
    """Every attack of this package that serves all sets, with its default parameters."""
    return (
        FGSM(),
        PGD(),
        SPGD(),
        APGDCE(),
        APGDDLR(),
        APGDTargeted(),
        Square(),
        Surrogates(),
        Softened(),
        Refined(),
    )


def special_attacks() -> tuple[Attack, ...]:
    """Those that serve one kind of set alone."""
    return (FlipSearch(),)


def completed(chosen: tuple[Attack, ...], ball: Ball) -> tuple[Attack, ...]:
    """The attacks, if any, and after them the one that is made for this kind of set."""
    search = FlipSearch()
    wanted = chosen and isinstance(ball, Flips) and not any(attack.name == search.name for attack in chosen)
    return (*chosen, search) if wanted else chosen


def attack(name: str) -> Attack:
    """The attack of this name, with its default parameters.

    Args:
        name: one of ``attacks()`` or ``special_attacks()``, or "torchattacks:NAME" for one of that library's.

    Raises:
        InputError: unknown name, or the library is missing.
    """
    if name.startswith(PREFIX):
        return library_attack(name.removeprefix(PREFIX))
    known = {candidate.name: candidate for candidate in (*attacks(), *special_attacks())}
    if name not in known:
        raise InputError(f"attack is {name!r}, expected one of {', '.join(known)}", f"or {PREFIX}NAME, an attack of that library")
    return known[name]
