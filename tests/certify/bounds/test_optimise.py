"""Optimised bounds: sound at every step, and never worse than where they start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import FLOAT32
from neurocert.certify.bounds.backward import InputSet, Mixes
from neurocert.certify.bounds.graph import capture
from neurocert.certify.bounds.optimise import Ascent, optimised_lower
from neurocert.certify.bounds.passes import simplify
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.deadline import Deadline
from neurocert.certify.errors import OutOfTime
from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.data.samples import Samples
from neurocert.models.networks.classifier import Classifier
from neurocert.perturbations.balls import Ball, L2Ball, LinfBall

NETWORKS = ("digits-flex-ann", "digits-flex-snn")
CLASSES = 10


def setting(name: str, ball: Ball) -> tuple[Classifier, Samples, Propagation, Tensor]:
    network, data = load(name).network, digits("test").take(range(4))
    graph = simplify(capture(network, network.inputs.shape), FLOAT32)
    with torch.no_grad():
        propagation = Propagation(graph, InputSet(ball, data.inputs), FLOAT32, refine=True)
    return network, data, propagation, torch.eye(CLASSES, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("ball", [LinfBall(0.03, 0.0, 1.0), L2Ball(0.3, 0.0, 1.0)], ids=["linf", "l2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_never_worse_than_the_start_and_below_every_point(name: str, ball: Ball) -> None:
    network, data, propagation, units = setting(name, ball)
    both = torch.cat([units, -units])
    with torch.no_grad():
        start = propagation.lower(propagation.graph.output, both)
        found = optimised_lower(propagation, propagation.graph.output, both, Ascent(steps=6))
    assert bool((found >= start).all()) and bool((found > start).any())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(100):
            logits = network(ball.sample(data.inputs, generator)).double()
            assert bool((found <= torch.einsum("rbc,bc->rb", both.expand(-1, len(logits), -1), logits)).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_mix_is_sound(name: str) -> None:
    ball = LinfBall(0.05, 0.0, 1.0)
    network, data, propagation, units = setting(name, ball)
    generator = torch.Generator().manual_seed(1)
    points = [ball.sample(data.inputs, generator) for _ in range(50)]
    with torch.no_grad():
        points += [
            ball.project(data.inputs + 0.05 * torch.randn(data.inputs.shape, generator=generator).sign(), data.inputs) for _ in range(50)
        ]
        least = torch.stack([network(point).double() for point in points]).amin(0).T
        for _ in range(4):
            mixes = Mixes()
            propagation.backward(propagation.graph.output, units, mixes)
            assert mixes.values
            for mix in mixes.values.values():
                mix.copy_(torch.rand(mix.shape, generator=generator, dtype=mix.dtype) * 2 - 1)
            assert bool((propagation.backward(propagation.graph.output, units, mixes) <= least).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_without_anything_undecided_the_start_is_all_there_is(name: str) -> None:
    _, _, propagation, units = setting(name, LinfBall(0.0, 0.0, 1.0))
    with torch.no_grad():
        start = propagation.lower(propagation.graph.output, units - 20)
        found = optimised_lower(propagation, propagation.graph.output, units - 20, Ascent(steps=3))
    assert bool((found >= start).all()) and torch.allclose(found, start, atol=1e-3)


class Counted(Deadline):
    """Passes when it has been asked so often."""

    left: Iterator[int]

    def __init__(self, times: int) -> None:
        super().__init__(0.0)
        object.__setattr__(self, "left", iter(range(times)))

    def check(self) -> None:
        if next(self.left, None) is None:
            raise OutOfTime("asked often enough")


def test_what_was_improved_before_the_deadline_is_kept() -> None:
    _, _, propagation, units = setting(NETWORKS[0], LinfBall(0.03, 0.0, 1.0))
    value = propagation.graph.output
    with torch.no_grad():
        start, whole = propagation.lower(value, units), optimised_lower(propagation, value, units, Ascent(steps=8))
        propagation.backward.deadline = Counted(6)
        part = optimised_lower(propagation, value, units, Ascent(steps=8))
        propagation.backward.deadline = Counted(0)
        with pytest.raises(OutOfTime):
            propagation.lower(value, units)
    assert bool((start <= part).all()) and bool((start < part).any())
    assert bool((part <= whole).all()) and bool((part < whole).any())
