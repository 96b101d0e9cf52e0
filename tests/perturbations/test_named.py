from __future__ import annotations

import pytest

from neurocert.certify.config import NORMS
from neurocert.models.errors import InputError
from neurocert.perturbations.balls import BALLS, ball
from neurocert.perturbations.flips import Flips
from neurocert.perturbations.named import SETS, named_set


def test_every_set_of_a_run_has_a_name() -> None:
    assert tuple(SETS) == NORMS
    assert [named_set(norm, 0.1) for norm in BALLS] == [ball(norm, 0.1) for norm in BALLS]
    assert named_set("flips", 3.0) == Flips(3) == named_set("flips", 3)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [("l0", 1.0, "norm is 'l0', expected one of linf, l2, l1, flips"), ("flips", 0.5, "count is 0.5"), ("linf", -1.0, "epsilon is -1.0")],
)
def test_sets_that_are_none(name: str, size: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        named_set(name, size)
