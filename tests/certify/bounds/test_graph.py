"""What can be captured, and what is refused, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.bounds.graph import capture, trace
from neurocert.certify.errors import InputError, UnsupportedLayer
from neurocert.models.checkpoints import load


class Function(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


class Doubled(nn.Linear):
    """Not what its base class computes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return 2 * super().forward(input)


class Pair(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_layers_without_rules_are_named_all_at_once() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Hardshrink(), nn.Sequential(nn.ReLU(), nn.Softsign()), nn.RReLU()).eval()
    with pytest.raises(UnsupportedLayer) as refused:
        capture(network, (4,))
    message = str(refused.value)
    assert message.startswith("3 layers cannot be bounded")
    for words in ("1 (Hardshrink): no rule", "2.1 (Softsign): no rule", "3 (RReLU): no rule", "certify ls rules"):
        assert words in message


def test_tracing_shows_what_is_missing() -> None:
    graph = trace(nn.Sequential(nn.Linear(4, 4), nn.Softsign()).eval(), (4,))
    assert [node.problem for node in graph.nodes] == [None, "no rule"]


def test_a_subclass_is_not_taken_for_its_base() -> None:
    network = nn.Sequential(Doubled(4, 2)).eval()
    assert not any(isinstance(node.layer, nn.Linear) for node in trace(network, (4,)).nodes)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Function(lambda x: x if x.sum() > 0 else -x), "cannot be captured"),
        (Function(lambda x: (x, x)), "returns several values"),
        (Pair(), "takes several inputs"),
        (Function(lambda x: x.flatten(0)), "samples first"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="reflect", padding=1)), "padding mode"),
        (nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False)), "keeps no running statistics"),
        (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (Function(lambda x: x / 0.0), "division by"),
        (Function(lambda x: x * float("inf")), "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(network: nn.Module, words: str) -> None:
    with pytest.raises(UnsupportedLayer, match=words):
        capture(network.eval(), (1, 4, 4))


def test_training_mode_is_refused_by_path() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU())).eval()
    network[1][0].train()
    with pytest.raises(InputError, match=r"1\.0 \(ReLU\) is in training mode"):
        capture(network, (4,))


def test_hooks_are_refused() -> None:
    network = nn.Sequential(nn.ReLU()).eval()
    network[0].register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(UnsupportedLayer, match="forward hooks"):
        capture(network, (4,))


def test_a_wrong_shape_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"rejects inputs of shape \(5,\)"):
        capture(nn.Sequential(nn.Linear(4, 2)).eval(), (5,))


def test_capture_changes_nothing() -> None:
    network = load("digits-flex-snn").network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    graph = capture(network, network.inputs.shape)
    assert all(torch.equal(value, before[name]) and value.dtype == before[name].dtype for name, value in network.state_dict().items())
    assert next(network.parameters()).requires_grad
    assert graph.shape(graph.output) == (10,) and graph.shape(graph.input) == (1, 8, 8)
    assert "neurons.0.fire" in {node.path for node in graph.nodes}
