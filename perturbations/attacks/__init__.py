"""Attacks: searches for a point of a perturbation set that changes a decision. The forward pass is always the exact network."""

from neurocert.perturbations.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from neurocert.perturbations.attacks.estimated import SPGD
from neurocert.perturbations.attacks.gradient import FGSM, PGD, Attack, AttackResult
from neurocert.perturbations.attacks.square import Refined, Square
from neurocert.perturbations.attacks.suite import attack, attacks
from neurocert.perturbations.attacks.surrogates import Surrogates

__all__ = [
    "APGDCE",
    "APGDDLR",
    "FGSM",
    "PGD",
    "SPGD",
    "APGDTargeted",
    "Attack",
    "AttackResult",
    "Refined",
    "Square",
    "Surrogates",
    "attack",
    "attacks",
]
