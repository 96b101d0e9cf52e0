"""A spiking layer under a constant current, all of its steps at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurocert.certify.bounds.arithmetic import Arithmetic
from neurocert.certify.bounds.relaxations.spike_train import EXACT, PotentialError
from neurocert.models.layers.lif import Fire


class SpikeTrain(nn.Module):
    """The spikes of T steps of ``fire`` from potential 0 under the same current at every step.

    Args:
        fire: the layer's neurons.
        steps: T.
        arithmetic: in which the network runs; rounding can move a break point.
    """

    def __init__(self, fire: Fire, steps: int, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.fire, self.steps, self.arithmetic = fire, steps, arithmetic

    def forward(self, current: Tensor) -> tuple[Tensor, ...]:
        """Args: current of any shape. Returns: T tensors of zeros and ones of that shape."""
        carried, spikes = self.fire(current)
        train = [spikes]
        for _ in range(self.steps - 1):
            carried, spikes = self.fire(carried + current)
            train.append(spikes)
        return tuple(train)

    def error(self, largest: float) -> PotentialError:
        """How rounding moves the computed potential, given the spikes before it.

        One step computes a V (1 - S) + r S or a V - r S, then adds the current: 3 roundings each at most. What is left by
        a hard reset to 0 is 0, to which the current is added exactly.

        Args:
            largest: bounds the absolute value of the currents.

        Raises:
            NumericalFailure: values that may overflow.
        """
        if self.arithmetic.unit == 0:
            return EXACT
        largest = 2.0 ** math.ceil(math.log2(max(largest, 2.0**-20)))  # few different values: what follows is remembered
        retention, amount = abs(self.fire.retention), abs(self.fire.reset_amount)
        size = carried = largest
        for _ in range(self.steps - 1):
            carried = (retention * size + amount) * (1 + 2.0**-20)
            size = (carried + largest) * (1 + 2.0**-20)
        reset = self._radius(amount + largest) if amount else 0.0
        return PotentialError(self._radius(carried) + self._radius(size), reset)

    def _radius(self, magnitude: float) -> float:
        return float(self.arithmetic.radius(3, torch.tensor(magnitude, dtype=torch.float64)))

    def extra_repr(self) -> str:
        return f"{self.steps} steps"
