"""The page of figures is what the results say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from neurocert.analysis.statistics import mean_interval

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "page.py"


def load(script: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(script.parent)  # what it shares with others lies beside it
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script.stem, module)  # its dataclasses ask for it
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(SCRIPT, monkeypatch)
    assert module.page() == module.PAGE.read_text(encoding="utf-8"), "run python benchmarks/page.py"


@pytest.mark.parametrize("script", sorted(SCRIPT.parent.glob("*.py")), ids=lambda script: script.stem)
def test_every_script_fits_the_package_as_it_is(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script sets up when it is loaded, before it measures anything, can still be set up."""
    assert load(script, monkeypatch).__doc__


def verdict(differences: list[list[float]], sign: int) -> str:
    """By the rule on the page, from the differences of each pair."""
    ends = [sorted(sign * end for end in mean_interval(each)) for each in differences if len(each) >= 3]
    if any(upper < 0 for _, upper in ends):
        return "does not hold"
    return "holds" if len(ends) == len(differences) and all(lower > 0 for lower, _ in ends) else "undecided"


def test_the_verdicts_on_the_claims_follow_from_the_measurements() -> None:
    found = json.loads((SCRIPT.parent / "results" / "claims.json").read_text(encoding="utf-8"))
    measured: dict[str, dict[int, dict[str, float]]] = {}
    for row in found["rows"]:
        measured.setdefault(row["variant"], {})[row["seed"]] = row["measures"]
    assert len(measured) == 6 and len(found["claims"]) == 10
    for claim in found["claims"]:
        name, sign = claim["measure"], 1 if claim["better"] == "more" else -1
        both = [(measured[pair["first"]], measured[pair["second"]]) for pair in claim["pairs"]]
        differences = [[first[seed][name] - second[seed][name] for seed in first.keys() & second.keys()] for first, second in both]
        assert claim["verdict"] == verdict(differences, sign)
