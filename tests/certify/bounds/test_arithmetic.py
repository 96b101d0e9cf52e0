"""Float traps: what real arithmetic proves may be false of the computed network, and the charge must show it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert import certify
from neurocert.certify.bounds.arithmetic import FLOAT32, REAL, arithmetic, own_radius
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.errors import ConfigError, NumericalFailure
from neurocert.models.layers.lif import LIF
from neurocert.models.semantics import FactorLeak, Spiking


def test_a_margin_below_rounding_is_no_proof_in_float32() -> None:
    """2^24 + 1 - 2^24 is 1 in real arithmetic and 0 in float32."""
    network = nn.Sequential(nn.Linear(3, 2, bias=False)).eval()
    network[0].weight.data = torch.tensor([[2.0**24, 1.0, -(2.0**24)], [0.0, 0.0, 0.5]])
    inputs, labels = torch.ones(1, 3), torch.tensor([0])
    verdicts = {
        name: certify.verify(network, inputs, labels, certify.LinfBall(0.0), method="linear", arithmetic=name)[0].verdict
        for name in ("real", "float32")
    }
    logits = network(inputs).detach()[0]
    assert verdicts["float32"] != "certified"
    assert verdicts["real"] == "certified" or logits[0] <= logits[1]


class Sum(nn.Module):
    """Fires where the sum of ten tenths, as computed, is above or at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.total = nn.Linear(10, 2, bias=False)
        self.total.weight.data = torch.stack([torch.full((10,), 0.1), torch.zeros(10)])
        self.neuron = LIF(Spiking(1.0, ">=", "hard", 0.0, "in-step", FactorLeak(0.5), 1, "direct", "mean"))

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(None, self.total(x))[1]


def test_a_sum_within_rounding_of_the_threshold_is_unknown() -> None:
    (certificate,) = certify.verify(
        Sum().eval(), torch.ones(1, 10), torch.tensor([0]), certify.LinfBall(0.0), method="interval", attack=None
    )
    assert certificate.verdict in ("unknown", "misclassified")


@pytest.mark.parametrize("weight", [1e30, 1e38, 3e38])
def test_values_that_may_overflow_are_unknown(weight: float) -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        network[0].weight.fill_(weight)
        network[2].weight.copy_(torch.tensor([[1e9, 1e9, 1e9], [0.0, 0.0, 0.0]]))
    for method in ("interval", "linear", "optimised"):
        (certificate,) = certify.verify(network, torch.full((1, 4), 0.5), torch.tensor([0]), certify.LinfBall(0.1), method=method)
        assert certificate.verdict in ("unknown", "misclassified", "falsified")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_is_a_failure(bad: float) -> None:
    good = torch.zeros(2, dtype=torch.float64)
    for lower, upper in ((torch.tensor([0.0, bad]), good), (good, torch.tensor([0.0, bad])), (torch.tensor([0.0, 1.0]), good)):
        with pytest.raises(NumericalFailure):
            Interval(lower.double(), upper)


def test_too_many_roundings_are_a_failure() -> None:
    with pytest.raises(NumericalFailure, match="too many"):
        FLOAT32.radius(2**20, torch.ones(1, dtype=torch.float64))


def test_real_numbers_do_not_round() -> None:
    assert float(REAL.radius(1000, torch.tensor(1e10, dtype=torch.float64))) == 0
    assert float(own_radius(1000, torch.tensor(1.0, dtype=torch.float64))) > 0


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_the_charge_covers_sums_in_any_order(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    terms = torch.randn(200, count, generator=generator) * torch.logspace(-3, 3, count)
    exact = torch.tensor([float(sum(map(int, (row.double() * 2.0**60).tolist())) / 2**60) for row in terms], dtype=torch.float64)
    charge = FLOAT32.radius(count, terms.double().abs().sum(1))
    for order in (terms, terms.flip(1), terms.sort(1).values):
        computed = order.cumsum(1)[:, -1].double()
        assert bool(((computed - exact).abs() <= charge).all())


def test_an_unknown_arithmetic() -> None:
    with pytest.raises(ConfigError, match="expected one of real, float32, float64"):
        arithmetic("float16")
