"""Configurations are checked as a whole, before anything is loaded."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocert.certify.config import (
    Requirement,
    RunConfig,
    WeightTolerance,
    parse_names,
    parse_number,
    parse_numbers,
    parse_requirement,
    parse_samples,
    parse_tolerance,
)
from neurocert.certify.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilons": ()}, "got none"),
        ({"epsilons": (0.1, 0.1)}, "increasing"),
        ({"epsilons": (0.2, 0.1)}, "increasing"),
        ({"epsilons": (-0.1,)}, "finite number >= 0"),
        ({"epsilons": (math.nan,)}, "finite number >= 0"),
        ({"epsilons": ("a",)}, "epsilon is 'a', expected a finite number"),
        ({"epsilons": (True,)}, "epsilon is True, expected a finite number"),
        ({"epsilons": 0.1}, "epsilons is 0.1, expected a tuple"),
        ({"epsilons": [0.1]}, r"epsilons is \[0.1\], expected a tuple"),
        ({"methods": "linear"}, "methods is 'linear', expected a tuple"),
        ({"attacks": ["pgd"]}, r"attacks is \['pgd'\], expected a tuple"),
        ({"requirements": "certified>=0.9@0.01"}, "requirements is .* expected a tuple"),
        ({"norm": "l0"}, "norm is 'l0'"),
        ({"norm": "flips"}, "epsilon is 0.005, expected whole numbers of flips"),
        ({"norm": "flips", "epsilons": (1.0, 2.5)}, "epsilon is 2.5, expected whole numbers of flips"),
        ({"methods": ("linear", "linear")}, "names one twice"),
        ({"attacks": ("pgd", "pgd")}, "names one twice"),
        ({"methods": (), "attacks": ()}, "got none of either"),
        ({"samples": 0}, "samples: got none"),
        ({"samples": ()}, "samples: got none"),
        ({"time_limit": 0.0}, "time limit is 0.0, expected a number of seconds above 0"),
        ({"time_limit": math.inf}, "time limit is inf"),
        ({"time_limit": math.nan}, "time limit is nan"),
        ({"time_limit": "1"}, "time limit is '1'"),
        ({"samples": -1}, "samples is -1"),
        ({"samples": (1, -1)}, "got index -1"),
        ({"samples": (1, 1)}, "named twice"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
        ({"requirements": (Requirement(0.5, 0.3),)}, "0.3 is not among the radii"),
    ],
)
def test_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RunConfig("digits-flex-ann", **change)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "weights: got no tolerance"),
        ({"relative": 0.0, "absolute": 0}, "weights: got no tolerance"),
        ({"relative": -0.1}, "weights: relative is -0.1, expected a finite number >= 0"),
        ({"relative": 0.1, "absolute": math.inf}, "weights: absolute is inf"),
        ({"relative": True}, "weights: relative is True"),
        ({"relative": 0.1, "names": ()}, r"weights: names are \(\), expected a tuple of patterns"),
        ({"relative": 0.1, "names": "*"}, "weights: names are '\\*', expected a tuple of patterns"),
    ],
)
def test_refuses_tolerances(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        WeightTolerance(**given)


def test_tolerances() -> None:
    assert parse_tolerance(None, None, None) is None
    assert parse_tolerance("0.01", None, None) == WeightTolerance(relative=0.01)
    assert parse_tolerance("1e-2", "0.5", "a.*, b") == WeightTolerance(0.01, 0.5, ("a.*", "b"))
    with pytest.raises(ConfigError, match="got no tolerance"):
        parse_tolerance(None, None, "a.*")
    with pytest.raises(ConfigError, match="weights-absolute is 'x', expected a finite number"):
        parse_tolerance("0.1", "x", None)


def test_words() -> None:
    assert parse_numbers("0.005, 1e-2", "epsilon") == (0.005, 0.01)
    assert (parse_names("fgsm, pgd"), parse_names("none"), parse_names("")) == (("fgsm", "pgd"), (), ())
    assert (parse_samples("50"), parse_samples("3,17"), parse_samples("3,")) == (50, (3, 17), (3,))
    assert parse_requirement(" certified >= 0.9 @ 0.01 ") == Requirement(0.9, 0.01)
    assert str(Requirement(0.9, 0.01)) == "certified>=0.9@0.01"


@pytest.mark.parametrize("text", ["", "x", "1.5", "-3", "3-5", "٣", "1" * 30, "1,x"])
def test_samples_that_are_no_numbers(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a number such as 50"):
        parse_samples(text)


@pytest.mark.parametrize(("text", "share"), [("certified>=1.5@0.01", "1.5"), ("certified>=-0.1@0.01", "-0.1")])
def test_shares_are_between_none_and_all(text: str, share: str) -> None:
    with pytest.raises(ConfigError, match=rf"the share is {share}, expected a number in \[0, 1\]"):
        parse_requirement(text)


@pytest.mark.parametrize("text", ["certified>0.9@0.01", "certified>=@0.01", "certified>=0.9", "unknown<=0.1@0.01", "certified>=1e@0.1"])
def test_requirements_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="require"):
        parse_requirement(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_samples, parse_requirement, partial(parse_number, option="x"), partial(parse_numbers, option="x")):
        with suppress(ConfigError):
            assert parse(text) is not None
