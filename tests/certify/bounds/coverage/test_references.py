"""Functions of one element under real arithmetic, against values computed to 40 digits: no tolerance."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import own_radius
from neurocert.certify.bounds.interval import Interval
from neurocert.certify.bounds.registry import rule_for
from neurocert.certify.bounds.relaxations.lines import Lines
from neurocert.certify.bounds.relaxations.smooth import Curve, extremes, smooth_lines
from neurocert.certify.bounds.relaxations.softmax import LOG_SOFTMAX, SOFTMAX, softmax_bounds, softmax_planes
from neurocert.certify.bounds.relaxations.steps import step_lines
from neurocert.certify.bounds.rules import smooth

mp.dps = 40
Real = Callable[[mpf], mpf]
POINTS = 60


def _gelu_tanh(x: mpf) -> mpf:
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mp.pi) * (x + mpf("0.044715") * x**3)))


def _hard_swish(x: mpf) -> mpf:
    return x * min(max(x + 3, mpf(0)), mpf(6)) / 6


def _exponential_unit(scale: float, alpha: float, rate: float) -> Real:
    return lambda x: mpf(scale) * (x if x > 0 else mpf(alpha) * mpmath.expm1(mpf(rate) * x))


def _softplus(x: mpf) -> mpf:
    return x if 2 * x > 3 else mpmath.log1p(mpmath.exp(2 * x)) / 2


ANYWHERE, POSITIVE = (-30.0, 30.0), (1e-3, 50.0)
FUNCTIONS: dict[str, tuple[Curve, Real, tuple[float, float]]] = {
    "tanh": (smooth.TANH.curve, mpmath.tanh, ANYWHERE),
    "erf": (smooth.ERF.curve, mpmath.erf, ANYWHERE),
    "normal distribution": (smooth.NORMAL.curve, mpmath.ncdf, ANYWHERE),
    "gelu": (smooth.GELU.curve, lambda x: x * mpmath.ncdf(x), ANYWHERE),
    "gelu, tanh": (smooth.GELU_TANH.curve, _gelu_tanh, ANYWHERE),
    "silu": (smooth.SILU.curve, lambda x: x / (1 + mpmath.exp(-x)), ANYWHERE),
    "hard swish": (smooth.HARD_SWISH.curve, _hard_swish, ANYWHERE),
    "elu": (smooth._elu(nn.ELU(1.5)).curve, _exponential_unit(1.0, 1.5, 1.0), ANYWHERE),
    "celu": (smooth._celu(nn.CELU(0.5)).curve, _exponential_unit(1.0, 0.5, 2.0), ANYWHERE),
    "selu": (smooth._selu(nn.SELU()).curve, _exponential_unit(smooth.SELU_SCALE, smooth.SELU_ALPHA, 1.0), ANYWHERE),
    "softplus": (smooth._softplus(nn.Softplus(2.0, 3.0)).curve, _softplus, ANYWHERE),
    "log sigmoid": (smooth._log_sigmoid(nn.LogSigmoid()).curve, lambda x: -mpmath.log1p(mpmath.exp(-x)), ANYWHERE),
    "exp": (smooth.EXP.curve, mpmath.exp, ANYWHERE),
    "log": (smooth.LOG.curve, mpmath.log, POSITIVE),
    "square root": (smooth.SQUARE_ROOT.curve, mpmath.sqrt, POSITIVE),
    "inverse root": (smooth.INVERSE_ROOT.curve, lambda x: 1 / mpmath.sqrt(x), POSITIVE),
    "reciprocal": (smooth.RECIPROCAL.curve, lambda x: 1 / x, POSITIVE),
    "square": (smooth.SQUARE.curve, lambda x: x**2, ANYWHERE),
    "cube": (smooth.CUBE.curve, lambda x: x**3, ANYWHERE),
    "fourth power": (smooth.FOURTH.curve, lambda x: x**4, ANYWHERE),
}


def box(data: st.DataObject, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Eight intervals: wide, narrow, and points."""
    ends = data.draw(st.lists(st.tuples(st.floats(low, high), st.sampled_from([0.0, 1e-9, 1e-3, 0.5, 4.0, 40.0])), min_size=8, max_size=8))
    lower = torch.tensor([end for end, _ in ends], dtype=torch.float64)
    width = torch.tensor([width for _, width in ends], dtype=torch.float64)
    return lower[None], (lower + width).clamp(max=high)[None]


def samples(lower: Tensor, upper: Tensor) -> list[Tensor]:
    """Ends, and points between them, dense at both ends."""
    shares = [k / POINTS for k in range(POINTS + 1)] + [10.0**-k for k in range(2, 9)] + [1 - 10.0**-k for k in range(2, 9)]
    return [lower, upper, *((lower + share * (upper - lower)).clamp(lower, upper) for share in shares)]


def valued(function: Real, x: Tensor) -> list[mpf]:
    return [function(mpf(value)) for value in x.flatten().tolist()]


def check_lines(lines: Lines, function: Real, lower: Tensor, upper: Tensor) -> None:
    """Every line of both sides, in exact arithmetic."""
    for x in samples(lower, upper):
        values = valued(function, x)
        for side, sign in ((lines.below, 1), (lines.above, -1)):
            for line in (side.at_lower, side.at_centre, side.at_upper):
                for slope, offset, point, value in zip(line.slope[0].tolist(), line.offset[0].tolist(), x[0].tolist(), values, strict=True):
                    assert sign * (mpf(slope) * mpf(point) + mpf(offset)) <= sign * value, (slope, offset, point, sign)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_lines_and_bounds_of_smooth_functions(name: str, data: st.DataObject) -> None:
    function, real, domain = FUNCTIONS[name]
    lower, upper = box(data, *domain)
    check_lines(smooth_lines(function, lower, upper), real, lower, upper)
    least, greatest = (end[0, 0].tolist() for end in extremes(function, torch.zeros_like(lower)[None], lower, upper))
    for x in samples(lower, upper):
        assert all(low <= value <= high for low, value, high in zip(least, valued(real, x), greatest, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_curvature_is_as_declared(name: str) -> None:
    """The second derivative of the true function has the sign of its piece, all over it, up to the very ends."""
    function, real, (low, high) = FUNCTIONS[name]
    for piece in function.pieces:
        start, end = mpf(max(piece.start, low, -12.0)), mpf(min(piece.end, high, 12.0))
        sign = 1 if piece.shape == "convex" else -1
        shares = [mpf(k) / 400 for k in range(1, 400)] + [mpf(10) ** -k for k in range(3, 8)] + [1 - mpf(10) ** -k for k in range(3, 8)]
        for share in shares:
            x, step = start + share * (end - start), min(share, 1 - share) * (end - start) / 4
            assert sign * (real(x - step) + real(x + step) - 2 * real(x)) >= -(mpf(10) ** -30), (name, x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_offsets_are_nearly_exact(name: str) -> None:
    """Not only sound: a bound of a wide interval is within a millionth of what is attained."""
    function, real, (low, high) = FUNCTIONS[name]
    lower, upper = torch.tensor([[max(low, -3.0)]], dtype=torch.float64), torch.tensor([[min(high, 2.0)]], dtype=torch.float64)
    slopes = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None, None]
    least, greatest = extremes(function, slopes, lower, upper)
    grid = lower[0] + (upper - lower)[0] * torch.arange(4001, dtype=torch.float64) / 4000
    values = torch.tensor([float(value) for value in valued(real, grid)], dtype=torch.float64)
    gaps = values - slopes[:, 0] * grid
    scale = 1 + gaps.abs().amax(1)
    assert bool(((gaps.amin(1) - least[:, 0, 0]).abs() <= 2e-6 * scale).all())
    assert bool(((gaps.amax(1) - greatest[:, 0, 0]).abs() <= 2e-6 * scale).all())


@given(
    lower=st.floats(-3, 3),
    width=st.sampled_from([0.0, 1e-9, 0.5, 4.0]),
    step=st.sampled_from([(0, 0, 1), (0, 1, 1), (1, 0, 0), (-1, 0, 1)]),
)
@settings(max_examples=60, deadline=None)
def test_lines_of_steps(lower: float, width: float, step: tuple[int, int, int]) -> None:
    low, high = torch.tensor([[lower]], dtype=torch.float64), torch.tensor([[lower + width]], dtype=torch.float64)
    lines = step_lines(*map(float, step), low, high)
    left, at, right = step
    points = [low, high, *([torch.zeros_like(low)] if lower <= 0 <= lower + width else []), *samples(low, high)]
    for x in points:
        value = left if x < 0 else right if x > 0 else at
        for side, sign in ((lines.below, 1), (lines.above, -1)):
            for line in (side.at_lower, side.at_centre, side.at_upper):
                level, size = line.slope * x + line.offset, (line.slope * x).abs() + line.offset.abs()
                assert bool((sign * level - own_radius(4, size) <= sign * value).all())


@pytest.mark.parametrize("logarithm", [False, True])
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([0.1, 2.0, 30.0]), width=st.sampled_from([0.0, 1e-6, 0.3, 5.0]))
@settings(max_examples=15, deadline=None)
def test_softmax_against_exact_values(logarithm: bool, seed: int, scale: float, width: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    lower = torch.randn(1, 4, generator=generator, dtype=torch.float64) * scale
    upper = lower + width * torch.rand(1, 4, generator=generator, dtype=torch.float64)
    outer = LOG_SOFTMAX if logarithm else SOFTMAX
    below, above = softmax_planes(outer, lower, upper)
    bounds = softmax_bounds(outer, lower, upper)
    corners = [torch.where(torch.rand(1, 4, generator=generator) < 0.5, lower, upper) for _ in range(8)]
    inner = [lower + (upper - lower) * torch.rand(1, 4, generator=generator, dtype=torch.float64) for _ in range(8)]
    for x in [lower, upper, *corners, *inner]:
        point = [mpf(value) for value in x[0].tolist()]
        total = mpmath.fsum(mpmath.exp(value) for value in point)
        for i in range(4):
            exact = point[i] - mpmath.log(total) if logarithm else mpmath.exp(point[i]) / total
            slack = float(own_radius(64, 1 + bounds[0].abs() + bounds[1].abs() + upper.abs().amax())[0, i])
            assert float(bounds[0][0, i]) - slack <= exact <= float(bounds[1][0, i]) + slack
            for planes, sign in ((below, 1), (above, -1)):
                level = mpmath.fsum(mpf(s) * p for s, p in zip(planes.slopes[0, i].tolist(), point, strict=True)) + mpf(
                    float(planes.offset[0, i])
                )
                assert sign * level <= sign * exact


def test_a_softmax_of_equal_logits_is_exact() -> None:
    logits = Interval(torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.float64))
    layer = nn.Softmax(1)
    rule = rule_for(layer)
    assert rule is not None
    ((lower, upper),) = rule.interval(layer, (logits,))
    assert lower.tolist() == upper.tolist() == [[0.25] * 4]
