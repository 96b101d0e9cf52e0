"""The attacks of torchattacks: inside our sets, in the network's own units, and leaving nothing behind."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits
from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import Attack, attack
from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall

installed = pytest.mark.skipif(find_spec("torchattacks") is None, reason="torchattacks is not installed (requirements/peers.txt)")
DATA = digits("test").take(range(4))
LINF = (
    "FGSM",
    "BIM",
    "RFGSM",
    "PGD",
    "EOTPGD",
    "FFGSM",
    "TPGD",
    "MIFGSM",
    "UPGD",
    "APGD",
    "APGDT",
    "DIFGSM",
    "Jitter",
    "NIFGSM",
    "SINIFGSM",
)
OTHERS = {"PGDL2": L2Ball(0.5, 0.0, 1.0), "DeepFool": L2Ball(0.5, 0.0, 1.0), "FAB": LinfBall(0.1, 0.0, 1.0), "CW": L2Ball(0.5, 0.0, 1.0)}
EXERCISED = {**dict.fromkeys(LINF, LinfBall(0.1, 0.0, 1.0)), **OTHERS}


def searched(searcher: Attack, network: nn.Module, ball: Ball, inputs: Tensor = DATA.inputs) -> tuple[Tensor, Tensor]:
    found = searcher.search(network, inputs, DATA.labels, ball, torch.Generator().manual_seed(0))
    return found.points, found.margins


@installed
@pytest.mark.parametrize("kind", EXERCISED)
def test_points_lie_in_the_set_and_nothing_is_left_behind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    network, ball, searcher = load("digits-flex-ann").network, EXERCISED[kind], attack(f"torchattacks:{kind}")
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    points, found = searched(searcher, network, ball)
    assert bool(ball.contains(points, DATA.inputs).all())
    assert torch.equal(found, margins(network(points), DATA.labels).detach())
    assert bool((found < margins(network(DATA.inputs), DATA.labels)).any())
    assert torch.equal(torch.get_rng_state(), state) and np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert not network.training and capsys.readouterr().out == ""
    again_points, again = searched(searcher, network, ball)
    assert torch.equal(points, again_points) and torch.equal(found, again)


class Rescaled(nn.Module):
    """A network whose inputs live in [-1, 3]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network((inputs + 1) / 4)


@installed
@pytest.mark.parametrize("kind", ["FGSM", "BIM"])
def test_radii_are_in_the_networks_own_units(kind: str) -> None:
    """The same attack on the same network, whose inputs are stretched by 4 and moved by -1."""
    network, searcher = load("digits-flex-ann").network, attack(f"torchattacks:{kind}")
    points, found = searched(searcher, network, LinfBall(0.1, 0.0, 1.0))
    stretched, again = searched(searcher, Rescaled(network).eval(), LinfBall(0.4, -1.0, 3.0), 4 * DATA.inputs - 1)
    assert torch.allclose((stretched + 1) / 4, points, atol=1e-6) and torch.allclose(again, found, atol=1e-4)
    assert float((stretched - (4 * DATA.inputs - 1)).abs().max()) > 0.39


@installed
def test_what_is_known_of_each() -> None:
    assert attack("torchattacks:Square").sees == "logits" and attack("torchattacks:APGD").sees == "gradients"
    assert attack("torchattacks:FGSM").name == "torchattacks:FGSM" and "torchattacks 3." in attack("torchattacks:FGSM").describe()
    points, _ = searched(attack("torchattacks:FGSM"), load("digits-flex-ann").network, LinfBall(0.0, 0.0, 1.0))
    assert torch.equal(points, DATA.inputs)


@installed
@pytest.mark.parametrize("kind", ["Nope", "LGV", "MultiAttack", "", "__version__"])
def test_an_unknown_name(kind: str) -> None:
    with pytest.raises(InputError, match=rf"torchattacks 3\S+ has no attack '{kind}', expected one of APGD, "):
        attack(f"torchattacks:{kind}")


@installed
def test_sets_that_the_library_cannot_take() -> None:
    network = load("digits-flex-ann").network
    with pytest.raises(InputError, match=r"torchattacks:FGSM: the input range is \[-inf, inf\], expected a finite one"):
        searched(attack("torchattacks:FGSM"), network, LinfBall(0.1))
    with pytest.raises(InputError, match=r"torchattacks:Square failed on inputs of shape \(1, 8, 8\): .*"):
        searched(attack("torchattacks:Square"), network, L1Ball(1.0, 0.0, 1.0))


def test_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(InputError, match=r"torchattacks cannot be imported: .* adds it"):
        attack("torchattacks:FGSM")
