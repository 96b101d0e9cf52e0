"""Runs the command line in this process, as a user would see it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from neurocert.certify.cli.main import main


@dataclass(frozen=True)
class Done:
    """What one command left behind."""

    code: int
    out: str
    err: str


Certify = Callable[..., Done]


@pytest.fixture
def certify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Certify:
    """``certify("run", "digits-flex-ann")``."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["certify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return run
