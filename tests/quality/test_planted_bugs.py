"""Bugs planted on purpose: the conformance kit must find every one, and must find nothing without them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds import arithmetic, backward, compositions, propagation, registry
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.relaxations import masks, maximum, spike_train
from neurocert.certify.bounds.rules import affine, bilinear, lif, plastic_flex
from neurocert.certify.bounds.rules import spike_train as spike_train_rules
from neurocert.certify.bounds.window import Window
from neurocert.certify.errors import NumericalFailure
from neurocert.certify.testing.conformance import violations
from neurocert.models.layers.lif import LIF, Fire
from neurocert.models.layers.plastic_flex import PlasticFlex
from neurocert.models.semantics import FactorLeak, Spiking
from neurocert.perturbations import balls
from neurocert.perturbations.balls import Ball, L2Ball, LinfBall, NormBall

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
LINF, L2 = LinfBall(0.3), L2Ball(0.6)


class Spikes(nn.Module):
    """A spiking layer whose potential is read out too, so it stays unrolled, and one under a constant current."""

    def __init__(self, comparison: Any = ">", reset: Any = "hard") -> None:
        super().__init__()
        semantics = Spiking(1.0, comparison, reset, 0.25 if reset == "hard" else 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")
        self.synapse, self.neuron, self.collapsed = nn.Linear(3, 6), LIF(semantics), LIF(semantics)
        self.readout = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        current = self.synapse(x)
        state = other = total = None
        for _ in range(3):
            state, spikes = self.neuron(state, current)
            other, more = self.collapsed(other, current)
            out = self.readout(spikes) + self.readout(state) - self.readout(more * 0.7)
            total = out if total is None else total + out
        return total


class Of(nn.Module):
    """A function of the image's first 12 elements."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.flatten(1)[:, :12])


class Train(nn.Module):
    """A weighted sum of the spikes of one layer under a constant current."""

    def __init__(self) -> None:
        super().__init__()
        self.synapse, self.neuron = nn.Linear(3, 6), LIF(Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean"))

    def forward(self, x: Tensor) -> Tensor:
        current = self.synapse(x)
        state = total = None
        for weight in (1.0, -0.7, 0.5, -0.2):
            state, spikes = self.neuron(state, current)
            total = spikes * weight if total is None else total + spikes * weight
        return total


def network(kind: str) -> nn.Module:
    """A small network with random weights."""
    torch.manual_seed(7)
    made: dict[str, Callable[[], nn.Module]] = {
        "relu": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)),
        "conv": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(1), nn.Conv2d(4, 3, 1)),
        "average": lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
        "pool": lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
        "flex": lambda: nn.Sequential(PlasticFlex(2, 3, (4, 4), stride=2), nn.Flatten(), nn.Linear(12, 3)),
        "sigmoid": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.Sigmoid(), nn.Linear(8, 3)),
        "routing": lambda: PlasticFlex(2, 3, (4, 4), stride=2),
        "convs": lambda: nn.Sequential(nn.Conv2d(2, 3, 2, 1, 1), nn.ReLU(), nn.Conv2d(3, 3, 2), nn.ReLU()),
        "product": lambda: Of(lambda x: x * x.roll(1, 1)),
        "quotient": lambda: Of(lambda x: x / (torch.relu(x.roll(1, 1)) + 1)),
        "matrices": lambda: Of(lambda x: x[:, :6].unflatten(1, (3, 2)) @ x[:, 6:].unflatten(1, (2, 3))),
        "softmax": lambda: Of(lambda x: torch.softmax(x * 0.3, 1)),
        "variance": lambda: Of(lambda x: compositions.variance(x, x, (-1,))),
        "choice": lambda: Of(lambda x: torch.where(x > 0.1, x.roll(1, 1), -x)),
        "larger": lambda: Of(lambda x: torch.maximum(x, x.roll(1, 1))),
        "smooth": lambda: Of(lambda x: torch.tanh(x) + functional.gelu(x) + torch.exp(0.1 * x)),
        "train": Train,
        "spikes": Spikes,
        "soft": lambda: Spikes(reset="soft"),
    }
    net = made[kind]()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                value.mul_(1.5)
                if "running" in name:
                    value.copy_(torch.rand_like(value) * 0.1 + 0.01)
    return net.eval()


def points(kind: str) -> Tensor:
    torch.manual_seed(3)
    return torch.rand(4, 3) * 2 if kind in ("spikes", "soft", "train") else torch.rand(4, 2, 4, 4) * 2 - 1


def rule(layer: Any, **changes: Any) -> Plant:
    """The layer's rule (for two uncertain operands, if it has several) with some of its functions exchanged."""

    def plant(patch: Patch) -> None:
        candidates = [candidate for candidate in registry.rules() if layer in candidate.layers and candidate.operands in (None, (0, 1))]
        found = max(candidates, key=lambda candidate: candidate.operands is not None)
        wrong = replace(found, **{name: change(getattr(found, name)) for name, change in changes.items()})
        patch.setitem(registry._RULES, layer if found.operands is None else (layer, found.operands), wrong)

    return plant


def constant_scaled(factor: float) -> Callable[[Any], Any]:
    """A linear rule whose constant is off by a factor."""

    def change(linear: Any) -> Any:
        def wrong(layer: Any, relaxation: Any, coefficients: Any, *mix: Any) -> Any:
            back, constant = linear(layer, relaxation, coefficients, *mix)
            return back, constant * factor

        return wrong

    return change


def interval_shrunk(share: float) -> Callable[[Any], Any]:
    """An interval rule whose boxes are too narrow."""

    def change(interval: Any) -> Any:
        def wrong(layer: Any, inputs: Any) -> Any:
            return tuple((low + share * (high - low), high - share * (high - low)) for low, high in interval(layer, inputs))

        return wrong

    return change


def fires_only_above(patch: Patch) -> None:
    """A neuron that may fire is taken to be silent where its bound is near the threshold."""
    true = lif._possible

    def wrong(layer: Fire, potential: Interval) -> tuple[Tensor, Tensor]:
        silent, fires = true(layer, potential)
        return silent, fires & (potential.upper > layer.threshold + 0.2)

    patch.setattr(lif, "_possible", wrong)


def no_reset(patch: Patch) -> None:
    """The potential after a spike is what it was."""

    def pieces(layer: Fire, on_carried: Tensor | None, on_spikes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        carried = (torch.zeros_like(on_spikes) if on_carried is None else on_carried) * layer.retention  # type: ignore[arg-type]
        return carried, carried, torch.zeros_like(carried) if on_spikes is None else on_spikes

    patch.setattr(lif, "_after_spike", lambda layer, lower, upper: (layer.retention * lower, layer.retention * upper))
    patch.setattr(lif, "_two_pieces", pieces)


def corner_forgotten(patch: Patch) -> None:
    """The envelope is the chord between the ends, whatever happens at the threshold."""

    def wrong(silent: Tensor, firing: Tensor, jump: Tensor, threshold: float, lower: Tensor, upper: Tensor, mix: Any = None) -> Any:
        left, right = silent * lower, firing * upper + jump
        slope = (right - left) / (upper - lower)
        return slope, left - slope * lower

    patch.setattr(lif, "spike_reset_envelope", wrong)


def pattern_forgotten(patch: Patch) -> None:
    true = spike_train.patterns
    patch.setattr(spike_train_rules, "patterns", lambda fire, steps, error: [p for p in true(fire, steps, error) if sum(p.least) != 1])


def first_piece_only(patch: Patch) -> None:
    """The step envelope forgets every piece but the first possible one."""
    true = spike_train_rules.step_envelope

    def wrong(values: Tensor, pieces: Any, *rest: Any) -> Any:
        first = pieces.possible & (pieces.possible.cumsum(0) == 1)
        return true(values, replace(pieces, possible=first), *rest)

    patch.setattr(spike_train_rules, "step_envelope", wrong)


def plane_too_low(patch: Patch) -> None:
    """Max pooling's upper plane without its offset."""
    true = maximum.Maximum.above

    def wrong(self: Any, mix: Tensor | None = None) -> Any:
        weights, offset = true(self, mix)
        return weights, torch.zeros_like(offset)

    patch.setattr(maximum.Maximum, "above", wrong)


def mask_at_the_centre(patch: Patch) -> None:
    """The mask is taken at the middle of the pooling branch's bounds."""
    true = plastic_flex.routing_bounds
    patch.setattr(plastic_flex, "routing_bounds", lambda mask, c, p: true(mask, c, Interval(p.centre, p.centre)))


def far_end_forgotten(patch: Patch) -> None:
    """The hard sigmoid's parabola is looked at from one end of its range."""
    patch.setattr(masks.HardSigmoidRange, "ends", property(lambda self: ((self.lower, self.mask(self.lower)),) * 2))


def vertex_forgotten(patch: Patch) -> None:
    """The hard sigmoid's parabola is taken to have its extremes at the ends."""
    patch.setattr(masks.HardSigmoidRange, "straight", property(lambda self: (self.lower, self.lower)))


def bias_forgotten(patch: Patch) -> None:
    patch.setattr(affine, "_bias", lambda bias, weight: weight.new_zeros(weight.shape[0]))


def box_of_half_the_size(patch: Patch) -> None:
    true = NormBall.box
    patch.setattr(NormBall, "box", lambda self, centre: true(replace(self, epsilon=self.epsilon / 2), centre))


def dual_norm_wrong(patch: Patch) -> None:
    """The L2 ball's linear minimum with the largest coefficient in place of the Euclidean norm."""
    patch.setattr(balls, "_dual_bound", lambda a, down, up, epsilon: -epsilon * a.abs().amax(2))


def refined_too_far(patch: Patch) -> None:
    """Bounds of intermediate values are raised by half their size."""
    true = propagation.Propagation._tighten_part

    def wrong(self: Any, *given: Any) -> None:
        lower, upper = given[-1]
        true(self, *given)
        reach = (upper - lower) / 4
        lower.add_(reach)
        upper.sub_(reach)

    patch.setattr(propagation.Propagation, "_tighten_part", wrong)


def shifted(local: Any) -> Any:
    """A window of the inputs one column too far."""

    def wrong(layer: Any, window: Window, shapes: Any) -> Any:
        part, seen = local(layer, window, shapes)
        return part, replace(seen, left=seen.left + 1, right=seen.right + 1)

    return wrong


def charged_elsewhere(patch: Patch) -> None:
    """The coefficients of a window are given to the elements beside them."""
    true = backward._add

    def wrong(pending: Any, source: Any, shape: Any, seen: Window | None, a: Tensor) -> None:
        true(pending, source, shape, seen, a if seen is None else a.roll(1, -1))

    patch.setattr(backward, "_add", wrong)


def mccormick_without_corner(patch: Patch) -> None:
    """The product's planes without their constant."""
    true = bilinear.product_planes

    def wrong(a: Tensor, pair: Any, mix: Any = None) -> Any:
        on_x, on_y, constant = true(a, pair, mix)
        return on_x, on_y, constant * 0.5

    patch.setattr(bilinear, "product_planes", wrong)


def rounding_forgotten(patch: Patch) -> None:
    """Neither the network's rounding nor our own is charged."""
    patch.setattr(arithmetic, "_share", lambda unit, operations: 0.0)
    patch.setattr(backward, "CONSTANT_SLACK", 0.0)


BUGS: dict[str, tuple[str, Ball, Plant]] = {
    "relu's constant doubled": ("relu", LINF, rule(nn.ReLU, linear=constant_scaled(0.3))),
    "relu's box shrunk": ("relu", LINF, rule(nn.ReLU, interval=interval_shrunk(0.2))),
    "sigmoid's constant too high": ("sigmoid", LINF, rule(nn.Sigmoid, linear=constant_scaled(1.2))),
    "bias forgotten": ("relu", LINF, bias_forgotten),
    "affine offset doubled": ("conv", LINF, rule(nn.BatchNorm2d, linear=constant_scaled(-8.0))),
    "average of too few": ("average", LINF, rule(nn.AvgPool2d, interval=interval_shrunk(0.25))),
    "maximum's plane too low": ("pool", LINF, plane_too_low),
    "mask at the centre": ("routing", LINF, mask_at_the_centre),
    "far end forgotten": ("flex", LINF, far_end_forgotten),
    "vertex forgotten": ("routing", LINF, vertex_forgotten),
    "fires only well above": ("spikes", LINF, fires_only_above),
    "reset forgotten": ("spikes", LINF, no_reset),
    "soft reset forgotten": ("soft", LINF, no_reset),
    "corner forgotten": ("spikes", LINF, corner_forgotten),
    "spike train forgotten": ("train", LINF, pattern_forgotten),
    "first piece only": ("train", LINF, first_piece_only),
    "box of half the size": ("relu", LINF, box_of_half_the_size),
    "dual norm wrong": ("relu", L2, dual_norm_wrong),
    "refined too far": ("relu", LinfBall(0.02), refined_too_far),
    "window shifted": ("convs", LINF, rule(nn.Conv2d, local=shifted)),
    "coefficients shifted": ("convs", LINF, charged_elsewhere),
    "product's planes too high": ("product", LINF, mccormick_without_corner),
    "quotient's box shrunk": ("quotient", LINF, rule(operator.truediv, interval=interval_shrunk(0.3))),
    "quotient's constant too high": ("quotient", LINF, rule(operator.truediv, linear=constant_scaled(0.2))),
    "matrix product's constant too high": ("matrices", LINF, rule(operator.matmul, linear=constant_scaled(0.1))),
    "softmax's box shrunk": ("softmax", LINF, rule(torch.softmax, interval=interval_shrunk(0.3))),
    "softmax's constant too high": ("softmax", LINF, rule(torch.softmax, linear=constant_scaled(0.5))),
    "variance's box shrunk": ("variance", LINF, rule(compositions.variance, interval=interval_shrunk(0.3))),
    "step decided too early": ("choice", LINF, rule(operator.gt, interval=interval_shrunk(0.4))),
    "choice's constant too high": ("choice", LINF, rule(torch.where, linear=constant_scaled(0.3))),
    "maximum's constant too high": ("larger", LINF, rule(torch.maximum, linear=constant_scaled(0.2))),
    "tanh's constant too high": ("smooth", LINF, rule(torch.tanh, linear=constant_scaled(0.3))),
    "gelu's box shrunk": ("smooth", LINF, rule(functional.gelu, interval=interval_shrunk(0.4))),
    "rounding forgotten": ("relu", LinfBall(0.0), rounding_forgotten),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_kit_finds_the_bug(bug: str, monkeypatch: Patch) -> None:
    kind, ball, plant = BUGS[bug]
    plant(monkeypatch)
    try:
        found = violations(network(kind), points(kind), ball)
    except NumericalFailure:  # bounds that contradict each other: seen by the engine itself
        return
    assert found


@pytest.mark.parametrize(("kind", "ball"), sorted({(kind, ball) for kind, ball, _ in BUGS.values()}, key=str))
def test_the_kit_finds_nothing_without_it(kind: str, ball: Ball) -> None:
    assert not violations(network(kind), points(kind), ball)
