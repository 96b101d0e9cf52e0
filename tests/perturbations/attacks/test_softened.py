"""Spikes as sigmoids: another network while a search looks, the same one when it judges."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.layers.surrogate import softened, spike
from neurocert.perturbations.attacks import PGD, Refined, Softened, Square, Surrogates
from neurocert.perturbations.balls import LinfBall

DATA = digits("test").take(range(40))
BALL = LinfBall(0.1, 0.0, 1.0)


def test_a_softened_spike_is_a_sigmoid_whose_width_is_a_share_of_the_threshold() -> None:
    potential = torch.tensor([1.0, 1.5, 3.0], requires_grad=True)
    with softened(0.25):
        soft = spike(potential, 2.0, ">", "rectangle")
        at_zero = spike(potential, 0.0, ">", "rectangle")
    assert torch.allclose(soft, torch.sigmoid((potential - 2) / 0.5)) and torch.allclose(at_zero, torch.sigmoid(potential / 0.25))
    assert bool((torch.autograd.grad(soft.sum(), potential)[0] > 0).all())
    assert spike(potential, 2.0, ">", "rectangle").tolist() == [0.0, 0.0, 1.0]


def test_the_network_judges_unsoftened() -> None:
    network = load("digits-flex-snn").network
    with softened(0.2):
        soft = network(DATA.inputs)
    assert not torch.allclose(soft, network(DATA.inputs))
    found = Softened(steps=10, restarts=1).search(network, DATA.inputs, DATA.labels, BALL, torch.Generator().manual_seed(0))
    own = network(found.points).double()
    others = own.scatter(1, DATA.labels[:, None], -torch.inf).max(1).values
    assert torch.equal(found.margins, (own.gather(1, DATA.labels[:, None])[:, 0] - others).detach())


def test_softened_spikes_lead_further_than_surrogates_do() -> None:
    network, kept = load("digits-flex-snn").network, DATA.take(range(20))
    surrogates, soft = (
        searcher.search(network, kept.inputs, kept.labels, BALL, torch.Generator().manual_seed(0)).margins.clamp(min=0).sum()
        for searcher in (Surrogates(PGD(steps=6, restarts=1)), Softened(steps=60, restarts=2))
    )
    assert soft < surrogates


class Narrow(nn.Module):
    """A spike whose own surrogate is zero unless the mean is within 0.025 of a half."""

    def forward(self, inputs: Tensor) -> Tensor:
        fired = spike(20 * (inputs.flatten(1).mean(1) - 0.5), 0.0, ">", "rectangle")
        return torch.stack([fired, 0.5 * torch.ones_like(fired)], 1)


def test_a_softened_spike_has_a_gradient_where_its_surrogate_has_none() -> None:
    inputs, labels = torch.full((2, 1, 3, 3), 0.6), torch.zeros(2, dtype=torch.int64)
    ball = LinfBall(0.15, 0.0, 1.0)
    generator = torch.Generator().manual_seed(0)
    assert not bool(PGD(steps=10, restarts=1).search(Narrow(), inputs, labels, ball, generator).broken.any())
    assert bool(Softened(restarts=1).search(Narrow(), inputs, labels, ball, generator).broken.all())


class Counting(nn.Module):
    """Counts the images that it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.shown = network, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.shown += len(inputs)
        return self.network(inputs)


def test_what_is_broken_is_left_alone() -> None:
    """Few of these images survive, so that all rounds together cost a fraction of what they could."""
    network, radius = Counting(load("digits-flex-snn").network), LinfBall(0.4, 0.0, 1.0)
    search = Refined(Softened(steps=10, restarts=1), 2, 2, Square(queries=200, area=0.03))
    found = search.search(network, DATA.inputs, DATA.labels, radius, torch.Generator().manual_seed(0))
    assert bool(found.broken.all()) and network.shown < len(DATA) * 2 * 2 * 200 / 2


def test_rounds_serve_the_samples_that_are_nearest_to_breaking() -> None:
    network = Counting(load("digits-flex-snn").network)
    shown = []
    for rounds in (1, 2):
        network.shown = 0
        search = Refined(Softened(steps=2, restarts=1), 2, rounds, Square(queries=50, area=0.03))
        search.search(network, DATA.inputs, DATA.labels, LinfBall(0.005, 0.0, 1.0), torch.Generator().manual_seed(0))
        shown.append(network.shown)
    assert shown[0] * 1.8 < shown[1] < shown[0] * 2.2
