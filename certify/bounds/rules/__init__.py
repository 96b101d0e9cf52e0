"""The rules, one file for each family of layers. Importing this package fills the table."""

from neurocert.certify.bounds.rules import (
    activation,
    affine,
    arithmetic,
    attention,
    averaging,
    bilinear,
    comparison,
    lif,
    normalisation,
    plastic_flex,
    pooling,
    shape,
    smooth,
    spike_train,
    step,
    uncertain,
)

__all__ = [
    "activation",
    "affine",
    "arithmetic",
    "attention",
    "averaging",
    "bilinear",
    "comparison",
    "lif",
    "normalisation",
    "plastic_flex",
    "pooling",
    "shape",
    "smooth",
    "spike_train",
    "step",
    "uncertain",
]
