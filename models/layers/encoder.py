"""Encoders: an image with values in [0, 1] becomes one image of spikes for each time step."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.step import Step
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.semantics import Encoding


class LatencyEncoder(nn.Module):
    """Of each element one spike, the earlier the larger it is: x in [k / T, (k + 1) / T) spikes at step T - k, counted from 0.

    So x = 1 spikes at step 0, and x < 1 / T never. With a_t = 1[x >= (T - t) / T], step t presents a_t - a_(t - 1).

    Args:
        time_steps: T.
    """

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        self.reached = nn.ModuleList(Step((time_steps - step) / time_steps, ">=", "rectangle") for step in range(time_steps))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Args: (B, *shape). Returns: T tensors of that shape."""
        reached = [step(image) for step in self.reached]
        return [reached[0], *(now - before for before, now in pairwise(reached))]


class RateEncoder(nn.Module):
    """A spike with probability x at each step: 1[x > u_t], u_t uniform on [0, 1) for each element and step.

    The numbers u_t are stored with the network, so that what is evaluated, attacked and certified is one function;
    ``redraw`` makes another member of the family. In training they are drawn anew at each call.

    Args:
        time_steps: T.
        shape: (C, H, W) of an input.
    """

    def __init__(self, time_steps: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.spikes = nn.ModuleList(Step(torch.zeros(shape), ">", "rectangle") for _ in range(time_steps))
        self.redraw()

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draws all thresholds anew; an attack in expectation over the noise calls it between its steps."""
        for step in self.spikes:
            drawn = torch.rand(step.threshold.shape, generator=generator)  # type: ignore[arg-type]
            step.threshold = drawn.to(step.threshold)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Args: (B, *shape). Returns: T tensors of that shape."""
        if self.training:
            self.redraw()
        return [step(image) for step in self.spikes]


def encoder(encoding: Encoding, time_steps: int, inputs: InputSpace) -> LatencyEncoder | RateEncoder | None:
    """The encoder of that name; None for "direct", which presents the input itself.

    Raises:
        InputError: inputs that may lie outside [0, 1], where there is neither a latency nor a rate.
    """
    if encoding == "direct":
        return None
    if inputs.low < 0.0 or inputs.high > 1.0:
        raise InputError(
            f"{encoding} encoding needs inputs in [0, 1], got the range [{inputs.low:g}, {inputs.high:g}]",
            "scale the inputs to [0, 1], or use direct encoding",
        )
    return LatencyEncoder(time_steps) if encoding == "latency" else RateEncoder(time_steps, inputs.shape)
