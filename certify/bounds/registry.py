"""The table of rules: for each kind of layer, what each domain needs to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.call import Slot
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.window import Window
from neurocert.certify.errors import NeurocertError

Inputs = tuple[Interval, ...]
Coefficients = tuple[Tensor | None, ...]
DOMAINS = ("interval", "linear")


@dataclass(frozen=True)
class Rounding:
    """How the network's evaluation of one output rounds.

    Attributes:
        operations: roundings each element meets; 0 where the operation is exact.
        magnitude: (B, *shape), bounds every intermediate result of the element.
    """

    operations: int
    magnitude: Tensor


def _never(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    return None


@dataclass(frozen=True)
class Rule:
    """Everything the engine knows about a kind of layer. Pure functions; a layer's parameters are read, never changed.

    The traversals apply ``rounding`` themselves: the interval pass widens every output by it, the linear pass charges
    every coefficient by it, so no rule can forget. A rule computes in plain float64, and every intermediate result must
    be bounded by |coefficient| x magnitude on one of its outputs or inputs: that is what is charged.

    Attributes:
        layers: module classes, functions or method names; matched exactly, never by inheritance.
        statement: what is computed and why it is sound, in one or two sentences.
        source: equation or section.
        interval: (layer, input intervals) -> one box per output.
        relax: (layer, input intervals) -> whatever ``linear`` needs to know about them; computed once for each node.
        linear: (layer, relaxation, coefficients (R, B or 1, *shape) on each output or None) -> (coefficients on each
            input, constant (R, B or 1)), such that for all inputs in the intervals
            sum_k A_k . y_k >= sum_i A'_i . x_i + constant.
        rounding: (layer, input intervals) -> one ``Rounding`` per output.
        affine: the linear rule is an identity, so it holds without any bound on the inputs.
        loses: the interval rule forgets how the elements of its inputs depend on one another, so linear bounds of its
            outputs help; never true of a function of one element.
        mixes: ``linear`` takes a fourth argument, ``mix`` (R, B, *first output's shape) in [-1, 1] or None: 0 (and None) is
            its own choice of slopes, the rest leans them one way or the other; every value is sound.
        operands: the positions of the uncertain arguments in the calls that the rule speaks of, such as (0, 1) for a product
            of two values; None for all calls that no other rule of the same function speaks of.
        refine: (layer, input intervals) -> for each input, which elements' bounds the linear rule depends on (or None).
        local: (layer, a window of the outputs, input shapes) -> (the layer that computes it from what it sees of the inputs, the
            window that it sees, which may reach into the padding, where inputs count as 0), or None: it needs all of the inputs.
        refuses: (layer, input shapes, output shape, without the batch) -> why this very layer cannot be bounded, or None.
    """

    layers: tuple[type[nn.Module] | Callable[..., Any] | str, ...]
    statement: str
    source: str
    interval: Callable[[Any, Inputs], tuple[Box, ...]]
    relax: Callable[[Any, Inputs], Any]
    linear: Callable[..., tuple[Coefficients, Tensor]]
    rounding: Callable[[Any, Inputs], tuple[Rounding, ...]]
    affine: bool = False
    loses: bool = False
    mixes: bool = False
    operands: tuple[int, ...] | None = None
    refine: Callable[[Any, Inputs], tuple[Tensor | None, ...]] | None = None
    local: Callable[[Any, Window, tuple[torch.Size, ...]], tuple[Any, Window] | None] | None = None
    refuses: Callable[[Any, tuple[torch.Size, ...], torch.Size], str | None] = _never

    @property
    def domains(self) -> tuple[str, ...]:
        return DOMAINS


_RULES: dict[Any, Rule] = {}


def register(rule: Rule) -> Rule:
    """Adds a rule to the table.

    Raises:
        NeurocertError: one of its layers has a rule already.
    """
    keys = [layer if rule.operands is None else (layer, rule.operands) for layer in rule.layers]
    for layer, key in zip(rule.layers, keys, strict=True):
        if key in _RULES:
            raise NeurocertError(f"{layer_name(layer)} has a rule already", "remove one of the two")
    _RULES.update(dict.fromkeys(keys, rule))
    return rule


def rule_for(layer: Any) -> Rule | None:
    """The rule of a module (by its exact class) or of a ``Call`` (by its target, and which of its arguments are uncertain)."""
    _load()
    if isinstance(layer, nn.Module):
        return _RULES.get(type(layer))
    operands = tuple(index for index, argument in enumerate(layer.arguments) if isinstance(argument, Slot))
    return _RULES.get((layer.target, operands), _RULES.get(layer.target))


def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of registration."""
    _load()
    return tuple(dict.fromkeys(_RULES.values()))


def layer_name(layer: Any) -> str:
    """How a layer is called in messages and tables."""
    if isinstance(layer, str):
        return f"Tensor.{layer}"
    if isinstance(layer, nn.Module):
        return type(layer).__name__
    if hasattr(layer, "target"):
        return layer_name(layer.target)
    return getattr(layer, "__name__", str(layer))


def zero_constant(coefficients: Coefficients) -> Tensor:
    """The constant 0, shaped (R, B or 1) like the coefficients."""
    given = next(a for a in coefficients if a is not None)
    return torch.zeros(given.shape[:2], dtype=given.dtype, device=given.device)


def _load() -> None:
    import neurocert.certify.bounds.rules  # noqa: F401  (the rule files register themselves)
