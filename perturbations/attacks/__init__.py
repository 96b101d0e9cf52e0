"""Attacks: searches for a point of a perturbation set that changes a decision. What they find is judged by the exact network."""

from neurocert.perturbations.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from neurocert.perturbations.attacks.estimated import SPGD
from neurocert.perturbations.attacks.flipping import FlipSearch
from neurocert.perturbations.attacks.gradient import FGSM, PGD, Attack, AttackResult
from neurocert.perturbations.attacks.refined import Refined
from neurocert.perturbations.attacks.softened import Softened
from neurocert.perturbations.attacks.square import Square
from neurocert.perturbations.attacks.suite import attack, attacks, completed, special_attacks
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
    "FlipSearch",
    "Refined",
    "Softened",
    "Square",
    "Surrogates",
    "attack",
    "attacks",
    "completed",
    "special_attacks",
]
