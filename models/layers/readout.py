"""A leaky integrator: a neuron that never fires, read out as a potential."""

from __future__ import annotations

from torch import Tensor, nn

from neurocert.models.semantics import EulerLeak, FactorLeak


class LeakyIntegrator(nn.Module):
    """One step: U[t] = a U[t-1] + g I[t], with the leak's retention a and gain g."""

    def __init__(self, leak: FactorLeak | EulerLeak) -> None:
        super().__init__()
        self.retention, self.gain = leak.retention, leak.gain

    def forward(self, state: Tensor | None, current: Tensor) -> Tensor:
        """Advances the layer by one step.

        Args:
            state: U of the step before; None at the first step (U = 0).
            current: I[t], same shape.

        Returns:
            U[t], which is also the next step's state.
        """
        drive = current if self.gain == 1.0 else current * self.gain
        return drive if state is None else state * self.retention + drive

    def extra_repr(self) -> str:
        return f"retention {self.retention:g}, gain {self.gain:g}"
