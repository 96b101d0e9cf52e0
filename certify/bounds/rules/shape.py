"""Operations that move elements and compute nothing: reshape, permute, slice, concatenate, pad, repeat."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate
from torch.nn import functional

from neurocert.certify.bounds.call import Call, apply, options
from neurocert.certify.bounds.interval import Box
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register, zero_constant

SAMPLES = 3
MESSAGE = "mixes samples or computes with the elements, expected elements to be moved within each sample"


@dataclass(frozen=True)
class Move:
    """Where the elements of one output come from.

    Attributes:
        source: (n,) index into the elements of all inputs, one after the other; 0 where the output is constant.
        moved: (n,) bool, False where the output is constant.
        constant: (n,), 0 where it is not constant.
        shape: of the output.
    """

    source: Tensor
    moved: Tensor
    constant: Tensor
    shape: torch.Size

    def take(self, elements: Tensor) -> Tensor:
        """(B, all inputs' elements) to (B, *shape)."""
        return torch.where(self.moved, elements[:, self.source], self.constant).reshape(len(elements), *self.shape)

    def give(self, a: Tensor, elements: int) -> Tensor:
        """Coefficients (R, B or 1, *shape) as coefficients (R, B or 1, elements) on all inputs."""
        flat = a.reshape(*a.shape[:2], -1) * self.moved
        return flat.new_zeros(*a.shape[:2], elements).index_add(2, self.source, flat)


@dataclass(frozen=True)
class Moves:
    """One ``Move`` for each output, and the shapes of the inputs."""

    outputs: tuple[Move, ...]
    shapes: tuple[torch.Size, ...]


def moves(layer: nn.Module | Call, shapes: Sequence[torch.Size]) -> Moves | None:
    """Runs the layer on numbered elements, twice and three samples at a time; None if it does more than move them.

    What differs by exactly the total between the runs is an element, what stays is a constant, and the sample's number
    must be where it was.
    """
    total = sum(shape.numel() for shape in shapes)
    first, second = (_outputs(layer, shapes, total, start) for start in (1, 1 + SAMPLES * total))
    found = [_move(one, other, total) for one, other in zip(first, second, strict=True)]
    return Moves(tuple(move for move in found if move), tuple(shapes)) if all(found) else None


def _outputs(layer: nn.Module | Call, shapes: Sequence[torch.Size], total: int, start: int) -> tuple[Tensor, ...]:
    numbers = torch.arange(start, start + SAMPLES * total, dtype=torch.float64).reshape(SAMPLES, total)
    parts = numbers.split([shape.numel() for shape in shapes], 1)
    result = apply(layer, *(part.reshape(SAMPLES, *shape) for part, shape in zip(parts, shapes, strict=True)))
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def _move(first: Tensor, second: Tensor, total: int) -> Move | None:
    if first.dim() == 0 or len(first) != SAMPLES or second.shape != first.shape or first.dtype != torch.float64:
        return None
    shape, first, second = first.shape[1:], first.flatten(1), second.flatten(1)
    moved = second - first == SAMPLES * total
    samples = torch.arange(SAMPLES)[:, None] * total
    source = torch.where(moved, first - 1 - samples, 0.0)
    constant = torch.where(moved, 0.0, first)
    alike = bool((source == source[0]).all()) and bool((constant == constant[0]).all()) and bool((moved == moved[0]).all())
    inside = bool(((source >= 0) & (source < total) & (source == source.round())).all())
    if not alike or not inside or not bool((moved | (first == second)).all()):
        return None
    return Move(source[0].long(), moved[0], constant[0], shape)


def _of(layer: Any, inputs: Inputs) -> Moves:
    found = moves(layer, [x.lower.shape[1:] for x in inputs])
    assert found is not None, "refused"
    return found


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in parts], 1)


def _interval(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    lower, upper = _joined([x.lower for x in inputs]), _joined([x.upper for x in inputs])
    return tuple((move.take(lower), move.take(upper)) for move in _of(layer, inputs).outputs)


def _linear(layer: Any, found: Moves, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    sizes = [shape.numel() for shape in found.shapes]
    back: Any = 0.0
    constant = zero_constant(coefficients)
    for move, a in zip(found.outputs, coefficients, strict=True):
        if a is not None:
            back = back + move.give(a, sum(sizes))
            constant = constant + (a.reshape(*a.shape[:2], -1) * move.constant).sum(2)
    parts = back.split(sizes, 2)
    return tuple(part.reshape(*part.shape[:2], *shape) for part, shape in zip(parts, found.shapes, strict=True)), constant


def _rounding(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
    """Moving is exact; a constant is rounded once unless it is a float32."""
    found, magnitude = _of(layer, inputs), _joined([x.magnitude for x in inputs])
    exact = all(bool((move.constant == move.constant.float()).all()) for move in found.outputs)
    return tuple(Rounding(0 if exact else 1, move.take(magnitude).abs()) for move in found.outputs)


def _refuses(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    try:
        found = moves(layer, inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        return f"works for some numbers of samples only ({str(error).splitlines()[0]})"
    if found is None:
        return MESSAGE
    finite = all(bool(torch.isfinite(move.constant).all()) for move in found.outputs)
    return None if finite else "fills with a value that is not finite"


def register_move(layers: tuple[Any, ...], *, loses: bool = False, refuses: Any = _refuses) -> None:
    """Registers layers that move elements; ``loses`` where one element may appear several times."""
    statement = "Elements are moved, not changed; constants may stand between them. Where each comes from is read off a run on numbers."
    register(Rule(layers, statement, "-", _interval, _of, _linear, _rounding, affine=True, loses=loses, refuses=refuses))


def _unchanged(layer: Any, inputs: Inputs) -> tuple[Box, ...]:
    return ((inputs[0].lower, inputs[0].upper),)


def _count(layer: Any, inputs: Inputs) -> int:
    return len(inputs)


def _same(layer: Any, count: int, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    return (*coefficients, *[None] * (count - 1)), zero_constant(coefficients)


def _exact(layer: Any, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, inputs[0].magnitude),)


def _refuses_conversion(call: Call, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    given: list[Any] = []
    map_aggregate((call.arguments[1:], call.keywords), given.append)  # type: ignore[arg-type]
    dtypes = [argument.dtype if isinstance(argument, Tensor) else argument for argument in given]
    wrong = [d for d in dtypes if isinstance(d, torch.dtype | str) and d not in (torch.float32, torch.float64)]
    return f"converts to {wrong[0]}, expected float32 or float64" if wrong else None


def _refuses_random(layer: Any, inputs: tuple[torch.Size, ...], output: torch.Size) -> str | None:
    dropout = isinstance(layer, Call) and layer.target is functional.dropout
    random = dropout and options(layer, p=0.5, training=True)["training"] is not False
    return "drops elements at random, expected training=False" if random else None


MOVING = (
    *(nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    *(torch.flatten, "flatten", torch.unflatten, "unflatten", torch.reshape, "reshape", "view", "view_as", "reshape_as"),
    *(torch.permute, "permute", torch.transpose, "transpose", torch.swapaxes, "swapaxes", torch.movedim, "movedim"),
    *(torch.squeeze, "squeeze", torch.unsqueeze, "unsqueeze", torch.flip, "flip", torch.roll, "roll"),
    *(getattr, operator.getitem, torch.select, "select", torch.narrow, "narrow", torch.index_select, "index_select"),
    *(torch.chunk, "chunk", torch.split, "split", torch.tensor_split, "tensor_split", torch.unbind, "unbind"),
    *(functional.pixel_shuffle, functional.pixel_unshuffle, functional.channel_shuffle),
    *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
)
REPEATING = (
    *(torch.cat, torch.concat, torch.concatenate, torch.stack, torch.hstack, torch.dstack),
    *("expand", "expand_as", "repeat", torch.tile, "tile", torch.repeat_interleave, "repeat_interleave", functional.pad),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d, nn.CircularPad1d, nn.CircularPad2d),
    *(nn.Unfold, functional.unfold, "unfold"),
)
UNCHANGED = (
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, functional.dropout),
    *("contiguous", "clone", torch.clone, "detach", torch.detach),
)
CONVERSIONS = ("float", "double", "to", "type_as")
CONVERSION = "Unchanged: spikes and masks become numbers."

register_move(MOVING)
register_move(REPEATING, loses=True)
for layers, statement, refuses in ((UNCHANGED, "Unchanged.", _refuses_random), (CONVERSIONS, CONVERSION, _refuses_conversion)):
    register(Rule(layers, statement, "-", _unchanged, _count, _same, _exact, affine=True, refuses=refuses))
