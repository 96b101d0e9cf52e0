"""What each command answers, and its exit code."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neurocert.certify import self_test
from neurocert.certify.cli import certifying
from neurocert.certify.cli.main import CLOSED_PIPE, FAILED, INTERNAL, INTERRUPTED, OK, UNKNOWN, USAGE
from neurocert.certify.errors import NumericalFailure, SandwichBreach
from neurocert.certify.reports.schema import from_json
from neurocert.models.checkpoints import load
from neurocert.models.data.digits import digits

Certify = Callable[..., "Done"]  # noqa: F821  (see conftest)

ANN, SNN = "digits-flex-ann", "digits-flex-snn"
QUICK = ("--samples", "6", "--epsilon", "0.01")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_prints_a_table_and_a_claim(certify: Certify) -> None:
    done = certify("run", ANN, *QUICK)
    assert (done.code, done.err) == (OK, "")
    assert re.search(r"^0\.01 +6/6 +100\.0 %", done.out, re.MULTILINE)
    assert "under every change of up to 0.01 per pixel" in done.out
    assert "\x1b" not in done.out


def test_run_writes_the_report_it_speaks_of(certify: Certify, elsewhere: Path) -> None:
    done = certify("run", ANN, SNN, *QUICK, "--attack", "fgsm", "--out", "deep/report")
    assert done.code == OK
    files = [elsewhere / name for name in re.findall(r"\S+report\.\w+", done.out)]
    assert [file.name for file in files] == ["report.html", "report.json"]
    reports = from_json(files[1].read_text(encoding="utf-8"))
    assert [report.network.name for report in reports] == [ANN, SNN]
    assert {path.name for path in files[0].parent.iterdir()} == {"report.html", "report.json"}


def test_json_is_one_document_and_the_command_gives_it_again(certify: Certify) -> None:
    first = certify("run", ANN, *QUICK, "--json", "--seed", "3", "--out", "r")
    assert first.code == OK and first.err.startswith("Report: ")
    (report,) = from_json(first.out)
    assert json.loads(first.out) == json.loads(Path("r/report.json").read_text(encoding="utf-8"))
    (again,) = from_json(certify(*shlex.split(report.command)[1:]).out)
    timeless = {"seconds": 0.0}
    assert [o.model_copy(update=timeless) for o in again.outcomes] == [o.model_copy(update=timeless) for o in report.outcomes]


def test_radii_may_come_in_any_order(certify: Certify) -> None:
    (report,) = from_json(certify("run", ANN, "--samples", "2", "--epsilon", "0.02, 0.01,0.02", "--attack", "none", "--json").out)
    assert report.perturbation.epsilons == (0.01, 0.02)


def test_samples_by_index_norm_and_arithmetic(certify: Certify) -> None:
    options = ("--samples", "17,3", "--norm", "l2", "--epsilon", "0.05", "--arithmetic", "real", "--method", "linear", "--json")
    (report,) = from_json(certify("run", ANN, *options).out)
    assert [sample.index for sample in report.samples] == [17, 3]
    assert (report.perturbation.name, report.arithmetic.name, report.methods) == ("l2", "real", ("linear",))


def test_run_takes_an_npz_and_all_of_few_samples(certify: Certify, elsewhere: Path) -> None:
    samples = digits("test").take(range(4))
    np.savez(elsewhere / "own.npz", inputs=samples.inputs.numpy(), labels=samples.labels.numpy())
    (report,) = from_json(certify("run", ANN, "--data", "own.npz", "--epsilon", "0.01", "--attack", "none", "--json").out)
    assert (report.data.name, report.data.size, len(report.samples)) == ("own.npz", 4, 4)


def test_attack_searches_and_proves_nothing(certify: Certify) -> None:
    done = certify("attack", ANN, "--samples", "4", "--epsilon", "0.01,0.5", "--attack", "pgd", "--json")
    (report,) = from_json(done.out)
    assert report.methods == () and {outcome.verdict for outcome in report.outcomes} == {"unknown", "falsified"}
    assert "No proof was tried" in certify("attack", ANN, *QUICK, "--attack", "fgsm").out


def test_requirements_decide_the_exit_code(certify: Certify) -> None:
    met = certify("run", ANN, *QUICK, "--require", "certified>=1@0.01", "--attack", "none")
    failed = certify(
        "run", ANN, "--samples", "6", "--epsilon", "0.01,0.5", "--require", "certified >= 0.5 @ 0.5", "--require", "certified>=0@0.01"
    )
    assert (met.code, met.err) == (OK, "")
    assert failed.code == FAILED and failed.out
    assert failed.err.startswith("requirement certified>=0.5@0.5 failed: digits-flex-ann has 0/6") and failed.err.count("\n") == 1


def test_strict_tells_broken_from_unknown(certify: Certify) -> None:
    options = ("run", ANN, "--samples", "6", "--strict")
    assert certify(*options, "--epsilon", "0.001").code == OK
    assert certify(*options, "--epsilon", "0.02", "--method", "interval", "--attack", "none").code == UNKNOWN
    assert certify(*options, "--epsilon", "0.5").code == FAILED


def test_nothing_and_help_and_version(certify: Certify) -> None:
    nothing, help_, version = certify(), certify("--help"), certify("--version")
    assert (nothing.code, nothing.out) == (USAGE, "") and "Commands:" in nothing.err
    assert (help_.code, help_.err) == (OK, "") and "Exit codes:" in help_.out
    assert (version.code, re.fullmatch(r"\d+\.\d+\.\d+\n", version.out) is not None) == (OK, True)


def test_interruption(certify: Certify, monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(certifying, "run", interrupted)
    done = certify("run", ANN, "--out", "report")
    assert (done.code, done.out, done.err) == (INTERRUPTED, "", "certify: interrupted\n")
    assert not list((elsewhere / "report").iterdir())


@pytest.mark.parametrize("error", [SandwichBreach("sample 3: broken", "please report it"), RuntimeError("shape"), MemoryError()])
def test_our_own_defects_are_internal_errors(error: Exception, certify: Certify, monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    def broken(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(certifying, "run", broken)
    done = certify("run", ANN, "--out", "report")
    assert (done.code, done.out) == (INTERNAL, "")
    assert f"certify: internal error: {type(error).__name__}: {error.args[0] if error.args else ''}" in done.err
    assert not list((elsewhere / "report").iterdir())


def test_progress_is_for_terminals(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    done = certify("run", ANN, *QUICK, "--json")
    assert done.code == OK and len(from_json(done.out)) == 1
    assert "epsilon 0.01" in terminal.getvalue()


def test_no_color(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile("\x1b\\[[0-9;]*3[0-9]")
    for no_color in (None, "1"):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm-256color")
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        assert certify("run", ANN, *QUICK, "--attack", "none", "--json").code == OK
        assert bool(colour.search(terminal.getvalue())) is (no_color is None)


def test_inspect(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    done = certify("inspect", SNN)
    assert done.code == OK
    for words in ("spike iff V > 1", "synapses.0.0.routing", "MaskRouting", "interval, linear", "488/500", "1x8x8 in [0, 1]"):
        assert words in done.out
    facts = json.loads(certify("inspect", SNN, "--json").out)
    fire = [layer for layer in facts["layers"] if layer["layer"] == "Fire"]
    assert [layer["calls"] for layer in fire] == [4, 4]
    assert all(layer["problem"] is None for layer in facts["layers"])
    assert facts["metadata"]["provenance"]["recipe"]["name"] == SNN


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("models", "flex-vgg"),
        ("recipes", "digits-flex-snn"),
        ("checkpoints", "489/500"),
        ("rules", "MaskRouting"),
        ("attacks", "20 steps, 3 restarts"),
        ("perturbations", "L2Ball"),
    ],
)
def test_ls(what: str, words: str, certify: Certify) -> None:
    assert words in certify("ls", what).out
    rows = json.loads(certify("ls", what, "--json").out)
    assert rows and any(words in value for row in rows for value in row.values())


def test_doctor(certify: Certify) -> None:
    done = certify("doctor")
    assert done.code == OK
    for words in ("torch", "threads", "flush to zero", "TF32", "soundness", "0 violations"):
        assert words in done.out
    findings = {finding["name"]: finding for finding in json.loads(certify("doctor", "--json").out)}
    assert findings["soundness"]["healthy"] is True


def test_doctor_reports_what_is_wrong(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    true_bounds = self_test._bounds
    monkeypatch.setattr(self_test, "_bounds", lambda *arguments: [(lower + 100, upper) for lower, upper in true_bounds(*arguments)])
    done = certify("doctor")
    assert done.code == INTERNAL and "WRONG" in done.out and " 0 violations" not in done.out


def test_doctor_survives_a_failure_of_the_bounds(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise NumericalFailure("an infinite bound")

    monkeypatch.setattr(self_test, "_bounds", fail)
    done = certify("doctor")
    assert done.code == INTERNAL and "an infinite bound" in done.out


RECIPE = """
name = "tiny"
description = "One epoch."
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
semantics = "static"
architecture = { name = "flex-vgg", parameters = { blocks = [[2, 2]], hidden = [] } }
data = { source = "digits" }
training = { seed = 0, epochs = 1, batch_size = 100, optimiser = "adam", learning_rate = 0.01 }
"""


def test_train_writes_a_checkpoint_that_runs(certify: Certify, elsewhere: Path) -> None:
    (elsewhere / "tiny.toml").write_text(RECIPE)
    done = certify("train", "tiny.toml", "--out", "tiny.safetensors")
    assert (done.code, done.err) == (OK, "")
    assert "Checkpoint: tiny.safetensors" in done.out
    assert load(elsewhere / "tiny.safetensors").metadata.provenance.recipe.name == "tiny"
    assert certify("run", "tiny.safetensors", *QUICK).code == OK


def test_train_follows_the_table_robust(certify: Certify, elsewhere: Path) -> None:
    robust = 'robust = { norm = "linf", epsilon = 0.05, warm_up_epochs = 0, ramp_epochs = 0 }\n'
    (elsewhere / "robust.toml").write_text(RECIPE.replace('"tiny"', '"robust"') + robust)
    assert certify("train", "robust.toml", "--out", "robust.safetensors").code == OK
    (elsewhere / "plain.toml").write_text(RECIPE)
    assert certify("train", "plain.toml", "--out", "plain.safetensors").code == OK
    robust_hash, plain_hash = (load(elsewhere / f"{name}.safetensors").metadata.tensors_sha256 for name in ("robust", "plain"))
    assert robust_hash != plain_hash


def test_a_closed_pipe_ends_quietly() -> None:
    code = "from neurocert.certify.cli.main import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "ls", "rules"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", CLOSED_PIPE)
    process.stderr.close()
