"""``certify snan``: what it prints and writes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neurocert.certify.cli.main import OK, USAGE
from neurocert.certify.reports.snan.schema import from_json

Certify = Callable[..., "Done"]  # noqa: F821  (see conftest)

QUICK = ("--samples", "6", "--epsilon", "0.0005", "--noise", "0,0.2", "--smooth", "1", "--draws", "10", "--enumerate", "1")
WORDS = {
    "no such file": (("absent.safetensors",), "absent.safetensors: no such file"),
    "a classifier alone": (("{classifier}",), "holds a classifier alone, expected a classifier behind an SNAN"),
    "a shipped name": (("digits-flex-ann",), "holds a classifier alone, expected a classifier behind an SNAN"),
    "noise outside its range": (("{hybrid}", "--noise", "0,2"), "noise is [0.0, 2.0], expected shares of pixels in [0, 1]"),
    "noise that is a word": (("{hybrid}", "--noise", "0,loud"), "noise is 'loud', expected a finite number"),
    "samples that are not there": (("{hybrid}", "--samples", "100000"), "asked for number 99999"),
    "few shots without a recipe": (("{hybrid}", "--few-shots", "1,5"), "give both a recipe and numbers of images, or neither"),
    "few shots that are a word": (("{hybrid}", "--recipe", "digits-snan", "--few-shots", "few"), "got 'few', expected a whole number"),
    "out below a file": (("{hybrid}", "--out", "taken/page"), "taken/page: cannot be made a directory"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "taken").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_hybrid_beside_its_control(certify: Certify, hybrid_file: Path, control_file: Path, elsewhere: Path) -> None:
    done = certify("snan", hybrid_file, control_file, *QUICK)
    assert (done.code, done.err) == (OK, "")
    assert "resampling alone" in done.out and "certify-snan/snan.html and certify-snan/snan.json" in done.out
    studies = from_json((elsewhere / "certify-snan" / "snan.json").read_text(encoding="utf-8"))
    assert [study.spiking for study in studies] == [True, False]
    assert (elsewhere / "certify-snan" / "snan.html").stat().st_size > 10**6


def test_json_is_the_document_that_was_written(certify: Certify, control_file: Path, elsewhere: Path) -> None:
    done = certify("snan", control_file, *QUICK, "--json", "--out", "page")
    assert done.code == OK and done.out.strip() == (elsewhere / "page/snan.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("words", "message"), WORDS.values(), ids=WORDS)
def test_mistakes_end_in_one_line(certify: Certify, hybrid_file: Path, words: tuple[str, ...], message: str) -> None:
    from neurocert.models.checkpoints import resolve

    names = {"hybrid": hybrid_file, "classifier": resolve("digits-flex-ann")}
    done = certify("snan", *(word.format(**names) for word in words))
    assert (done.code, done.out, done.err.count("\n")) == (USAGE, "", 1)
    assert message in done.err


def test_other_commands_say_where_a_hybrid_belongs(certify: Certify, hybrid_file: Path) -> None:
    done = certify("run", hybrid_file)
    assert done.code == USAGE and "holds 'snan-hybrid', expected a classifier alone (`certify snan` takes" in done.err
