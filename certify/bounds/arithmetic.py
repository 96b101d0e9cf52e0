"""Which arithmetic a certificate speaks about, and how far rounding can move a value.

Every sum of n products computed in floating point with unit roundoff u, in any order, with or without fused
multiply-add, lies within gamma_n sum |w||x| of the exact one, gamma_n = n u / (1 - n u). Two arithmetics meet here: the
network's own (whose error the certificate must cover) and our float64 (whose error may only loosen a bound).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.errors import ConfigError, NumericalFailure

FLOOR = 2.0**-100
"""Added to magnitudes and to the factors of products, so that underflow and flush-to-zero, of results and of operands
(below 2^-126 in float32), are covered."""
LARGEST_GAMMA = 0.005
FIRST_ORDER = 1.02
"""Covers 1 / (1 - n u) and the rounding of the error terms themselves, given n u <= LARGEST_GAMMA."""
OWN_UNIT = 8 * 2.0**-53
"""Float64 unit roundoff with a factor for the few operations around each sum of a rule."""


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic in which the certified network runs.

    Attributes:
        name: as given on the command line.
        unit: unit roundoff u; 0 for real numbers.
        largest: a magnitude above this may overflow.
        statement: what a certificate claims under this arithmetic.
    """

    name: str
    unit: float
    largest: float
    statement: str

    def radius(self, operations: int, magnitude: Tensor) -> Tensor:
        """How far the network's own rounding can move a value.

        Args:
            operations: roundings met by each value; 0 for an exact operation.
            magnitude: sum |w||x|, or what bounds every intermediate result.

        Raises:
            NumericalFailure: values that may overflow, or too many roundings for a first-order bound.
        """
        if not bool((magnitude <= self.largest).all()):
            raise NumericalFailure(f"values up to {float(magnitude.max()):g} may overflow {self.name}")
        return _radius(self.unit, operations, magnitude)


REAL = Arithmetic(
    "real",
    0.0,
    1e300,
    "the network evaluated in real arithmetic, with its stored weights, and what it computes from weights alone, taken exactly as they are",
)
FLOAT32 = Arithmetic(
    "float32",
    2.0**-24,
    1e38,
    "every float32 evaluation of the network, in any order of summation, with or without fused multiply-add and "
    "flush-to-zero in sums and products; not TF32, nor Winograd or FFT convolutions; what is computed from weights alone as PyTorch "
    "computes it here",
)
FLOAT64 = Arithmetic(
    "float64",
    2.0**-53,
    1e300,
    "every float64 evaluation of the network, in any order of summation; what is computed from weights alone as PyTorch computes it here",
)
ARITHMETICS = {arithmetic.name: arithmetic for arithmetic in (REAL, FLOAT32, FLOAT64)}


def arithmetic(name: str) -> Arithmetic:
    """The arithmetic of this name.

    Raises:
        ConfigError: unknown name.
    """
    if name not in ARITHMETICS:
        raise ConfigError(f"arithmetic is {name!r}, expected one of {', '.join(ARITHMETICS)}")
    return ARITHMETICS[name]


def own_radius(operations: int, magnitude: Tensor) -> Tensor:
    """How far our own float64 rounding can move a value, ``operations`` and ``magnitude`` as in ``Arithmetic.radius``."""
    return _radius(OWN_UNIT, operations, magnitude)


def magnitude(lower: Tensor, upper: Tensor) -> Tensor:
    """max |x| over [lower, upper]."""
    return torch.maximum(lower.abs(), upper.abs())


def product_magnitude(x: Tensor, y: Tensor) -> Tensor:
    """Bounds the product of two values of magnitudes ``x`` and ``y`` whatever underflows, once charged with a rounding."""
    return (x + FLOOR) * (y + FLOOR)


def _radius(unit: float, operations: int, magnitude: Tensor) -> Tensor:
    if operations * unit > LARGEST_GAMMA:
        raise NumericalFailure(f"{operations} roundings of {unit:g} are too many for a useful error bound")
    return FIRST_ORDER * operations * unit * (magnitude + FLOOR)
