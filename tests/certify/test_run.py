"""The Python interface and a whole run: the report agrees with itself, with its seed, and with certificates one by one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neurocert import certify
from neurocert.certify.campaign import campaign as campaigns
from neurocert.certify.config import RunConfig, WeightTolerance
from neurocert.certify.errors import CheckpointError, ConfigError, DataError, InputError, SandwichBreach
from neurocert.certify.reports.schema import from_json, to_json
from neurocert.certify.reports.weights import unpack
from neurocert.certify.selection import chosen_indices
from neurocert.certify.verifiers import margins
from neurocert.models.data.digits import digits
from neurocert.perturbations.attacks import AttackResult
from neurocert.perturbations.attacks.gradient import margins as margins_of
from neurocert.perturbations.weights import WeightBox

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


def test_the_seed_moves_random_starts_and_nothing_else(report: certify.Report) -> None:
    other = certify.run(replace(QUICK, seed=6))
    assert [outcome.bounds for outcome in other.outcomes] == [outcome.bounds for outcome in report.outcomes]
    assert [outcome.attacks["fgsm"] for outcome in other.outcomes] == [outcome.attacks["fgsm"] for outcome in report.outcomes]
    assert other.seed == 6


def test_a_report_survives_its_file(report: certify.Report) -> None:
    assert from_json(to_json([report])) == (report,)


def test_every_witness_can_be_replayed(report: certify.Report) -> None:
    """From nothing but the report and the checkpoint: inside the set in exact arithmetic, and the decision is gone."""
    network, broken = certify.load("digits-flex-ann"), 0
    for epsilon in QUICK.epsilons:
        for sample, outcome in report.rows(epsilon):
            if outcome.witness is None:
                continue
            witness, broken = report.witnesses[outcome.witness], broken + 1
            centre, point = (torch.tensor(image) for image in (sample.input, witness.input))
            moves = zip(centre.flatten().tolist(), point.flatten().tolist(), strict=True)
            assert all(abs(Fraction(x) - Fraction(c)) <= Fraction(epsilon) and 0 <= x <= 1 for c, x in moves)
            logits = network(point[None]).detach()
            assert int(logits.argmax()) == witness.predicted != sample.label
            assert float(margins_of(logits, torch.tensor([sample.label]))) == witness.margin <= 0
    assert broken >= 3


def test_bounds_hold_at_random_points_of_the_set(report: certify.Report) -> None:
    network, data, generator = certify.load("digits-flex-ann"), digits("test"), torch.Generator().manual_seed(0)
    for epsilon in QUICK.epsilons:
        for sample, outcome in report.rows(epsilon):
            ball = certify.LinfBall(epsilon, 0.0, 1.0)
            points = ball.sample(data.inputs[[sample.index] * 200], generator)
            least = margins_of(network(points).detach(), torch.full((200,), sample.label)).min()
            assert all(float(least) >= bound for bound in outcome.bounds.values() if bound is not None)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_other_norms(norm: str) -> None:
    found = certify.run(replace(QUICK, norm=norm, epsilons=(0.05, 5.0), samples=4))
    assert found.perturbation.name == norm and (found.perturbation.low, found.perturbation.high) == (0.0, 1.0)
    assert found.summaries[0].certified.count > 0 and found.summaries[1].falsified.count > 0


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digits in black and white."""
    data, path = digits("test"), tmp_path_factory.mktemp("data") / "binary.npz"
    np.savez(path, inputs=(data.inputs > 0.5).float().numpy(), labels=data.labels.numpy())
    return str(path)


def test_flips(binary: str) -> None:
    methods = ("linear", "enumeration")
    found = certify.run(replace(QUICK, data=binary, norm="flips", epsilons=(1.0, 9.0), samples=(0, 3, 5, 8), methods=methods))
    assert found.perturbation.name == "flips" and from_json(to_json([found])) == (found,)
    assert found.summaries[0].certified.count == found.summaries[0].certified_by["enumeration"].count > 0
    assert found.summaries[1].falsified.count > 0
    assert [attack.name for attack in found.attacks][-1] == "flips" and found.summaries[0].unknown.count == 0
    assert all(outcome.bounds["enumeration"] is None for outcome in found.outcomes if outcome.epsilon == 9.0)


WEIGHTS = WeightTolerance(relative=0.02, absolute=1e-3)


@pytest.fixture(scope="module")
def drifted() -> certify.Report:
    return certify.run(replace(QUICK, samples=(89, 3), epsilons=(0.01, 0.1), weights=WEIGHTS))


def test_weights_may_be_off_too(drifted: certify.Report, report: certify.Report) -> None:
    """Named in the report, never more certified than without, and the sandwich closed from above by a search over weights."""
    assert drifted.perturbation.weights is not None and drifted.perturbation.weights.relative == 0.02
    assert drifted.perturbation.weights.description == "every weight off by up to 2 % of itself plus 0.001"
    assert [attack.name for attack in drifted.attacks] == ["fgsm", "pgd", "weights"]
    assert "one number for all positions" in drifted.assumptions[-1] and from_json(to_json([drifted])) == (drifted,)
    fixed = {(o.sample, o.epsilon): o for o in report.outcomes}
    for outcome in drifted.outcomes:
        for method, bound in outcome.bounds.items():
            assert bound is not None and bound < (fixed[outcome.sample, outcome.epsilon].bounds[method] or 0)
        assert (outcome.bound or 0) <= (outcome.attacked or 0) and outcome.attacks["weights"] is not None


def test_a_break_through_the_weights_can_be_replayed() -> None:
    """From the report and the checkpoint alone: input and weights lie in their sets, and the decision is gone."""
    network = certify.load("digits-flex-ann")
    found = certify.run(replace(QUICK, samples=(89,), epsilons=(0.001,), weights=replace(WEIGHTS, relative=0.3), methods=("interval",)))
    (witness,), (sample,) = found.witnesses, found.samples
    assert witness.weights and all(margin > 0 for name, margin in found.outcomes[0].attacks.items() if name != "weights" and margin)
    weights = WeightBox(0.3, 1e-3)
    changed = unpack(witness.weights, weights, network)
    assert weights.contains(changed, network)
    logits = torch.func.functional_call(network, changed, (torch.tensor(witness.input)[None],)).detach()
    assert float(margins_of(logits, torch.tensor([sample.label]))) == witness.margin == found.outcomes[0].attacks["weights"] <= 0
    assert int(logits.argmax()) == witness.predicted != sample.label


def test_a_search_over_weights_below_a_bound_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "search_weights", lambda problem, index, seed: (-100.0, None))
    with pytest.raises(SandwichBreach, match=r"an attack reached margin -100.*every weight off by up to 2 %"):
        certify.run(replace(QUICK, samples=1, weights=WEIGHTS, attacks=("fgsm",)))


def test_what_is_said_besides_the_numbers() -> None:
    found = certify.run(replace(QUICK, samples=1, epsilons=(0.01,), arithmetic="real", command="certify run x", attacks=()))
    assert found.arithmetic.name == "real" and "real arithmetic" in found.arithmetic.statement
    assert (found.command, found.attacks, found.outcomes[0].attacks) == ("certify run x", (), {})
    assert found.data.sha256 == digits("test").sha256 and found.data.size == 500
    assert found.network.semantics == "static network (one forward pass, no state)" and found.network.classes == tuple("0123456789")


def test_rounding_costs_and_real_arithmetic_does_not() -> None:
    real, float32 = (
        certify.run(replace(QUICK, samples=3, arithmetic=name, attacks=(), methods=("interval",))) for name in ("real", "float32")
    )
    for exact, rounded in zip(real.outcomes, float32.outcomes, strict=True):
        assert (exact.bounds["interval"] or 0) > (rounded.bounds["interval"] or 0)


def test_attacks_without_proofs() -> None:
    found = certify.run(replace(QUICK, methods=(), epsilons=(0.3,)))
    assert {outcome.verdict for outcome in found.outcomes} <= {"falsified", "unknown"}
    assert found.summaries[0].certified_by == {} and found.summaries[0].certified.count == 0


def test_a_run_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    certify.run(replace(QUICK, samples=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_which_samples() -> None:
    data = digits("test")
    assert chosen_indices(None, data) == list(range(100)) and chosen_indices(None, data.take(range(7))) == list(range(7))
    assert chosen_indices(3, data) == [0, 1, 2] and chosen_indices((5, 2), data) == [5, 2] and chosen_indices((499,), data) == [499]
    for asked, highest in ((501, 500), ((1, 600), 600)):
        with pytest.raises(ConfigError, match=rf"digits/test has 500 samples \(0..499\), asked for number {highest}"):
            chosen_indices(asked, data)


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
    """What an attack broke at a smaller radius stays broken at a larger one, and is not attacked there again."""
    true, calls = campaigns.search, []

    def only_once(problem, attack, samples, seed):
        calls.append((attack.name, problem.ball.epsilon, len(samples)))
        found = true(problem, attack, samples, seed)
        if problem.ball.epsilon < 0.4:
            return found
        return AttackResult(problem.inputs[samples], problem.margins(problem.inputs)[samples])

    monkeypatch.setattr(campaigns, "search", only_once)
    found = certify.run(RunConfig("digits-flex-ann", epsilons=(0.3, 0.5), samples=(94, 89), attacks=("pgd",), methods=("interval",)))
    assert calls == [("pgd", 0.3, 2)]
    assert [summary.falsified.count for summary in found.summaries] == [2, 2]


def test_an_attack_below_a_bound_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        margins, "_lower_margins", lambda problem, graph, method, batch, deadline: torch.full((len(batch),), 100.0).double()
    )
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
        ({"norm": "flips", "epsilons": (1.0,)}, InputError),
        ({"weights": WeightTolerance(0.1, names=("absent",))}, InputError),
        ({"samples": (500,)}, ConfigError),
    ],
)
def test_what_cannot_be_run(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        certify.run(replace(QUICK, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "labels", "words"),
    [
        (np.zeros((3, 1, 4, 4), np.float32), [0, 1, 2], "images are 1x4x4, the network expects 1x8x8"),
        (np.full((3, 1, 8, 8), 2, np.float32), [0, 1, 2], r"values lie in \[2, 2\], the network expects \[0, 1\]"),
        (np.zeros((3, 1, 8, 8), np.float32), [0, 1, 10], r"a label is 10, the network has classes 0\.\.9"),
    ],
)
def test_data_that_do_not_fit(inputs: NDArray[np.float32], labels: list[int], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=inputs, labels=np.array(labels))
    with pytest.raises(DataError, match=words):
        certify.run(replace(QUICK, data=str(tmp_path / "mine.npz"), samples=None))


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
