from __future__ import annotations

import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.models.layers.step import Step


@pytest.mark.parametrize(("comparison", "at_threshold"), [(">", 0.0), (">=", 1.0)])
def test_fires_above_its_threshold(comparison: str, at_threshold: float) -> None:
    step = Step(0.25, comparison)  # type: ignore[arg-type]
    assert step(torch.tensor([-1.0, 0.25, 0.2500001, 7.0])).tolist() == [0.0, at_threshold, 1.0, 1.0]
    assert not step.state_dict()


def test_one_threshold_for_each_element_is_stored() -> None:
    step = Step(torch.tensor([0.0, 1.0]), ">")
    assert step(torch.tensor([[0.5, 0.5], [2.0, 2.0]])).tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert list(step.state_dict()) == ["threshold"]


def test_learns_by_its_surrogate() -> None:
    signal = torch.tensor([0.1, 0.9], requires_grad=True)
    Step(0.25, ">", "rectangle")(signal).sum().backward()
    assert signal.grad is not None
    assert signal.grad.tolist() == [1.0, 0.0]


def test_unknown_options() -> None:
    with pytest.raises(InputError, match="surrogate is 'hat', expected one of sech-squared"):
        Step(0.0, ">", "hat")
    with pytest.raises(InputError, match="comparison is '<', expected '>' or '>='"):
        Step(0.0, "<")  # type: ignore[arg-type]
