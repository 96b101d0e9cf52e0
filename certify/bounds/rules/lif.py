"""Threshold, reset and leak of a LIF step (the integration before them is a sum)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.relaxations.spiking import spike_reset_envelope
from neurocert.certify.bounds.window import by_element
from neurocert.models.layers.lif import Fire


def _possible(layer: Fire, potential: Interval) -> tuple[Tensor, Tensor]:
    """(may stay silent, may fire), decided by the declared comparison."""
    if layer.comparison == ">":
        return potential.lower <= layer.threshold, potential.upper > layer.threshold
    return potential.lower < layer.threshold, potential.upper >= layer.threshold


def _interval(layer: Fire, inputs: Inputs) -> tuple[Box, ...]:
    (potential,) = inputs
    silent, fires = _possible(layer, potential)
    rest = (layer.retention * potential.lower, layer.retention * potential.upper.clamp(max=layer.threshold))
    after = _after_spike(layer, potential.lower.clamp(min=layer.threshold), potential.upper)
    lower = torch.minimum(torch.where(silent, rest[0], torch.inf), torch.where(fires, after[0], torch.inf))
    upper = torch.maximum(torch.where(silent, rest[1], -torch.inf), torch.where(fires, after[1], -torch.inf))
    return (lower, upper), ((~silent).to(lower.dtype), fires.to(lower.dtype))


def _after_spike(layer: Fire, lower: Tensor, upper: Tensor) -> Box:
    """Bounds of the carried potential when the neuron fires."""
    if layer.hard:
        target = torch.full_like(lower, layer.reset_amount)
        return target, target
    return layer.retention * lower - layer.reset_amount, layer.retention * upper - layer.reset_amount


@dataclass(frozen=True)
class SpikeStates:
    """What is known of a layer's spikes.

    Attributes:
        silent: (B, *shape), where a neuron may stay silent; it certainly fires elsewhere.
        columns: flat indices of the neurons that are undecided in some sample; the rest of the fields speak of these.
        undecided, lower, upper: (B, len(columns)).
    """

    silent: Tensor
    columns: Tensor
    undecided: Tensor
    lower: Tensor
    upper: Tensor


def _relax(layer: Fire, inputs: Inputs) -> SpikeStates:
    silent, fires = _possible(layer, inputs[0])
    undecided = (silent & fires).flatten(1)
    columns = undecided.any(0).nonzero()[:, 0]
    lower, upper = inputs[0].lower.flatten(1), inputs[0].upper.flatten(1)
    return SpikeStates(silent, columns, undecided[:, columns], lower[:, columns], upper[:, columns])


def _linear(layer: Fire, states: SpikeStates, coefficients: Coefficients, mix: Tensor | None = None) -> tuple[Coefficients, Tensor]:
    on_carried, on_spikes = coefficients
    pieces = _two_pieces(layer, on_carried, on_spikes)
    silent_slope, firing_slope, jump = pieces
    back = torch.where(states.silent, silent_slope, firing_slope)
    constant = dot(jump, (~states.silent).to(jump.dtype))
    if len(states.columns):
        few = [piece.flatten(2)[..., states.columns] for piece in pieces]
        lean = None if mix is None else mix.flatten(2)[..., states.columns]
        slope, offset = spike_reset_envelope(few[0], few[1], few[2], layer.threshold, states.lower, states.upper, lean)
        flat = back.flatten(2)
        back = flat.index_copy(2, states.columns, torch.where(states.undecided, slope, flat[..., states.columns])).reshape(back.shape)
        constant = constant + torch.where(states.undecided, offset, 0.0).sum(2)
    return (back,), constant


def _two_pieces(layer: Fire, on_carried: Tensor | None, on_spikes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """g(V) = A_h carried(V) + A_S spikes(V) as (slope when silent, slope when firing, constant when firing)."""
    given = on_carried if on_carried is not None else on_spikes
    assert given is not None
    carried = torch.zeros_like(given) if on_carried is None else on_carried
    spikes = torch.zeros_like(given) if on_spikes is None else on_spikes
    silent = carried * layer.retention
    if layer.hard:
        return silent, torch.zeros_like(silent), spikes + carried * layer.reset_amount
    return silent, silent, spikes - carried * layer.reset_amount


def _rounding(layer: Fire, inputs: Inputs) -> tuple[Rounding, ...]:
    magnitude = layer.retention * inputs[0].magnitude + abs(layer.reset_amount)
    return Rounding(3, magnitude), Rounding(0, torch.ones_like(magnitude))


def _refine(layer: Fire, inputs: Inputs) -> tuple[Tensor | None, ...]:
    silent, fires = _possible(layer, inputs[0])
    return (silent & fires,)


register(
    Rule(
        (Fire,),
        "A spike and the potential it leaves behind are one piecewise-linear function of the potential with a jump at the "
        "threshold; their weighted sum is bounded below by an edge of its lower convex hull. Neurons that certainly fire or "
        "certainly stay silent are exact. Ties are decided by the declared comparison.",
        "theory: deterministic spiking neurons, joint envelope",
        _interval,
        _relax,
        _linear,
        _rounding,
        refine=_refine,
        mixes=True,
        local=by_element,
    )
)
