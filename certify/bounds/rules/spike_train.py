"""A spiking layer under a constant current: one node for all of its steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.arithmetic import own_radius
from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.spike_train import Pieces, patterns, pieces, step_envelope
from neurocert.certify.bounds.spike_train import SpikeTrain
from neurocert.certify.bounds.window import by_element


@dataclass(frozen=True)
class Trains:
    """What is known of a layer's spike trains.

    Attributes:
        decided: (T, B, *shape), the spikes where only one train is possible, 0 elsewhere.
        columns: flat indices of the neurons with several possible trains in some sample; the rest speaks of these.
        pieces: (K, B, len(columns)).
        lower, upper, undecided: (B, len(columns)).
    """

    decided: Tensor
    columns: Tensor
    pieces: Pieces
    lower: Tensor
    upper: Tensor
    undecided: Tensor


def _pieces(layer: SpikeTrain, current: Interval) -> Pieces:
    found = patterns(layer.fire, layer.steps, layer.error(float(current.magnitude.max())))
    return pieces(found, current.lower.flatten(1), current.upper.flatten(1))


def _interval(layer: SpikeTrain, inputs: Inputs) -> tuple[Box, ...]:
    found, shape = _pieces(layer, inputs[0]), inputs[0].lower.shape
    boxes = []
    for step in range(layer.steps):
        silent = found.possible & (found.least[:, step] == 0)[:, None, None]
        fires = found.possible & (found.most[:, step] == 1)[:, None, None]
        boxes.append(((~silent.any(0)).double().reshape(shape), fires.any(0).double().reshape(shape)))
    return tuple(boxes)


def _undecided(found: Pieces) -> Tensor:
    """(B, n): several trains are possible."""
    blurred = (found.least != found.most).any(1)[:, None, None]
    return (found.possible.sum(0) > 1) | (found.possible & blurred).any(0)


def _relax(layer: SpikeTrain, inputs: Inputs) -> Trains:
    found, shape = _pieces(layer, inputs[0]), inputs[0].lower.shape
    undecided = _undecided(found)
    columns = undecided.any(0).nonzero()[:, 0]
    only = found.possible.double() * ~undecided
    decided = torch.einsum("kt,kbn->tbn", found.least, only).unflatten(2, shape[1:])
    lower, upper = (end.flatten(1)[:, columns] for end in (inputs[0].lower, inputs[0].upper))
    return Trains(decided, columns, found.of(columns), lower, upper, undecided[:, columns])


def _linear(layer: SpikeTrain, trains: Trains, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    given = next(a for a in coefficients if a is not None)
    batch = len(trains.lower)
    constant = given.new_zeros(given.shape[0], batch)
    for a, spikes in zip(coefficients, trains.decided, strict=True):
        constant = constant if a is None else constant + dot(a, spikes)
    back = given.new_zeros(given.shape[0], batch, given[0, 0].numel())
    if len(trains.columns):
        few = [None if a is None else a.flatten(2)[..., trains.columns] for a in coefficients]
        lean = None if mix is None else mix.flatten(2)[..., trains.columns]
        values = trains.pieces.values(few)
        slope, offset = step_envelope(values.expand(*values.shape[:2], batch, -1), trains.pieces, trains.lower, trains.upper, lean)
        for a in few:
            offset = offset if a is None else offset - own_radius(layer.steps + 8, a.abs())
        back = back.index_copy(2, trains.columns, torch.where(trains.undecided, slope, 0.0))
        constant = constant + torch.where(trains.undecided, offset, 0.0).sum(2)
    return (back.unflatten(2, given.shape[2:]),), constant


def _rounding(layer: SpikeTrain, inputs: Inputs) -> tuple[Rounding, ...]:
    return (Rounding(0, torch.ones_like(inputs[0].lower)),) * layer.steps


def _refine(layer: SpikeTrain, inputs: Inputs) -> tuple[Tensor | None, ...]:
    return (_undecided(_pieces(layer, inputs[0])).reshape(inputs[0].lower.shape),)


register(
    Rule(
        (SpikeTrain,),
        "Under a constant current the spike train is a step function of that one number: its break points are enumerated "
        "exactly (widened by what rounding can move them), and the weighted sum of all spikes is bounded below by an edge of "
        "its lower convex hull. Ties are decided by the declared comparison.",
        "theory: static-input collapse",
        _interval,
        _relax,
        _linear,
        _rounding,
        refine=_refine,
        mixes=True,
        local=by_element,
    )
)
