"""An element is tightened once, however many layers read it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import REAL
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import Value, capture
from neurocert.certify.bounds.propagation import Propagation
from neurocert.perturbations.balls import LinfBall


class ReadTwice(nn.Module):
    """A value of which a ReLU needs the elements that may have either sign, and a product all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        value = self.second(torch.relu(self.first(x)))
        return torch.relu(value) + value * torch.sigmoid(value)


def test_only_what_is_missing_is_tightened(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    graph, inputs = capture(ReadTwice().eval(), (3,)), InputSet(LinfBall(0.3), torch.rand(4, 3, dtype=torch.float64))
    tightened: list[tuple[Value, Tensor]] = []
    tighten = Propagation._tighten

    def recorded(self: Propagation, value: Value, mask: Tensor) -> None:
        tightened.append((value, mask))
        tighten(self, value, mask)

    monkeypatch.setattr(Propagation, "_tighten", recorded)
    bounds = Propagation(graph, inputs, REAL, refine=True).bounds
    (value, times), *_ = Counter(value for value, _ in tightened).most_common()
    masks = [mask for one, mask in tightened if one == value]
    assert times == 2 and masks[0].any() and masks[1].any()
    assert not bool((masks[0] & masks[1]).any()) and bool((masks[0] | masks[1]).all())
    unrefined = Propagation(graph, inputs, REAL, refine=False).bounds
    assert bool((bounds[value].upper - bounds[value].lower).mean() < (unrefined[value].upper - unrefined[value].lower).mean())
