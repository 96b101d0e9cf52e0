"""Attacks: searches for a point of a perturbation set that changes a decision. The forward pass is always the exact network."""

from neurocert.perturbations.attacks.gradient import FGSM, PGD, Attack, AttackResult, attack, attacks

__all__ = ["FGSM", "PGD", "Attack", "AttackResult", "attack", "attacks"]
