"""The rules, one file for each family of layers. Importing this package fills the table."""

from neurocert.certify.bounds.rules import activation, affine, arithmetic, lif, plastic_flex, pooling, shape, spike_train

__all__ = ["activation", "affine", "arithmetic", "lif", "plastic_flex", "pooling", "shape", "spike_train"]
