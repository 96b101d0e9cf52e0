"""A neuron without a membrane: it fires where its input exceeds a threshold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.surrogate import SURROGATES, spike
from neurocert.models.semantics import Comparison, nearest_float32


class Step(nn.Module):
    """S = 1[x > threshold] (or >=), element by element, without memory.

    Args:
        threshold: a number, or one for each element of an input (*shape), which is then stored with the network.
        comparison: ">" or ">="; an input exactly at the threshold decides.
        surrogate: a key of ``SURROGATES``; used by gradients only.
    """

    threshold: Tensor

    def __init__(self, threshold: float | Tensor, comparison: Comparison = ">", surrogate: str = "sech-squared") -> None:
        super().__init__()
        if surrogate not in SURROGATES:
            raise InputError(f"surrogate is {surrogate!r}, expected one of {', '.join(SURROGATES)}")
        if comparison not in (">", ">="):
            raise InputError(f"comparison is {comparison!r}, expected '>' or '>='")
        self.comparison: Comparison = comparison
        self.surrogate = surrogate
        number = not isinstance(threshold, Tensor)
        value = torch.tensor(nearest_float32(threshold)) if number else threshold
        self.register_buffer("threshold", value, persistent=not number)

    def forward(self, signal: Tensor) -> Tensor:
        """Args: (B, *shape). Returns: zeros and ones of that shape."""
        return spike(signal, self.threshold, self.comparison, self.surrogate)

    def extra_repr(self) -> str:
        return f"x {self.comparison} {self.threshold.item():g}" if self.threshold.dim() == 0 else f"x {self.comparison} thresholds"
