"""Threat models, as sets and distributions over inputs, and the attacks that search them."""

from neurocert.perturbations.balls import L1Ball, L2Ball, LinfBall, ball
from neurocert.perturbations.boxes import Box, WeightedLinfBall
from neurocert.perturbations.drift import SharedDrift
from neurocert.perturbations.flips import Flips
from neurocert.perturbations.named import named_set
from neurocert.perturbations.sets import Ball
from neurocert.perturbations.weights import WeightBox, WeightSet

__all__ = [
    "Ball",
    "Box",
    "Flips",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "SharedDrift",
    "WeightBox",
    "WeightSet",
    "WeightedLinfBall",
    "ball",
    "named_set",
]
