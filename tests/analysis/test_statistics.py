from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_1samp

from neurocert.analysis.statistics import Proportion, clopper_pearson, mean_interval
from neurocert.models.errors import InputError


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 20_000))
    return draw(st.integers(0, n)), n


@given(counts(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_ends_solve_the_binomial_tail_equations(count: tuple[int, int], confidence: float) -> None:
    k, n = count
    lower, upper = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2
    if k > 0:
        assert math.isclose(binom.sf(k - 1, n, lower), tail, rel_tol=1e-8)
    if k < n:
        assert math.isclose(binom.cdf(k, n, upper), tail, rel_tol=1e-8)
    assert 0 <= lower <= k / n <= upper <= 1


@pytest.mark.parametrize("n", [1, 2, 5, 10, 31])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_coverage_by_enumeration_is_never_below_the_confidence(n: int, confidence: float) -> None:
    intervals = np.array([clopper_pearson(k, n, confidence) for k in range(n + 1)])
    p = np.linspace(0, 1, 2001)[:, None]
    probabilities = binom.pmf(np.arange(n + 1), n, p)
    covered = (intervals[:, 0] <= p) & (p <= intervals[:, 1])
    missed = np.where(covered, 0.0, probabilities).sum(axis=1)
    assert missed.max() <= 1 - confidence
    assert missed.max() > 0  # the interval is not simply [0, 1]


@pytest.mark.parametrize("n", [1, 7, 10_000])
def test_no_success_and_all_successes_have_closed_forms(n: int) -> None:
    lower, upper = clopper_pearson(0, n)
    assert lower == 0.0
    assert math.isclose(upper, 1 - 0.025 ** (1 / n), rel_tol=1e-9)
    lower, upper = clopper_pearson(n, n)
    assert math.isclose(lower, 0.025 ** (1 / n), rel_tol=1e-9)
    assert upper == 1.0


def test_published_interval() -> None:
    """10 of 100: the textbook interval, 4.90 % to 17.62 %."""
    lower, upper = clopper_pearson(10, 100)
    assert (round(lower, 4), round(upper, 4)) == (0.0490, 0.1762)


@pytest.mark.parametrize(("count", "n"), [(-1, 5), (6, 5), (0, 0), (0, -1)])
def test_impossible_counts_are_refused(count: int, n: int) -> None:
    with pytest.raises(InputError, match=f"got {count} of {n}"):
        clopper_pearson(count, n)
    with pytest.raises(InputError, match=f"got {count} of {n}"):
        Proportion(count, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 95, math.nan])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(InputError, match="confidence"):
        clopper_pearson(1, 2, confidence)


def test_proportion_prints_count_share_and_interval() -> None:
    assert str(Proportion(37, 50)) == "37/50 = 74.0 % [59.7, 85.4]"
    assert str(Proportion(50, 50)) == "50/50 = 100.0 % [92.9, 100.0]"
    assert Proportion(37, 50).value == 0.74
    assert Proportion(37, 50).interval(0.5) == clopper_pearson(37, 50, 0.5)


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.1, -0.4, 0.3, 0.25], list(range(30))])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_a_mean_is_students(values: list[float], confidence: float) -> None:
    expected = ttest_1samp(values, 0.0).confidence_interval(confidence)
    assert mean_interval(values, confidence) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, (2000, 3))
    covered = sum(lower <= 3.0 <= upper for lower, upper in map(mean_interval, draws.tolist()))
    assert 0.93 < covered / len(draws) < 0.97


@pytest.mark.parametrize(("values", "confidence", "message"), [([1.0], 0.95, "got 1 values"), ([1.0, 2.0], 1.0, "confidence is 1.0")])
def test_a_mean_that_has_no_interval(values: list[float], confidence: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mean_interval(values, confidence)
