"""Leaky integrate-and-fire neurons as a pure step: (state, current) -> (state, spikes)."""

from __future__ import annotations

from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.surrogate import SURROGATES, spike
from neurocert.models.semantics import Comparison, Spiking, nearest_float32


class Fire(nn.Module):
    """Threshold, reset and leak: potential V -> (carried, spikes S).

    S = 1[V > theta] (or >=). ``carried`` is what the next step adds its input to, that is the potential after
    reset and leak, with retention a and hard target r:

    | reset | in-step | delayed |
    |---|---|---|
    | hard | a (V (1 - S) + r S) | a V (1 - S) + r S |
    | soft | a (V - theta S) | a V - theta S |

    Source: Eq. 3.6 of the PlasticFlex thesis for the spike; the reset and leak are the semantics' own.
    """

    def __init__(self, semantics: Spiking, surrogate: str) -> None:
        super().__init__()
        if surrogate not in SURROGATES:
            raise InputError(f"surrogate is {surrogate!r}, expected one of {', '.join(SURROGATES)}")
        self.surrogate = surrogate
        self.threshold = nearest_float32(semantics.threshold)
        self.comparison: Comparison = semantics.comparison
        self.retention = semantics.leak.retention
        self.hard = semantics.reset == "hard"
        amount = semantics.reset_value if self.hard else semantics.threshold
        scale = semantics.leak.retention if semantics.reset_timing == "in-step" else 1.0
        self.reset_amount = nearest_float32(scale * amount)

    def forward(self, potential: Tensor) -> tuple[Tensor, Tensor]:
        """Args: potential of any shape. Returns: (carried, spikes), both of that shape."""
        spikes = spike(potential, self.threshold, self.comparison, self.surrogate)
        leaked = potential * self.retention
        if self.hard:
            return leaked * (1.0 - spikes) + self.reset_amount * spikes, spikes
        return leaked - self.reset_amount * spikes, spikes

    def extra_repr(self) -> str:
        return f"V {self.comparison} {self.threshold:g}, {'hard' if self.hard else 'soft'} reset, retention {self.retention:g}"


class LIF(nn.Module):
    """One step of a layer of leaky integrate-and-fire neurons: V[t] = carried[t-1] + gain * I[t], then ``Fire``.

    Args:
        semantics: every choice that decides a spike.
        surrogate: a key of ``SURROGATES``; used by gradients only.
    """

    def __init__(self, semantics: Spiking, surrogate: str = "sech-squared") -> None:
        super().__init__()
        self.gain = semantics.leak.gain
        self.fire = Fire(semantics, surrogate)

    def forward(self, state: Tensor | None, current: Tensor) -> tuple[Tensor, Tensor]:
        """Advances the layer by one step.

        Args:
            state: carried potential of the step before; None at the first step (potential 0).
            current: input current, same shape.

        Returns:
            (state, spikes): the carried potential and the spikes (0 or 1), both shaped as ``current``.
        """
        drive = current if self.gain == 1.0 else current * self.gain
        potential = drive if state is None else state + drive
        carried, spikes = self.fire(potential)
        return carried, spikes
