from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurocert.models.layers.surrogate import SURROGATES, spike

PRIMITIVES: dict[str, Callable[[float], float]] = {
    "sech-squared": lambda x: 0.3 * math.tanh(x),
    "arctangent": lambda x: math.atan(math.pi * x) / math.pi,
    "rectangle": lambda x: min(max(x, -0.5), 0.5),
    "ramp": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
}


@given(potential=st.floats(width=32), threshold=st.floats(-4, 4, width=32), surrogate=st.sampled_from(sorted(SURROGATES)))
def test_forward_is_the_comparison_whatever_the_surrogate(potential: float, threshold: float, surrogate: str) -> None:
    value = torch.tensor([potential])
    assert spike(value, threshold, ">", surrogate).item() == float(potential > threshold)
    assert spike(value, threshold, ">=", surrogate).item() == float(potential >= threshold)


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
@pytest.mark.parametrize("comparison", [">", ">="])
def test_gradient_is_the_primitives_slope_at_the_distance_to_the_threshold(surrogate: str, comparison: str) -> None:
    threshold, step = 0.75, 1e-6
    potential = torch.tensor([-2.0, 0.3, 0.6, 0.75, 1.1, 3.0], dtype=torch.float64, requires_grad=True)
    (2.0 * spike(potential, threshold, comparison, surrogate)).sum().backward()  # type: ignore[arg-type]
    primitive = PRIMITIVES[surrogate]
    slopes = [(primitive(v - threshold + step) - primitive(v - threshold - step)) / (2 * step) for v in potential.tolist()]
    assert potential.grad is not None
    assert potential.grad.tolist() == pytest.approx([2.0 * slope for slope in slopes], abs=1e-6)


def test_every_surrogate_is_tested() -> None:
    assert PRIMITIVES.keys() == SURROGATES.keys()
