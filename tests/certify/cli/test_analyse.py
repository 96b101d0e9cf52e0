"""``certify analyse``: what it prints and writes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neurocert.certify.cli.main import OK, USAGE
from neurocert.certify.reports.analysis.schema import from_json

Certify = Callable[..., "Done"]  # noqa: F821  (see conftest)

ANN, SNN = "digits-flex-ann", "digits-flex-snn"
QUICK = ("--samples", "4", "--figures", "routing,spiking")
WORDS = {
    "unknown checkpoint": (("absent",), "no checkpoint named 'absent' (shipped: digits-flex-ann,"),
    "no checkpoint": ((), "Missing argument 'CHECKPOINT...'"),
    "unknown section": ((ANN, "--figures", "hesian"), "there is no section or figure 'hesian' (sections: training, attacks,"),
    "unknown figure": ((ANN, "--figures", "rasters,curves"), "there is no section or figure 'curves'"),
    "no figure": ((ANN, "--figures", ""), "figures: got none"),
    "too few samples": ((ANN, "--samples", "3"), "samples: got 3, expected at least 4"),
    "falling radii": ((ANN, "--epsilon", "0.3,0.1"), "epsilon is [0.3, 0.1], expected at least two radii, increasing"),
    "a radius that is a word": ((ANN, "--epsilon", "0,big"), "epsilon is 'big', expected a finite number"),
    "unknown attack": ((ANN, "--attack", "cw"), "attack is 'cw', expected one of"),
    "no such data": ((ANN, "--data", "absent"), "'absent': no such data"),
    "out below a file": ((ANN, "--out", "taken/page"), "taken/page: cannot be made a directory"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "taken").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_networks_side_by_side(certify: Certify, elsewhere: Path) -> None:
    done = certify("analyse", ANN, SNN, *QUICK)
    assert (done.code, done.err) == (OK, "")
    lines = done.out.splitlines()
    assert lines[0].split() == [ANN, SNN]
    assert "Analysis: certify-analysis/analysis.html and certify-analysis/analysis.json" in lines
    document = from_json((elsewhere / "certify-analysis" / "analysis.json").read_text(encoding="utf-8"))
    assert [analysis.network.name for analysis in document] == [ANN, SNN]
    assert document[0].command == f"certify analyse {ANN} {SNN} --samples 4 --figures routing,spiking"
    assert (elsewhere / "certify-analysis" / "analysis.html").stat().st_size > 10**6


def test_json_is_the_document_that_was_written(certify: Certify, elsewhere: Path) -> None:
    done = certify("analyse", SNN, *QUICK, "--json", "--out", "deep/page")
    assert done.code == OK
    assert done.out.strip() == (elsewhere / "deep/page/analysis.json").read_text(encoding="utf-8")
    assert done.err.startswith("Analysis: deep/page/analysis.html")


@pytest.mark.parametrize(("words", "message"), WORDS.values(), ids=WORDS)
def test_mistakes_end_in_one_line(certify: Certify, elsewhere: Path, words: tuple[str, ...], message: str) -> None:
    done = certify("analyse", *words)
    assert (done.code, done.out) == (USAGE, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (elsewhere / "certify-analysis" / "analysis.json").exists()
