"""Linear bounds made tighter by gradient ascent on the slopes of their relaxations.

Every relaxation stays valid for every value of its mix (see ``Rule.mixes``), so each iterate is a sound bound, and the
best of them is returned: never worse than the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.backward import Mixes
from neurocert.certify.bounds.graph import Value
from neurocert.certify.bounds.propagation import Propagation
from neurocert.certify.errors import OutOfTime


@dataclass(frozen=True)
class Ascent:
    """How far to go.

    Attributes:
        steps: at most.
        rate: of Adam, in units of the mix, whose range is [-1, 1].
        decay: of the rate, per step.
        enough: bounds above this are not improved further.
    """

    steps: int = 30
    rate: float = 0.2
    decay: float = 0.95
    enough: float = 0.0


def optimised_lower(propagation: Propagation, value: Value, coefficients: Tensor, ascent: Ascent = Ascent()) -> Tensor:
    """A lower bound of ``coefficients . value``, each row and sample with slopes of its own.

    Stops early for what is proved: rows above ``ascent.enough`` are not improved further.

    Args:
        value, coefficients: as for ``Propagation.lower``, which gives the start.

    Returns:
        Float64 (R, B), rounded down.
    """
    best = propagation.lower(value, coefficients)
    rows = propagation.rows_at_once
    parts = zip(coefficients.split(rows), best.split(rows), strict=True)
    return torch.cat([_ascend(propagation, value, part, start, ascent) for part, start in parts])


def _ascend(propagation: Propagation, value: Value, coefficients: Tensor, best: Tensor, ascent: Ascent) -> Tensor:
    mixes = Mixes()
    propagation.backward(value, coefficients, mixes)  # makes them
    if not mixes.values:
        return best
    optimiser = torch.optim.Adam(mixes.values.values(), lr=ascent.rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, ascent.decay)
    for _ in range(ascent.steps):
        if bool((best > ascent.enough).all()):
            break
        try:
            with torch.enable_grad():
                bound = propagation.backward(value, coefficients, mixes)
        except OutOfTime:  # what was found until then holds
            break
        best = torch.fmax(best, bound.detach())
        if not bound.requires_grad:  # nothing is undecided
            break
        optimiser.zero_grad()
        bound.backward(-(best <= ascent.enough).to(bound.dtype))
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for mix in mixes.values.values():
                mix.nan_to_num_(0.0).clamp_(-1.0, 1.0)
    return best
