"""LIF neurons that hear each other's last spikes, as a pure step."""

from __future__ import annotations

from torch import Tensor, nn

from neurocert.models.layers.lif import LIF
from neurocert.models.semantics import Spiking


class RecurrentLIF(nn.Module):
    """One step of a layer: ``LIF`` under the current I[t] + W S[t-1].

    Args:
        units: neurons n of the layer; W is (n, n), without a bias.
        semantics: every choice that decides a spike.
        surrogate: a key of ``SURROGATES``; used by gradients only.
    """

    def __init__(self, units: int, semantics: Spiking, surrogate: str = "sech-squared") -> None:
        super().__init__()
        self.recurrent = nn.Linear(units, units, bias=False)
        self.neurons = LIF(semantics, surrogate)

    def forward(self, state: tuple[Tensor, Tensor] | None, current: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Advances the layer by one step.

        Args:
            state: (carried potential, spikes) of the step before; None at the first step (both 0).
            current: I[t], (B, units).

        Returns:
            (state, spikes).
        """
        carried, before = (None, None) if state is None else state
        total = current if before is None else current + self.recurrent(before)
        carried, spikes = self.neurons(carried, total)
        return (carried, spikes), spikes
