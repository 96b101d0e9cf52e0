"""``certify attack``: curves on screen and in the files, and what cannot be asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from neurocert.certify.cli.main import OK, USAGE
from neurocert.certify.config import GRID, SUITE
from neurocert.certify.reports.schema import from_json
from neurocert.models.layers.normalise import Normalise
from neurocert.perturbations.attacks import attacks

Certify = Callable[..., "Done"]  # noqa: F821  (see conftest)

ANN, SNN = "digits-flex-ann", "digits-flex-snn"
QUICK = ("--samples", "8", "--attacks", "fgsm,pgd", "--epsilons", "0,0.1,0.3")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_every_attack_on_the_grid_of_the_thesis() -> None:
    assert SUITE.split(",") == [attack.name for attack in attacks()]
    radii = [float(radius) for radius in GRID.split(",")]
    assert radii == sorted(set(radii)) and (radii[0], radii[-1]) == (0.0, 0.3)


@pytest.mark.parametrize("name", [ANN, SNN])
def test_curves_fall_and_are_written(name: str, certify: Certify, elsewhere: Path) -> None:
    done = certify("attack", name, *QUICK, "--out", "report")
    assert done.code == OK and done.err == ""
    assert re.search(r"^worst +100\.0 +", done.out, re.MULTILINE) and "No proof was tried" in done.out
    (report,) = from_json((elsewhere / "report" / "report.json").read_text(encoding="utf-8"))
    assert [curve.attack for curve in report.curves] == ["fgsm", "pgd", "worst"]
    for curve in report.curves:
        counts = [share.count for share in curve.unbroken]
        assert counts == sorted(counts, reverse=True) and curve.area is not None and 0 < curve.area.value < 0.3
    worst = [min(counts) for counts in zip(*([s.count for s in c.unbroken] for c in report.curves), strict=True)]
    assert worst == [share.count for share in report.curves[-1].unbroken]
    assert [summary.unbroken for summary in report.summaries] == list(report.curves[-1].unbroken)
    assert report.saturation is not None and report.saturation.epsilon == 1.0
    assert "Accuracy under each attack" in (elsewhere / "report" / "report.html").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_numbers(certify: Certify) -> None:
    first, again = (from_json(certify("attack", ANN, *QUICK, "--seed", "4", "--json").out)[0] for _ in range(2))
    assert first.curves == again.curves and [o.attacks for o in first.outcomes] == [o.attacks for o in again.outcomes]


class Steep(nn.Module):
    """Flat nearly everywhere: what a saturated input layer does to gradients."""

    def __init__(self, *arguments: object) -> None:
        super().__init__()

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(1e6 * (inputs - 0.5))


def test_saturated_gradients_raise_both_flags(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Normalise, "forward", Steep.forward)
    done = certify("attack", ANN, "--samples", "20", "--attacks", "fgsm,pgd,square", "--epsilons", "0.3,0.6")
    assert done.code == OK
    flags = [line for line in done.out.splitlines() if line.startswith("Masked gradients?")]
    assert len(flags) == 2 and "square, which sees logits alone, breaks" in flags[0] and "whole input range (epsilon 1)" in flags[1]


def test_an_honest_network_raises_none(certify: Certify) -> None:
    done = certify("attack", SNN, "--samples", "6", "--attacks", "pgd,square", "--epsilons", "0.3")
    assert done.code == OK and "Masked gradients?" not in done.out


@pytest.mark.skipif(find_spec("torchattacks") is None, reason="torchattacks is not installed (requirements/peers.txt)")
def test_an_attack_of_torchattacks(certify: Certify) -> None:
    (report,) = from_json(
        certify("attack", ANN, "--samples", "4", "--attacks", "torchattacks:FGSM,fgsm", "--epsilons", "0.1", "--json").out
    )
    by_name = {curve.attack: curve.unbroken for curve in report.curves}
    assert by_name["torchattacks:FGSM"] == by_name["fgsm"] and report.curves[0].area is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--attacks", "cw"),
            "attack is 'cw', expected one of fgsm, pgd, spgd, apgd-ce, apgd-dlr, apgd-t, square",
        ),
        (("--attacks", "none"), "method and attack: got none of either"),
        (("--epsilons", "0.2,0.1"), "epsilons are 0.2, 0.1, expected increasing ones"),
        (("--epsilons", "0.1,0.1"), "expected increasing ones"),
        (("--epsilons=-0.1,0.1",), "epsilon is -0.1, expected a finite number >= 0"),
        (("--epsilons", "0,inf"), "epsilon is 'inf', expected a finite number"),
        (("--epsilons", ""), "got none, expected at least one radius"),
    ],
)
def test_what_cannot_be_asked(options: tuple[str, ...], words: str, certify: Certify, elsewhere: Path) -> None:
    done = certify("attack", ANN, *options, "--out", "report")
    assert (done.code, done.out) == (USAGE, "") and words in done.err and done.err.count("\n") == 1
    assert not list(elsewhere.rglob("report.*"))
