"""The Python interface and a whole run: the report agrees with itself, with its seed, and with certificates one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neurocert import certify
from neurocert.certify.campaign import campaign as campaigns
from neurocert.certify.config import RunConfig
from neurocert.certify.errors import CheckpointError, ConfigError, DataError, InputError, SandwichBreach
from neurocert.certify.verifiers import margins
from neurocert.models.data.digits import digits
from neurocert.perturbations.attacks import AttackResult

QUICK = RunConfig("digits-flex-ann", epsilons=(0.01, 0.1, 0.3), samples=(3, 17, 94, 4, 89), seed=5)


@pytest.fixture(scope="module")
def report() -> certify.Report:
    return certify.run(QUICK)


def test_the_report_says_what_was_asked(report: certify.Report) -> None:
    assert (report.network.name, report.data.name, report.methods, report.seed) == ("digits-flex-ann", "digits", ("interval", "linear"), 5)
    assert [sample.index for sample in report.samples] == [3, 17, 94, 4, 89]
    assert [attack.name for attack in report.attacks] == ["fgsm", "pgd"]
    assert report.arithmetic.name == "float32" and report.network.sha256 and report.environment.torch == torch.__version__
    assert [layer.layer for layer in report.routing] == ["synapses.0.0", "synapses.1.0"]


def test_the_sandwich_holds_at_every_radius(report: certify.Report) -> None:
    certified = [summary.certified.count for summary in report.summaries]
    unbroken = [summary.unbroken.count for summary in report.summaries]
    assert certified == sorted(certified, reverse=True) and unbroken == sorted(unbroken, reverse=True)
    assert all(c <= u <= report.clean.count for c, u in zip(certified, unbroken, strict=True))
    assert certified[0] > 0 and unbroken[-1] < report.clean.count


def test_a_run_can_be_repeated(report: certify.Report) -> None:
    again = certify.run(QUICK)
    timeless = {"seconds": 0.0}
    assert [o.model_copy(update=timeless) for o in again.outcomes] == [o.model_copy(update=timeless) for o in report.outcomes]
    assert again.witnesses == report.witnesses


def test_a_run_agrees_with_single_certificates(report: certify.Report) -> None:
    network, data = certify.load("digits-flex-ann"), digits("test").take([3, 17, 94, 4, 89])
    found = certify.verify(network, data.inputs, data.labels, certify.LinfBall(0.1), method="linear", attack="pgd", seed=5)
    for certificate, (_, outcome) in zip(found, report.rows(0.1), strict=True):
        assert certificate.lower_bound == pytest.approx(outcome.bounds["linear"], rel=1e-9)
        assert certificate.verdict == outcome.verdict


def test_attack_alone() -> None:
    network, data = certify.load("digits-flex-snn"), digits("test").take(range(3))
    found = certify.attack(network, data.inputs, data.labels, certify.LinfBall(0.5), "fgsm")
    assert found.points.shape == data.inputs.shape and float(found.points.min()) >= 0 and float(found.points.max()) <= 1


def test_progress_is_monotone_and_ends() -> None:
    steps: list[tuple[int, int]] = []
    certify.run(replace(QUICK, samples=2), lambda text, done, of: steps.append((done, of)))
    assert [done for done, _ in steps] == list(range(13)) and {of for _, of in steps} == {12}


def test_a_break_is_carried_to_larger_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that fails at a larger radius does not unmake what it found at a smaller one."""
    true, calls = campaigns.search, []

    def only_once(problem, attack, samples, seed):
        calls.append(problem.ball.epsilon)
        found = true(problem, attack, samples, seed)
        if problem.ball.epsilon < 0.4:
            return found
        return AttackResult(problem.inputs[samples], problem.margins(problem.inputs)[samples])

    monkeypatch.setattr(campaigns, "search", only_once)
    found = certify.run(RunConfig("digits-flex-ann", epsilons=(0.3, 0.5), samples=(94, 89), attacks=("pgd",), methods=("interval",)))
    assert calls == [0.3, 0.5]
    assert [summary.falsified.count for summary in found.summaries] == [2, 2]


def test_an_attack_below_a_bound_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margins, "_lower_margins", lambda problem, graph, method, batch: torch.full((len(batch),), 100.0).double())
    with pytest.raises(SandwichBreach, match="below its certified lower bound 100"):
        certify.run(replace(QUICK, samples=2))


def test_misclassified_samples_are_neither_bounded_nor_attacked() -> None:
    wrong = [int(i) for i in (certify.load("digits-flex-ann")(digits("test").inputs).argmax(1) != digits("test").labels).nonzero()[:2, 0]]
    found = certify.run(RunConfig("digits-flex-ann", epsilons=(0.01,), samples=tuple(wrong)))
    assert {outcome.verdict for outcome in found.outcomes} == {"misclassified"}
    assert all(value is None for outcome in found.outcomes for value in (*outcome.bounds.values(), *outcome.attacks.values()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"checkpoint": "absent"}, CheckpointError),
        ({"data": "absent"}, DataError),
        ({"methods": ("milp",)}, ConfigError),
        ({"attacks": ("cw",)}, InputError),
        ({"arithmetic": "float16"}, ConfigError),
        ({"samples": 501}, ConfigError),
        ({"samples": (500,)}, ConfigError),
    ],
)
def test_what_cannot_be_run(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        certify.run(replace(QUICK, **change))  # type: ignore[arg-type]


def test_the_table_of_contents() -> None:
    assert {"verify", "attack", "load", "run", "LinfBall", "Certificate", "Report"} <= set(dir(certify))
    assert all(getattr(certify, name) is not None for name in dir(certify))
    with pytest.raises(AttributeError, match="it offers"):
        certify.prove  # noqa: B018


def test_no_module_hides_a_name() -> None:
    """Importing a submodule sets its name on the package: none may have the name of something the package offers."""
    folder = Path(certify.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    assert not modules & set(dir(certify))
