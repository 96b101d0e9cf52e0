"""PlasticFlex: a convolution and a max-pooling branch, mixed position by position by a learned mask."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.errors import InputError
from neurocert.models.layers.surrogate import spike

MaskActivation = Literal["sigmoid", "hard-sigmoid", "binary", "frozen"]
MASK_ACTIVATIONS: tuple[MaskActivation, ...] = ("sigmoid", "hard-sigmoid", "binary", "frozen")


class ChannelAlignment(nn.Module):
    """Linear interpolation along channels, from ``in_channels`` to ``out_channels``.

    Output channel j reads position (j + 1/2) in/out - 1/2, clamped to the ends, between its two neighbours; weights
    are nonnegative and each row sums to 1. The identity when the counts agree.
    """

    weight: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        position = (torch.arange(out_channels, dtype=torch.float64) + 0.5) * in_channels / out_channels - 0.5
        position = position.clamp(0, in_channels - 1)
        below = position.floor().long()
        above = (below + 1).clamp(max=in_channels - 1)
        fraction = (position - below).float()
        weight = torch.zeros(out_channels, in_channels)
        rows = torch.arange(out_channels)
        weight[rows, below] += 1 - fraction
        weight[rows, above] += fraction
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Args: (B, in_channels, H, W). Returns: (B, out_channels, H, W)."""
        if self.in_channels == self.out_channels:
            return features
        return functional.conv2d(features, self.weight[:, :, None, None])

    def extra_repr(self) -> str:
        return f"{self.in_channels} -> {self.out_channels}"


class MaskRouting(nn.Module):
    """Y = M C + (1 - M) P with M = phi(BN(P - theta)), one learned threshold theta per channel and position.

    phi is the sigmoid, the hard sigmoid clip(z/6 + 1/2, 0, 1), or, for "binary", 1[z > 0] (a straight-through estimate in
    training: the gradient is that of a ramp around 0). A "frozen" mask is a stored constant of its own, the same for every
    input; it has neither thresholds nor logits.
    Source: Eq. 3.1 and 3.2 of the PlasticFlex thesis, with threshold logits.

    Attributes:
        stored: a frozen mask (C, H, W), 1/2 until it is set; no other mask has it.
    """

    threshold: nn.Parameter
    norm: nn.BatchNorm2d
    stored: Tensor

    def __init__(self, channels: int, height: int, width: int, mask: MaskActivation) -> None:
        super().__init__()
        if mask not in MASK_ACTIVATIONS:
            raise InputError(f"mask is {mask!r}, expected one of {', '.join(MASK_ACTIVATIONS)}")
        self.activation = mask
        if mask == "frozen":
            self.register_buffer("stored", torch.full((channels, height, width), 0.5))
            return
        self.threshold = nn.Parameter(torch.empty(channels, height, width))
        self.norm = nn.BatchNorm2d(channels)
        bound = (6.0 / (channels * height * width)) ** 0.5
        nn.init.uniform_(self.threshold, -bound, bound)

    def mask(self, pooled: Tensor) -> Tensor:
        """M for the aligned pooling branch ``pooled`` (B, C, H, W); in [0, 1], same shape."""
        if self.activation == "frozen":
            return self.stored.expand_as(pooled)
        logits = self.norm(pooled - self.threshold)
        if self.activation == "binary":
            return spike(logits, 0.0, ">", "rectangle")
        return torch.sigmoid(logits) if self.activation == "sigmoid" else functional.hardsigmoid(logits)

    def forward(self, convolved: Tensor, pooled: Tensor) -> Tensor:
        """Args: C and P, both (B, C, H, W). Returns: Y, same shape."""
        mask = self.mask(pooled)
        return mask * convolved + (1.0 - mask) * pooled

    def extra_repr(self) -> str:
        return f"mask {self.activation}"


class PlasticFlex(nn.Module):
    """The PlasticFlex layer: two branches with the same kernel, stride and padding, and a mask that mixes them.

    Source: PlasticFlex thesis, section 3.3, Algorithm 1.

    Args:
        in_channels, out_channels: of the layer; the pooling branch is aligned by ``ChannelAlignment``.
        input_size: (H, W) of the input; the mask's thresholds belong to output positions.
        kernel_size, stride, padding: of both branches.
        mask: the mask's activation, one of ``MASK_ACTIVATIONS``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: tuple[int, int],
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        mask: MaskActivation = "hard-sigmoid",
    ) -> None:
        super().__init__()
        height, width = ((size + 2 * padding - kernel_size) // stride + 1 for size in input_size)
        if height < 1 or width < 1:
            raise InputError(
                f"a {kernel_size}x{kernel_size} window with stride {stride} does not fit an input of {input_size[0]}x{input_size[1]}"
            )
        self.output_size = (height, width)
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
        self.pooling = nn.MaxPool2d(kernel_size, stride, padding)
        self.alignment = ChannelAlignment(in_channels, out_channels)
        self.routing = MaskRouting(out_channels, height, width, mask)

    def forward(self, features: Tensor) -> Tensor:
        """Args: (B, in_channels, H, W). Returns: (B, out_channels, H', W')."""
        return self.routing(self.convolution(features), self.alignment(self.pooling(features)))

    def mask(self, features: Tensor) -> Tensor:
        """The routing mask M on ``features``: what ``analysis.routing`` measures."""
        return self.routing.mask(self.alignment(self.pooling(features)))
