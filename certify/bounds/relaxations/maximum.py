"""The maximum of several values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Maximum:
    """Planes below and above max_k x_k over a box.

    Below: max_k x_k >= x_j for any j, and so for any mean of them. Above: for weights w in [0, 1], the excess
    max_k x_k - w.x is greatest at a corner, where it is max_k ((1 - w_k) u_k + w_k l_k) - w.l. Weights
    w_k = max(0, u_k - t) / (u_k - l_k) level these terms at a threshold t between max_k l_k and max_k u_k, which is the
    constant bound.

    Attributes:
        lower, upper: (..., window) along the last axis.
    """

    lower: Tensor
    upper: Tensor

    def below(self, mix: Tensor | None = None) -> Tensor:
        """Weights (..., window) of sum 1: the element of greatest centre, leaning towards that of greatest upper (mix > 0) or lower
        bound (mix < 0)."""
        centre = self._one_hot((self.lower + self.upper) / 2)
        if mix is None:
            return centre
        up, down = mix.clamp(min=0.0)[..., None], mix.clamp(max=0.0).neg()[..., None]
        return (1.0 - up - down) * centre + up * self._one_hot(self.upper) + down * self._one_hot(self.lower)

    def above(self, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(weights (..., window), offset (...)): the threshold of ``SHARES`` whose plane is least at the centre, leaning towards
        max u (mix > 0) or max l (mix < 0); x_j itself where no other element can be greater."""
        threshold = self._threshold
        if mix is not None:
            up, down = mix.clamp(min=0.0)[..., None], mix.clamp(max=0.0).neg()[..., None]
            threshold = threshold + up * (self._ends[1] - threshold) - down * (threshold - self._ends[0])
        weights, offset = self._levelled(threshold)
        winner, certain = self._winner
        return torch.where(certain[..., None], winner, weights), torch.where(certain, 0.0, offset)

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor]:
        return self.lower.amax(-1, keepdim=True), self.upper.amax(-1, keepdim=True)

    @cached_property
    def _threshold(self) -> Tensor:
        least, greatest = self._ends
        candidates = torch.stack([least + share * (greatest - least) for share in SHARES])
        centre = (self.lower + self.upper) / 2
        heights = torch.stack([(weights * centre).sum(-1) + offset for weights, offset in map(self._levelled, candidates)])
        return candidates.gather(0, heights.argmin(0, keepdim=True)[..., None])[0]

    @cached_property
    def _winner(self) -> tuple[Tensor, Tensor]:
        """The element of greatest centre, and whether it is certainly the maximum."""
        first = self._one_hot((self.lower + self.upper) / 2)
        return first, (first * self.lower).sum(-1) >= self.upper.masked_fill(first > 0, -torch.inf).amax(-1)

    def _levelled(self, threshold: Tensor) -> tuple[Tensor, Tensor]:
        weights = ((self.upper - threshold).clamp(min=0.0) / (self.upper - self.lower).clamp(min=1e-300)).clamp(0.0, 1.0)
        return weights, ((1 - weights) * self.upper + weights * self.lower).amax(-1) - (weights * self.lower).sum(-1)

    def _one_hot(self, values: Tensor) -> Tensor:
        return torch.zeros_like(values).scatter_(-1, values.argmax(-1, keepdim=True), 1.0)
