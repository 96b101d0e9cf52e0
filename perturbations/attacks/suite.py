"""Every attack by its name."""

from __future__ import annotations

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from neurocert.perturbations.attacks.estimated import SPGD
from neurocert.perturbations.attacks.gradient import FGSM, PGD, Attack
from neurocert.perturbations.attacks.library import PREFIX, library_attack
from neurocert.perturbations.attacks.square import Refined, Square
from neurocert.perturbations.attacks.surrogates import Surrogates


def attacks() -> tuple[Attack, ...]:
    """Every attack of this package, with its default parameters."""
    return (
        FGSM(),
        PGD(),
        SPGD(),
        APGDCE(),
        APGDDLR(),
        APGDTargeted(),
        Square(),
        Surrogates(),
        Refined(Surrogates(PGD(steps=10, restarts=1))),
    )


def attack(name: str) -> Attack:
    """The attack of this name, with its default parameters.

    Args:
        name: one of ``attacks()``, or "torchattacks:NAME" for one of that library's.

    Raises:
        InputError: unknown name, or the library is missing.
    """
    if name.startswith(PREFIX):
        return library_attack(name.removeprefix(PREFIX))
    known = {candidate.name: candidate for candidate in attacks()}
    if name not in known:
        raise InputError(f"attack is {name!r}, expected one of {', '.join(known)}", f"or {PREFIX}NAME, an attack of that library")
    return known[name]
