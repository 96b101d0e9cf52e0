from __future__ import annotations

import pytest
from scipy.stats import pearsonr

from neurocert.analysis.correlation import pearson
from neurocert.models.errors import InputError

X = (0.1, 0.4, 0.35, 0.8, 0.9, 0.2)
Y = (1.0, 0.7, 0.9, 0.2, 0.4, 0.6)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_r_and_interval_are_those_of_scipy(confidence: float) -> None:
    expected = pearsonr(X, Y)
    lower, upper = expected.confidence_interval(confidence)
    found = pearson(X, Y, confidence)
    assert (found.r, found.lower, found.upper, found.n) == pytest.approx((expected.statistic, lower, upper, 6))


def test_a_line_has_no_interval_to_speak_of() -> None:
    found = pearson(X, [2 - 3 * x for x in X])
    assert (found.r, found.lower, found.upper) == pytest.approx((-1.0, -1.0, -1.0))
    assert str(pearson(X, Y)) == "r = -0.836 [-0.982, -0.076], n = 6"


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="got 3 and 3 values, expected equally many and at least 4"):
        pearson(X[:3], Y[:3])
    with pytest.raises(InputError, match="got 6 and 5 values"):
        pearson(X, Y[:5])
    with pytest.raises(InputError, match="the second series does not vary"):
        pearson(X, [1.0] * 6)
    with pytest.raises(InputError, match="confidence is 1"):
        pearson(X, Y, 1.0)
