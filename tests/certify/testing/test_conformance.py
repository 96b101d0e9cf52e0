"""The kit itself: it finds a wrong bound, and it does not cry wolf."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from neurocert.certify.bounds import registry
from neurocert.certify.errors import UnsupportedLayer
from neurocert.certify.testing.conformance import Violation, conforms, violations
from neurocert.certify.testing.networks import IMAGE, random_network
from neurocert.perturbations.balls import L1Ball, L2Ball, LinfBall


@pytest.mark.parametrize("seed", range(25))
def test_random_networks_conform(seed: int) -> None:
    centres = torch.rand(2, *IMAGE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    kind = (LinfBall, L2Ball, L1Ball)[seed % 3]
    conforms(random_network(seed), centres, kind(0.05, -1.0, 1.0), seed=seed)


def test_the_same_seed_is_the_same_network() -> None:
    first, second = (random_network(7).state_dict() for _ in range(2))
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_wrong_bound_is_reported_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    (rule,) = [rule for rule in registry.rules() if nn.ReLU in rule.layers]
    wrong = replace(rule, interval=lambda layer, inputs: ((inputs[0].lower, inputs[0].lower + 0.01),))
    monkeypatch.setitem(registry._RULES, nn.ReLU, wrong)
    network, centres = nn.Sequential(nn.ReLU()).eval(), torch.tensor([[0.5, 0.25]])
    found = violations(network, centres, LinfBall(0.1))
    assert {violation.output for violation in found} == {0, 1} and all("interval" in violation.bounds for violation in found)
    with pytest.raises(AssertionError, match="violations, first: interval"):
        conforms(network, centres, LinfBall(0.1))


def test_a_violation_says_everything() -> None:
    assert str(Violation("linear", 2, 1, 0.5, 0.6)) == "linear: output 2 of sample 1 is 0.5, claimed bound 0.6"


def test_a_layer_without_rule_is_named() -> None:
    with pytest.raises(UnsupportedLayer, match="Softsign"):
        violations(nn.Sequential(nn.Linear(2, 2), nn.Softsign()).eval(), torch.zeros(1, 2), LinfBall(0.1))
