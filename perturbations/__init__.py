"""Threat models, as sets and distributions over inputs, and the attacks that search them."""

from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall, ball

__all__ = ["Ball", "L1Ball", "L2Ball", "LinfBall", "ball"]
