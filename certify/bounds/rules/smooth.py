"""Smooth functions of one element, each described by where it turns from convex ("v") to concave ("n")."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.certify.bounds.call import Call, options
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import Lines
from neurocert.certify.bounds.relaxations.smooth import Curve, Piece, curve, extremes, smooth_lines
from neurocert.certify.bounds.rules.activation import along_lines
from neurocert.certify.bounds.window import by_element
from neurocert.certify.errors import NumericalFailure

SILU_TURN = 2.3993572805154677
"""Where x tanh(x / 2) = 2."""
GELU_TANH_TURN = 1.4185040087908284
"""Where the second derivative of GELU's tanh form vanishes."""
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
STATEMENT = (
    "On a convex piece a function lies above its tangents and below its ends' maximum, on a concave one the other way round: "
    "ends and tangents bound every extreme of f(x) - slope x. Any implementation within the declared roundings is covered."
)


@dataclass(frozen=True)
class Smooth:
    """What the rules need to know about a smooth function.

    Attributes:
        curve: its pieces.
        operations: roundings of an implementation.
        size: (input interval, greatest |f|) -> what bounds every intermediate result.
        domain: inputs must be greater than this.
    """

    curve: Curve
    operations: int
    size: Callable[[Interval, Tensor], Tensor] = lambda x, result: result
    domain: float = -math.inf


def _register_smooth(layers: tuple[Any, ...], describe: Callable[[Any], Smooth], source: str, refuses: Any = None, **more: Any) -> None:
    def interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
        (x,), smooth = inputs, describe(layer)
        if not bool((x.lower > smooth.domain).all()):
            raise NumericalFailure(f"a function needs inputs above {smooth.domain:g}, got a lower bound of {float(x.lower.min()):g}")
        least, greatest = extremes(smooth.curve, torch.zeros_like(x.lower)[None], x.lower, x.upper)
        return ((least[0], greatest[0]),)

    def relax(layer: Any, inputs: Inputs) -> Lines:
        return smooth_lines(describe(layer).curve, inputs[0].lower, inputs[0].upper)

    def rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
        smooth = describe(layer)
        ((lower, upper),) = interval(layer, inputs)
        return (Rounding(smooth.operations, smooth.size(inputs[0], torch.maximum(lower.abs(), upper.abs()))),)

    def refine(layer: Any, inputs: Inputs) -> tuple[Tensor | None, ...]:
        return (inputs[0].lower < inputs[0].upper,)

    given = {} if refuses is None else {"refuses": refuses}
    register(
        Rule(
            layers, STATEMENT, source, interval, relax, along_lines, rounding, refine=refine, mixes=True, local=by_element, **given, **more
        )
    )


def _at_least_one(x: Interval, result: Tensor) -> Tensor:
    return result.clamp(min=1.0)


def _input(x: Interval, result: Tensor) -> Tensor:
    return torch.maximum(result, x.magnitude)


def _always(smooth: Smooth) -> Callable[[Any], Smooth]:
    return lambda layer: smooth


def _given(layer: Any, **defaults: Any) -> dict[str, Any]:
    """Options of a function call, or the attributes of the module."""
    return options(layer, **defaults) if isinstance(layer, Call) else {name: getattr(layer, name) for name in defaults}


def _density(x: Tensor) -> Tensor:
    """Of the standard normal distribution."""
    return torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _distribution(x: Tensor) -> Tensor:
    return torch.special.ndtr(x)


def _sech_squared(x: Tensor) -> Tensor:
    return 1 / torch.cosh(x) ** 2


TANH = Smooth(curve(torch.tanh, _sech_squared, "vn", 0.0), 8, _at_least_one)
ERF = Smooth(curve(torch.erf, lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x), "vn", 0.0), 8, _at_least_one)
NORMAL = Smooth(curve(_distribution, _density, "vn", 0.0), 16, _at_least_one)
EXP = Smooth(curve(torch.exp, torch.exp, "v"), 8)
LOG = Smooth(curve(torch.log, torch.reciprocal, "n"), 8, _at_least_one, domain=0.0)
SQUARE_ROOT = Smooth(curve(torch.sqrt, lambda x: 0.5 / torch.sqrt(x), "n"), 8, domain=0.0)
INVERSE_ROOT = Smooth(curve(torch.rsqrt, lambda x: -0.5 / (x * torch.sqrt(x)), "v"), 8, domain=0.0)
RECIPROCAL = Smooth(curve(torch.reciprocal, lambda x: -1 / (x * x), "v"), 8, domain=0.0)
SQUARE = Smooth(curve(torch.square, lambda x: 2 * x, "v"), 8)
CUBE = Smooth(curve(lambda x: x**3, lambda x: 3 * x * x, "nv", 0.0), 8)
FOURTH = Smooth(curve(lambda x: x**4, lambda x: 4 * x**3, "v"), 8)
POWERS = {2: SQUARE, 3: CUBE, 4: FOURTH, 0.5: SQUARE_ROOT, -0.5: INVERSE_ROOT, -1: RECIPROCAL}
SILU = Smooth(
    curve(
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) * (1 + x * torch.sigmoid(-x)),
        "nvn",
        -SILU_TURN,
        SILU_TURN,
    ),
    16,
    _input,
)
GELU = Smooth(
    curve(lambda x: x * _distribution(x), lambda x: _distribution(x) + x * _density(x), "nvn", -math.sqrt(2), math.sqrt(2)), 24, _input
)


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * torch.sigmoid(2 * _gelu_inner(x))


def _gelu_inner(x: Tensor) -> Tensor:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu_tanh_derivative(x: Tensor) -> Tensor:
    """With s = sigmoid(2 z(x)), which is (1 + tanh z) / 2: s + 2 x s (1 - s) z'."""
    z, slope = _gelu_inner(x), math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    s = torch.sigmoid(2 * z)
    return s + 2 * x * s * torch.sigmoid(-2 * z) * slope


GELU_TANH = Smooth(curve(_gelu_tanh, _gelu_tanh_derivative, "nvn", -GELU_TANH_TURN, GELU_TANH_TURN), 32, _input)
HARD_SWISH = Smooth(
    Curve(
        (
            Piece(-math.inf, -3.0, "convex", torch.zeros_like, torch.zeros_like),
            Piece(-3.0, 3.0, "convex", lambda x: x * (x + 3) / 6, lambda x: (2 * x + 3) / 6),
            Piece(3.0, math.inf, "convex", lambda x: x, torch.ones_like),
        )
    ),
    8,
    _input,
)


def _gelu(layer: Any) -> Smooth:
    return GELU if _given(layer, approximate="none")["approximate"] == "none" else GELU_TANH


def _exponential_unit(scale: float, alpha: float, rate: float) -> Smooth:
    """scale x above 0, scale alpha (exp(rate x) - 1) below."""
    below = Piece(
        -math.inf,
        0.0,
        "convex",
        lambda x: scale * alpha * torch.expm1(rate * x),
        lambda x: scale * alpha * rate * torch.exp(rate * x),
    )
    above = Piece(0.0, math.inf, "convex", lambda x: scale * x, lambda x: torch.full_like(x, scale))
    return Smooth(Curve((below, above)), 16, lambda x, result: result + scale * alpha)


def _elu(layer: Any) -> Smooth:
    return _exponential_unit(1.0, _given(layer, alpha=1.0)["alpha"], 1.0)


def _celu(layer: Any) -> Smooth:
    alpha = _given(layer, alpha=1.0)["alpha"]
    return _exponential_unit(1.0, alpha, 1 / alpha)


def _selu(layer: Any) -> Smooth:
    return _exponential_unit(SELU_SCALE, SELU_ALPHA, 1.0)


def _softplus(layer: Any) -> Smooth:
    """PyTorch goes over to the straight line at a threshold, with a small jump."""
    given = _given(layer, beta=1.0, threshold=20.0)
    beta, turn = given["beta"], given["threshold"] / given["beta"]
    below = Piece(
        -math.inf,
        turn * (1 + 2.0**-20),
        "convex",
        lambda x: functional.softplus(beta * x, threshold=math.inf) / beta,
        lambda x: torch.sigmoid(beta * x),
    )
    above = Piece(turn * (1 - 2.0**-20), math.inf, "convex", lambda x: x, torch.ones_like)
    return Smooth(Curve((below, above)), 16, lambda x, result: torch.maximum(result, x.magnitude) + 1 / beta)


def _log_sigmoid(layer: Any) -> Smooth:
    return Smooth(
        curve(functional.logsigmoid, lambda x: torch.sigmoid(-x), "n"), 16, lambda x, result: torch.maximum(result, x.magnitude) + 1
    )


def _power(call: Call) -> Smooth:
    return POWERS[options(call, exponent=None)["exponent"]]


def _refuses_power(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    exponent = options(call, exponent=None)["exponent"]
    known = isinstance(exponent, int | float) and exponent in POWERS
    return None if known else f"the exponent is {exponent!r}, expected one of {', '.join(map(str, POWERS))}"


def _refuses_parameters(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    softplus = isinstance(layer, nn.Softplus) or getattr(layer, "target", None) is functional.softplus
    defaults = {"beta": 1.0, "threshold": 20.0} if softplus else {"alpha": 1.0}
    given = _given(layer, **defaults)
    wrong = {name: given[name] for name in defaults if not 0 < given[name] < 1e6}
    return f"got {wrong}, expected positive numbers below 1e6" if wrong else None


_register_smooth((nn.Tanh, torch.tanh, "tanh"), _always(TANH), "theory: slopes and offsets")
_register_smooth((torch.erf, "erf", torch.special.erf), _always(ERF), "theory: slopes and offsets")
_register_smooth((torch.special.ndtr,), _always(NORMAL), "theory: noisy neurons, the firing probability under Gaussian noise")
_register_smooth((nn.GELU, functional.gelu), _gelu, "x Phi(x): f'' = phi(x) (2 - x^2); tanh form: its turns are found numerically")
_register_smooth((nn.SiLU, functional.silu), _always(SILU), "x sigmoid(x): f'' = 0 where x tanh(x / 2) = 2")
_register_smooth((nn.Hardswish, functional.hardswish), _always(HARD_SWISH), "x clip(x / 6 + 1 / 2, 0, 1)")
_register_smooth((nn.ELU, functional.elu), _elu, "alpha (exp(x) - 1) below 0, x above", _refuses_parameters)
_register_smooth((nn.CELU, functional.celu, torch.celu), _celu, "alpha (exp(x / alpha) - 1) below 0, x above", _refuses_parameters)
_register_smooth((nn.SELU, functional.selu, torch.selu), _selu, "ELU with fixed alpha and scale")
_register_smooth((nn.Softplus, functional.softplus), _softplus, "log(1 + exp(beta x)) / beta, x above a threshold", _refuses_parameters)
_register_smooth((nn.LogSigmoid, functional.logsigmoid), _log_sigmoid, "-log(1 + exp(-x))")
_register_smooth((torch.exp, "exp"), _always(EXP), "convex")
_register_smooth((torch.log, "log"), _always(LOG), "concave; only above 0")
_register_smooth((torch.sqrt, "sqrt"), _always(SQUARE_ROOT), "concave; only above 0")
_register_smooth((torch.rsqrt, "rsqrt"), _always(INVERSE_ROOT), "convex; only above 0")
_register_smooth((torch.reciprocal, "reciprocal"), _always(RECIPROCAL), "convex; only above 0")
_register_smooth((torch.square, "square"), _always(SQUARE), "convex")
_register_smooth((operator.pow, torch.pow, "pow"), _power, "convex or concave on either side of 0", _refuses_power)
