"""Live bounds: those of the engine, on the network that is being trained, and with gradients."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import REAL
from neurocert.certify.bounds.backward import InputSet
from neurocert.certify.bounds.graph import Graph, capture
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.bounds.registry import rule_for
from neurocert.certify.errors import UnsupportedLayer
from neurocert.certify.training.layers import batch_statistics, fire_bounds, in_double, interval, linear, with_statistics
from neurocert.certify.training.live import LiveBounds, live_bounds, live_graph, lower_margins
from neurocert.certify.verifiers.margins import margin_coefficients
from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.layers.lif import LIF, Fire
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build
from neurocert.models.semantics import ClipNeurons, EulerLeak, FactorLeak, Semantics, Spiking, StepNeurons
from neurocert.perturbations.balls import LinfBall

HARD = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 3, "direct", "mean")
SPIKING = {
    "hard": HARD,
    "hard to a value": replace(HARD, reset_value=0.25, comparison=">="),
    "soft": replace(HARD, reset="soft"),
    "delayed": replace(HARD, reset="soft", reset_timing="delayed", readout="sum"),
    "euler": replace(HARD, leak=EulerLeak(0.5, 1.0), threshold=0.5),
}
NETWORKS: dict[str, tuple[str, dict[str, Any], Spiking | StepNeurons | ClipNeurons | None]] = {
    "flex ann": ("flex-vgg", {"blocks": [[4, 2], [6, 1]], "hidden": [8]}, None),
    "flex ann, sigmoid, no hidden layer": ("flex-vgg", {"blocks": [[4, 2]], "hidden": [], "mask": "sigmoid"}, None),
    "flex ann, local masks": ("flex-vgg", {"blocks": [[4, 2]], "hidden": [8], "logits": "convolution"}, None),
    "conv steps": ("conv-net", {"blocks": [[4, 2]], "hidden": [8]}, StepNeurons(0.25, ">", 3, "direct", "sum")),
    "conv clips, latency": ("conv-net", {"blocks": [[4, 2]], "hidden": [8]}, ClipNeurons(3, "latency", "mean")),
    "conv ann": ("conv-net", {"blocks": [[4, 2]], "hidden": [8]}, None),
    "flex snn of two blocks": ("flex-vgg", {"blocks": [[4, 2], [4, 1]], "hidden": [8]}, HARD),
    **{f"conv snn, {name}": ("conv-net", {"blocks": [[4, 2]], "hidden": [8]}, spiking) for name, spiking in SPIKING.items()},
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name: str) -> Classifier:
    """A small network with weights that make neurons undecided, and statistics of its own."""
    architecture, parameters, spiking = NETWORKS[name]
    torch.manual_seed(3)
    space = InputSpace((1, 8, 8), 0.0, 1.0)
    classes = tuple("abcde")
    network = build(architecture, parameters, inputs=space, semantics=Semantics(spiking), classes=classes, mean=[0.3], std=[0.4])
    network(digits("train").inputs[:64])  # moves the running statistics
    return network.eval()


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    samples = digits("train")
    return samples.inputs[:count], samples.labels[:count] % 5


def bounded(network: nn.Module, inputs: Tensor, labels: Tensor, epsilon: float, *, with_linear: bool = False) -> LiveBounds:
    box = (inputs - epsilon).clamp(min=0.0), (inputs + epsilon).clamp(max=1.0)
    return live_bounds(live_graph(network, tuple(inputs.shape[1:])), inputs, box, labels, with_linear=with_linear)


def linear_margins(network: nn.Module, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    found = bounded(network, inputs, labels, epsilon, with_linear=True).linear_margins
    assert found is not None
    return found


def engine_on(network: nn.Module, inputs: Tensor, epsilon: float) -> tuple[Graph, Propagation]:
    graph = capture(network, tuple(inputs.shape[1:]))
    return graph, Propagation(graph, InputSet(LinfBall(epsilon, 0.0, 1.0), inputs), REAL, refine=False)


def engine_margins(network: nn.Module, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """(B, classes - 1): the interval method's margins."""
    graph, propagation = engine_on(network, inputs, epsilon)
    return propagation.lower(graph.output, margin_coefficients(labels, graph.shape(graph.output)[0]), affine_only=True).T


def others(margins: Tensor, labels: Tensor) -> Tensor:
    """The margins (B, classes) without that of the label itself."""
    keep = torch.ones_like(margins, dtype=torch.bool).scatter(1, labels[:, None], False)
    return margins[keep].reshape(len(labels), -1)


def assert_engine_agrees(network: nn.Module, inputs: Tensor, labels: Tensor, epsilon: float) -> None:
    found, expected = bounded(network, inputs, labels, epsilon).margins, engine_margins(network, inputs, labels, epsilon)
    scale = expected.abs().max()
    assert (others(found, labels) - expected).abs().max() <= 1e-3 * scale
    assert torch.equal(found.gather(1, labels[:, None]), torch.zeros(len(labels), 1))


@every_network
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.2])
@torch.no_grad()
def test_agrees_with_the_engine(name: str, epsilon: float) -> None:
    assert_engine_agrees(made(name), *batch(), epsilon)


@pytest.mark.parametrize("name", ["digits-flex-ann", "digits-flex-snn"])
@torch.no_grad()
def test_agrees_with_the_engine_on_trained_networks(name: str) -> None:
    samples = digits("test")
    assert_engine_agrees(load(name).network, samples.inputs[:16], samples.labels[:16], 0.02)


@every_network
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.2])
@torch.no_grad()
def test_the_linear_pass_is_the_engines(name: str, epsilon: float) -> None:
    """On the very same intervals, for which of two equal slopes is taken can hang on a rounding."""
    network, (inputs, labels) = made(name).double(), batch()
    graph, propagation = engine_on(network, inputs.double(), epsilon)
    expected = propagation.lower(graph.output, margin_coefficients(labels, 5)).T
    layers = live_graph(network, (1, 8, 8)).layers
    found = lower_margins(graph, layers, propagation.bounds, labels, everything=True)
    assert (others(found, labels) - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert torch.equal(found.gather(1, labels[:, None]), torch.zeros(len(labels), 1, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("conv")])
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.2])
def test_linear_margins_agree_with_the_engine(name: str, epsilon: float) -> None:
    network, (inputs, labels) = made(name), batch()
    found = linear_margins(network, inputs, labels, epsilon)
    with torch.no_grad():
        graph, propagation = engine_on(network, inputs, epsilon)
        expected = propagation.lower(graph.output, margin_coefficients(labels, 5)).T
    assert found.requires_grad
    assert (others(found, labels) - expected).abs().max() <= 1e-3 * expected.abs().max()


@every_network
@torch.no_grad()
def test_no_point_of_the_box_has_a_smaller_margin(name: str) -> None:
    network, (inputs, labels) = made(name), batch()
    bounds = bounded(network, inputs, labels, 0.05, with_linear=True)
    assert bounds.linear_margins is not None
    found = torch.maximum(bounds.margins, bounds.linear_margins)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        step = torch.rand(inputs.shape, generator=generator).sub(0.5).sign() * 0.05
        logits = network((inputs + step).clamp(0.0, 1.0))
        margins = logits.gather(1, labels[:, None]) - logits
        assert (found <= margins + 1e-4).all()


@every_network
def test_point_boxes_are_the_clean_network(name: str) -> None:
    """In training mode: the statistics of the bounds are those of the batch itself, and the running ones move as usual."""
    network, (inputs, labels) = made(name).train(), batch()
    plain = copy.deepcopy(network)
    found = bounded(network, inputs, labels, 0.0)
    logits = plain(inputs)
    assert torch.allclose(found.logits, logits, atol=1e-5)
    assert torch.allclose(found.margins, logits.gather(1, labels[:, None]) - logits, atol=1e-4)
    assert all(torch.allclose(ours, theirs) for ours, theirs in zip(network.buffers(), plain.buffers(), strict=True))


@pytest.mark.parametrize("with_linear", [False, True], ids=["interval", "linear"])
@every_network
def test_gradients_reach_every_weight(name: str, with_linear: bool) -> None:
    network, (inputs, labels) = made(name).train(), batch(32)
    found = bounded(network, inputs, labels, 0.05, with_linear=with_linear)
    margins = found.linear_margins if with_linear else found.margins
    assert margins is not None
    margins.sum().backward()
    for path, parameter in network.named_parameters():
        assert parameter.grad is not None, path
        assert torch.isfinite(parameter.grad).all(), path
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights)


@pytest.mark.parametrize(("name", "path", "with_linear"), [("flex ann", "synapses.0.0.routing.norm.weight", False), ("conv ann", "", True)])
def test_gradients_are_the_slopes_of_the_bounds(name: str, path: str, with_linear: bool) -> None:
    """Where nothing spikes, they can be compared with finite differences, through batch statistics and mask; where nothing is
    pooled, those of the linear bounds too, for max pooling has planes that are equally good."""
    network, (inputs, labels) = made(name).double().train(), batch()
    inputs = inputs.double()
    parameter = network.get_parameter(path) if path else next(network.parameters())
    direction = torch.linspace(-1.0, 1.0, parameter.numel(), dtype=torch.float64).reshape(parameter.shape)

    def total() -> Tensor:
        found = bounded(network, inputs, labels, 0.05, with_linear=with_linear)
        return (found.margins if found.linear_margins is None else found.linear_margins).sum()

    def value(step: float) -> Tensor:
        with torch.no_grad():
            parameter.add_(step * direction)
            result = total()
            parameter.sub_(step * direction)
        return result

    total().backward()
    assert parameter.grad is not None
    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    assert float((parameter.grad * direction).sum()) == pytest.approx(float(slope), rel=1e-4)


@pytest.mark.parametrize("name", SPIKING)
@torch.no_grad()
def test_fire_bounds_are_the_rules(name: str) -> None:
    layer = Fire(SPIKING[name], "arctangent")
    threshold = layer.threshold
    ends = torch.tensor([threshold + offset for offset in (-2.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 2.0)])
    lower, upper = (pair.flatten()[None] for pair in torch.meshgrid(ends, ends, indexing="ij"))
    potential = Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))
    rule = rule_for(layer)
    assert rule is not None
    for ours, theirs in zip(fire_bounds(layer, (potential,)), rule.interval(layer, (potential,)), strict=True):
        assert torch.allclose(torch.stack(ours), torch.stack(theirs), atol=1e-6)


def test_surrogate_gradients_of_both_ends() -> None:
    layer = LIF(HARD, "arctangent").fire
    lower, upper = torch.tensor([[0.7]], requires_grad=True), torch.tensor([[1.2]], requires_grad=True)
    _, (surely, maybe) = fire_bounds(layer, (Interval(lower, upper),))
    assert (surely.item(), maybe.item()) == (0.0, 1.0)
    (surely + 10.0 * maybe).backward()
    expected = [1.0 / (1.0 + (torch.pi * distance) ** 2) for distance in (0.3, 0.2)]
    assert lower.grad is not None and upper.grad is not None
    assert (lower.grad.item(), upper.grad.item()) == (pytest.approx(expected[0], rel=1e-5), pytest.approx(10.0 * expected[1], rel=1e-5))


@pytest.mark.parametrize("name", SPIKING)
def test_a_decided_spike_still_has_a_gradient_in_the_linear_bound(name: str) -> None:
    """The bound is that of the rule; its gradient is what the spike would change, times the surrogate at the end that is worse."""
    layer, rule = Fire(SPIKING[name], "arctangent"), rule_for(Fire(SPIKING[name], "arctangent"))
    lower, upper = (torch.tensor([[layer.threshold + end]], dtype=torch.float64, requires_grad=True) for end in (-0.4, -0.3))
    potential = Interval(lower, upper)
    for on_carried, on_spikes in ((0.5, 2.0), (0.5, -2.0), (-1.0, 0.0)):
        coefficients = tuple(torch.tensor([[[a]]], dtype=torch.float64) for a in (on_carried, on_spikes))
        back, constant = linear(layer, (potential,), coefficients)
        assert rule is not None
        expected = rule.linear(layer, rule.relax(layer, (potential,)), coefficients)
        assert torch.equal(constant, expected[1]) and back[0] is not None and torch.equal(back[0], expected[0][0])
        outputs = [layer(torch.tensor(layer.threshold + side, dtype=torch.float64)) for side in (-1e-9, 1e-9)]
        silent, firing = (on_carried * float(carried) + on_spikes * float(spikes) for carried, spikes in outputs)
        jump = firing - silent
        slopes = torch.autograd.grad(constant.sum(), (lower, upper))
        surrogates = [1.0 / (1.0 + (torch.pi * distance) ** 2) for distance in (0.4, 0.3)]
        wanted = [max(jump, 0.0) * surrogates[0], min(jump, 0.0) * surrogates[1]]
        assert [float(slope) for slope in slopes] == pytest.approx(wanted, abs=1e-6)


def test_a_double_view_keeps_the_layer_and_its_gradients() -> None:
    layer = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    view = in_double(layer)
    assert isinstance(view, nn.Sequential) and view[0].weight.dtype == torch.float64 and layer[0].weight.dtype == torch.float32
    view[0].weight.sum().backward()
    assert torch.equal(layer[0].weight.grad, torch.ones(3, 2))


def test_batch_norm_takes_the_batch_and_keeps_its_own() -> None:
    norm = nn.BatchNorm1d(3).train()
    x = torch.randn(10, 3) * 4 + 2
    with batch_statistics(norm) as found:
        normalised = norm(x)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    (band,) = interval(with_statistics(norm, found), (Interval(x, x),))
    assert torch.allclose(band.lower, normalised, atol=1e-5) and torch.allclose(band.upper, normalised, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())
    with batch_statistics(norm.eval()) as found:
        norm(x)
    assert with_statistics(norm, found) is norm


def test_a_batch_norm_that_runs_twice_is_refused() -> None:
    norm = nn.BatchNorm1d(3).train()
    with batch_statistics(norm), pytest.raises(UnsupportedLayer, match="BatchNorm1d is used more than once"):
        norm(norm(torch.randn(4, 3)))


@torch.no_grad()
def test_batch_norm_takes_all_time_steps_together() -> None:
    """What training normalises by is one pair of numbers for all steps, so that the network that is evaluated is the one that learned."""
    network, (inputs, labels) = made("flex snn of two blocks").train(), batch(32)
    with batch_statistics(network) as found:
        logits = network(inputs)
    margins = bounded(network, inputs, labels, 0.0).margins
    assert len(found) == 4
    for norm, (variance, mean) in found.items():
        norm.running_var, norm.running_mean = variance, mean
    evaluated = network.eval()(inputs)
    assert torch.allclose(logits, evaluated, atol=1e-5)
    assert torch.allclose(margins, evaluated.gather(1, labels[:, None]) - evaluated, atol=1e-4)


def test_follows_the_weights() -> None:
    network, (inputs, labels) = made("conv ann"), batch()
    live = live_graph(network, (1, 8, 8))
    with torch.no_grad():
        first = live_bounds(live, inputs, (inputs, inputs), labels).logits
        network.readout.bias.add_(1.0)  # type: ignore[union-attr, operator]
        assert torch.allclose(live_bounds(live, inputs, (inputs, inputs), labels).logits, first + 1.0, atol=1e-5)


class _Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shift = nn.Linear(2, 2), nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.shift


def test_a_parameter_outside_any_layer_is_refused() -> None:
    with pytest.raises(UnsupportedLayer, match="computes with a tensor outside any layer"):
        live_graph(_Shifted(), (2,))
