from __future__ import annotations

import math

import pytest

from neurocert.models.errors import InputError
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.semantics import Semantics


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, 0.0), (-math.inf, 1.0), (0.0, math.inf), (math.nan, 1.0), (0.0, math.nan)])
def test_an_input_range_is_finite_and_ordered(low: float, high: float) -> None:
    with pytest.raises(InputError, match="input range"):
        InputSpace((1, 2, 2), low, high)


@pytest.mark.parametrize("shape", [(), (1, 0, 2), (-1, 2, 2)])
def test_an_input_shape_has_positive_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="input shape"):
        InputSpace(shape, 0.0, 1.0)


def test_one_class_is_no_decision() -> None:
    with pytest.raises(InputError, match="at least 2 names"):
        Classifier(InputSpace((1, 2, 2), 0.0, 1.0), Semantics(None), ("only",))
