"""An attack through many surrogates: each is used, none outlives it, and together they see more than the network's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.layers.surrogate import SURROGATES, differentiated_by, spike
from neurocert.perturbations.attacks import PGD, Refined, Square, Surrogates
from neurocert.perturbations.attacks.surrogates import SHAPES, WIDTHS, derivatives, spikes
from neurocert.perturbations.balls import LinfBall

DATA = digits("test").take(range(40))
BALL = LinfBall(0.1, 0.0, 1.0)


class Step(nn.Module):
    """One spike on the mean of the input; its own surrogate, a narrow rectangle, is zero at the samples."""

    def forward(self, inputs: Tensor) -> Tensor:
        fired = spike(20 * (inputs.flatten(1).mean(1) - 0.5), 0.0, ">", "rectangle")
        return torch.stack([fired, 0.5 * torch.ones_like(fired)], 1)


def test_a_surrogate_can_be_replaced_inside_a_block() -> None:
    potential = torch.tensor([0.3, 2.0], requires_grad=True)
    for _ in range(2):
        with differentiated_by(lambda distance: 7 + distance):
            replaced = torch.autograd.grad(spike(potential, 0.5, ">", "rectangle").sum(), potential)[0]
        own = torch.autograd.grad(spike(potential, 0.5, ">", "rectangle").sum(), potential)[0]
        assert torch.allclose(replaced, torch.tensor([6.8, 8.5])) and own.tolist() == [1.0, 0.0]


def test_spikes_are_recognised_by_their_gradients() -> None:
    assert spikes(load("digits-flex-snn").network, DATA.inputs) and spikes(Step(), DATA.inputs)
    assert not spikes(load("digits-flex-ann").network, DATA.inputs)


def test_every_shape_at_every_width_has_the_area_of_its_shape() -> None:
    assert SURROGATES.keys() < SHAPES.keys()
    grid = torch.linspace(-100, 100, 400_001, dtype=torch.float64)
    areas = [float(derivative(grid).sum() * 0.0005) for derivative in derivatives()]
    assert len(areas) == len(SHAPES) * len(WIDTHS)
    for start, shape in zip(range(0, len(areas), len(WIDTHS)), SHAPES.values(), strict=True):
        expected = float(shape(grid).sum() * 0.0005)
        assert all(abs(area - expected) < 0.02 for area in areas[start : start + len(WIDTHS)])


def test_a_wide_surrogate_sees_what_a_narrow_one_hides() -> None:
    inputs, labels = torch.full((2, 1, 3, 3), 0.6), torch.zeros(2, dtype=torch.int64)
    ball = LinfBall(0.15, 0.0, 1.0)
    alone = PGD(steps=10, restarts=1).search(Step(), inputs, labels, ball, torch.Generator().manual_seed(0))
    together = Surrogates(PGD(steps=10, restarts=1)).search(Step(), inputs, labels, ball, torch.Generator().manual_seed(0))
    assert not bool(alone.broken.any()) and bool(together.broken.all())


def test_surrogates_and_refinement_break_more_of_a_spiking_network() -> None:
    network, base = load("digits-flex-snn").network, PGD(steps=8, restarts=1)
    own, many, refined = (
        int(searcher.search(network, DATA.inputs, DATA.labels, BALL, torch.Generator().manual_seed(0)).broken.sum())
        for searcher in (base, Surrogates(base), Refined(base, 1, 1, Square(queries=300, area=0.03)))
    )
    assert many > own and refined > own
