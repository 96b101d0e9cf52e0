"""The Python interface: names that load when first used, checkpoints, attacks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neurocert import certify
from neurocert.certify.errors import CheckpointError, InputError
from neurocert.models.checkpoints import resolve
from neurocert.models.data.digits import digits
from neurocert.perturbations.attacks.gradient import margins

DATA = digits("test").take(range(6))
LOADED = """
import sys
from neurocert import certify
before = set(dir(certify))
assert "neurocert.certify.api" not in sys.modules
certify.LinfBall
assert "neurocert.certify.api" not in sys.modules and "LinfBall" in vars(certify)
certify.load
assert "neurocert.certify.api" in sys.modules and set(dir(certify)) == before
print(*before)
"""


def test_a_name_is_loaded_when_first_used() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == set(certify.__all__) == set(dir(certify))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'neurocert.certify' has no attribute 'prove'; it offers .*verify"):
        certify.prove  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'prove'"):
        from neurocert.certify import prove  # type: ignore[attr-defined]  # noqa: F401


def test_load_by_name_and_by_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    shutil.copy(resolve("digits-flex-snn"), copy)
    by_name, by_text, by_path = certify.load("digits-flex-snn"), certify.load(str(copy)), certify.load(copy)
    assert by_name.classes == tuple("0123456789")
    for network in (by_name, by_text, by_path):
        assert not any(module.training for module in network.modules())
        assert torch.equal(network(DATA.inputs), by_name(DATA.inputs))


def test_a_loaded_network_is_its_own() -> None:
    first, second = certify.load("digits-flex-ann"), certify.load("digits-flex-ann")
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_loading_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    certify.load("digits-flex-ann")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "words"),
    [("digits-flex-cnn", "shipped: digits-flex-ann, .*digits-flex-snn"), ("no/such.safetensors", "no such file"), (".", "is a directory")],
)
def test_what_cannot_be_loaded(name: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        certify.load(name)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("ball", [certify.LinfBall(0.1), certify.L2Ball(1.0), certify.L1Ball(3.0)], ids=["linf", "l2", "l1"])
def test_attack(ball: certify.LinfBall, name: str) -> None:
    network = certify.load("digits-flex-snn")
    found = certify.attack(network, DATA.inputs, DATA.labels, ball, name, seed=3)
    assert bool(ball.clipped_to(0.0, 1.0).contains(found.points, DATA.inputs).all())
    assert torch.equal(found.margins, margins(network(found.points), DATA.labels))
    assert torch.equal(found.broken, found.margins <= 0) and bool(found.broken.any())


def test_the_seed_decides_an_attack() -> None:
    network = certify.load("digits-flex-snn")
    first, again, other = (
        certify.attack(network, DATA.inputs, DATA.labels, certify.LinfBall(0.05), seed=seed).points for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_attack_takes_samples_that_are_wrong_already() -> None:
    network, labels = certify.load("digits-flex-ann"), (DATA.labels + 1) % 10
    found = certify.attack(network, DATA.inputs, labels, certify.LinfBall(0.0))
    assert bool(found.broken.all()) and torch.equal(found.points, DATA.inputs)


def test_attack_through_weights() -> None:
    """Never less than without; each margin is that of the weights that are named, which are in the set."""
    network, ball, drift = certify.load("digits-flex-ann"), certify.LinfBall(0.02), certify.WeightBox(relative=0.05)
    inputs, labels = DATA.inputs[:2], DATA.labels[:2]
    plain = certify.attack(network, inputs, labels, ball, "fgsm")
    found = certify.attack(network, inputs, labels, ball, "fgsm", weights=drift)
    assert plain.weights is None and found.weights is not None and len(found.weights) == len(labels)
    assert bool((found.margins <= plain.margins).all()) and bool((found.margins < plain.margins).any())
    assert bool(ball.clipped_to(0.0, 1.0).contains(found.points, inputs).all())
    for index, changed in enumerate(found.weights):
        own = changed or dict(network.named_parameters())
        logits = torch.func.functional_call(network, own, (found.points[index : index + 1],))
        assert drift.contains(own, network)
        assert float(margins(logits, labels[index : index + 1])) == pytest.approx(float(found.margins[index]), abs=1e-5)


def test_attack_refuses() -> None:
    network = certify.load("digits-flex-ann")
    with pytest.raises(InputError, match="attack is 'cw', expected one of fgsm, pgd"):
        certify.attack(network, DATA.inputs, DATA.labels, certify.LinfBall(0.1), "cw")
    with pytest.raises(InputError, match=r"inputs lie in \[0, 2\]"):
        certify.attack(network, DATA.inputs * 2, DATA.labels, certify.LinfBall(0.1))
    with pytest.raises(InputError, match="labels lie in"):
        certify.attack(network, DATA.inputs, DATA.labels + 9, certify.LinfBall(0.1))
    with pytest.raises(InputError, match="weights: no parameter matches 'conv'"):
        certify.attack(network, DATA.inputs, DATA.labels, certify.LinfBall(0.1), weights=certify.WeightBox(0.1, names=("conv",)))


def test_verify_answers_in_the_order_of_its_samples() -> None:
    network, reverse = certify.load("digits-flex-ann"), [5, 4, 3, 2, 1, 0]
    forward = certify.verify(network, DATA.inputs, DATA.labels, certify.LinfBall(0.02), method="interval")
    backward = certify.verify(network, DATA.inputs[reverse], DATA.labels[reverse], certify.LinfBall(0.02), method="interval")
    for one, other in zip(forward, reversed(backward), strict=True):
        assert (one.label, one.predicted, one.verdict) == (other.label, other.predicted, other.verdict)
        assert one.lower_bound == pytest.approx(other.lower_bound, rel=1e-9)


def test_verify_leaves_the_network_and_its_inputs_as_they_were() -> None:
    network, inputs, state = certify.load("digits-flex-snn"), DATA.inputs.clone(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    certify.verify(network, inputs, DATA.labels, certify.LinfBall(0.05))
    assert torch.equal(inputs, DATA.inputs) and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
