"""Current-based LIF neurons as a pure step: spikes charge a synaptic current, which charges the membrane."""

from __future__ import annotations

from torch import Tensor, nn

from neurocert.models.layers.lif import LIF
from neurocert.models.layers.readout import LeakyIntegrator
from neurocert.models.semantics import EulerLeak, FactorLeak, Spiking


class CubaLIF(nn.Module):
    """One step of a layer: I[t] = b I[t-1] + g x[t], then ``LIF`` under the current I[t].

    Args:
        semantics: of the membrane and its spikes.
        synapse: how the synaptic current decays between steps (retention b, gain g).
        surrogate: a key of ``SURROGATES``; used by gradients only.
    """

    def __init__(self, semantics: Spiking, synapse: FactorLeak | EulerLeak, surrogate: str = "sech-squared") -> None:
        super().__init__()
        self.synapse, self.membrane = LeakyIntegrator(synapse), LIF(semantics, surrogate)

    def forward(self, state: tuple[Tensor, Tensor] | None, drive: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Advances the layer by one step.

        Args:
            state: (synaptic current, carried potential) of the step before; None at the first step (both 0).
            drive: x[t], what arrives at the synapses.

        Returns:
            (state, spikes): all shaped as ``drive``.
        """
        before, carried = (None, None) if state is None else state
        current = self.synapse(before, drive)
        carried, spikes = self.membrane(carried, current)
        return (current, carried), spikes
