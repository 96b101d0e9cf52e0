"""PlasticFlex: a convolution and a max-pooling branch, mixed position by position by a learned mask."""

from __future__ import annotations

from typing import Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.errors import InputError
from neurocert.models.layers.step import Step
from neurocert.models.semantics import nearest_float32

MaskActivation = Literal["sigmoid", "hard-sigmoid", "binary", "hard-sigmoid-ste", "frozen"]
MASK_ACTIVATIONS: tuple[MaskActivation, ...] = ("sigmoid", "hard-sigmoid", "binary", "hard-sigmoid-ste", "frozen")
BINARY_MASKS: tuple[MaskActivation, ...] = ("binary", "hard-sigmoid-ste")
MaskLogits = Literal["threshold", "convolution"]
Mixing = Literal["mask", "maximum"]


class RoutingOptions(TypedDict, total=False):
    """How a PlasticFlex layer mixes its branches; see ``PlasticFlex``."""

    mask: MaskActivation
    logits: MaskLogits
    slope: float
    logits_norm: bool
    mixing: Mixing


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


def gate(mask: MaskActivation) -> nn.Module:
    """phi: logits -> mask values in [0, 1].

    | mask | forward | gradient |
    |---|---|---|
    | sigmoid | 1 / (1 + exp(-z)) | its own |
    | hard-sigmoid | clip(z/6 + 1/2, 0, 1) | its own |
    | binary | 1[z > 0] | straight through: 1 on abs(z) < 1/2 |
    | hard-sigmoid-ste | 1[clip(z/6 + 1/2, 0, 1) > 1/2], that is 1[z > 0] | straight through: the hard sigmoid's |

    Raises:
        InputError: an unknown mask, or a frozen one, which has no logits.
    """
    gates = {
        "sigmoid": nn.Sigmoid,
        "hard-sigmoid": nn.Hardsigmoid,
        "binary": lambda: Step(0.0, ">", "rectangle"),
        "hard-sigmoid-ste": lambda: Step(0.0, ">", "ramp"),
    }
    if mask not in gates:
        raise InputError(f"mask is {mask!r}, expected one of {', '.join(MASK_ACTIVATIONS)}")
    return gates[mask]()


class MaskRouting(nn.Module):
    """Y = M C + (1 - M) P with M = phi(k BN(P - theta)), one learned threshold theta per channel and position.

    phi is a ``gate`` and k its slope; the batch norm can be left out. A "frozen" mask is a stored constant of its own, the
    same for every input; it has neither thresholds nor logits.
    Source: Eq. 3.1 and 3.2 of the PlasticFlex thesis, with threshold logits; its Algorithm 3 for the frozen mask.

    Attributes:
        threshold: theta (C, H, W).
        stored: a frozen mask (C, H, W), NaN until it is set; no other mask has it.
    """

    activation: MaskActivation
    threshold: nn.Parameter
    stored: Tensor

    def __init__(
        self, channels: int, height: int, width: int, mask: MaskActivation, *, slope: float = 1.0, logits_norm: bool = True
    ) -> None:
        super().__init__()
        self.activation, self.slope = mask, require_slope(slope)
        self.norm: nn.BatchNorm2d | None = None
        if mask == "frozen":
            self.register_buffer("stored", torch.full((channels, height, width), torch.nan))
            return
        self.gate = gate(mask)
        self.threshold = nn.Parameter(torch.empty(channels, height, width))
        self.norm = nn.BatchNorm2d(channels) if logits_norm else None
        bound = (6.0 / (channels * height * width)) ** 0.5
        nn.init.uniform_(self.threshold, -bound, bound)

    def mask(self, pooled: Tensor) -> Tensor:
        """M for the aligned pooling branch ``pooled`` (B, C, H, W); in [0, 1], same shape.

        Raises:
            InputError: a frozen mask that was never stored.
        """
        if self.activation == "frozen":
            if bool(torch.isnan(self.stored).any()):
                raise InputError(
                    "the mask is frozen, but none is stored", "PlasticFlex.freeze(mask) stores one, or load the network's weights"
                )
            return self.stored.expand_as(pooled)
        logits = pooled - self.threshold
        return self.gate(_sloped(logits if self.norm is None else self.norm(logits), self.slope))

    def forward(self, convolved: Tensor, pooled: Tensor) -> Tensor:
        """Args: C and P, both (B, C, H, W). Returns: Y, same shape."""
        mask = self.mask(pooled)
        return mask * convolved + (1.0 - mask) * pooled

    def extra_repr(self) -> str:
        return f"mask {self.activation}"


class Mixture(nn.Module):
    """Y = M C + (1 - M) P for a mask that is computed elsewhere, Eq. 3.2 of the PlasticFlex thesis."""

    def forward(self, mask: Tensor, convolved: Tensor, pooled: Tensor) -> Tensor:
        """Args: M (B, C or 1, H, W), C and P (B, C, H, W). Returns: Y, shaped as C."""
        return mask * convolved + (1.0 - mask) * pooled


class LocalRouting(nn.Module):
    """Y = M C + (1 - M) P with M = phi(k BN(f(X))), f a 1x1 convolution of the layer's input to one logit per position.

    Source: Eq. 3.1 and 3.2 of the PlasticFlex thesis, whose mask (H, W) is shared by all channels.

    Args:
        in_channels: of X.
        stride: of the layer, so that f reads the centre of each window.
        mask, slope, logits_norm: see ``PlasticFlex``.
    """

    def __init__(self, in_channels: int, stride: int, mask: MaskActivation, *, slope: float = 1.0, logits_norm: bool = True) -> None:
        super().__init__()
        self.activation, self.slope = mask, require_slope(slope)
        self.logits = nn.Conv2d(in_channels, 1, 1, stride)
        self.norm = nn.BatchNorm2d(1) if logits_norm else None
        self.gate, self.mixture = gate(mask), Mixture()

    def mask(self, features: Tensor) -> Tensor:
        """M (B, 1, H', W') for the layer's input (B, in_channels, H, W)."""
        logits = self.logits(features)
        return self.gate(_sloped(logits if self.norm is None else self.norm(logits), self.slope))

    def forward(self, features: Tensor, convolved: Tensor, pooled: Tensor) -> Tensor:
        """Args: X, and C and P (B, C, H', W'). Returns: Y, shaped as C."""
        return self.mixture(self.mask(features), convolved, pooled)


class PlasticFlex(nn.Module):
    """The PlasticFlex layer: two branches with the same kernel, stride and padding, and a mask that mixes them.

    Source: PlasticFlex thesis, section 3.3, Algorithm 1.

    Args:
        in_channels, out_channels: of the layer; the pooling branch is aligned by ``ChannelAlignment``.
        input_size: (H, W) of the input; the mask's thresholds belong to output positions.
        kernel_size, stride, padding: of both branches.
        mask: the mask's activation, one of ``MASK_ACTIVATIONS``.
        logits: what the mask is made from: "threshold" compares the pooling branch with learned thresholds, a mask per
            channel and position (``MaskRouting``); "convolution" is a 1x1 convolution, a mask per position (``LocalRouting``).
        slope: multiplies the logits; positive.
        logits_norm: batch norm on the logits.
        mixing: "mask", or "maximum": Y = max(C, P), which has no mask of its own.

    Raises:
        InputError: sizes that do not fit together, or an option that is none of these.
    """

    routing: MaskRouting | LocalRouting | None

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
        logits: MaskLogits = "threshold",
        slope: float = 1.0,
        logits_norm: bool = True,
        mixing: Mixing = "mask",
    ) -> None:
        super().__init__()
        height, width = ((size + 2 * padding - kernel_size) // stride + 1 for size in input_size)
        if height < 1 or width < 1:
            raise InputError(
                f"a {kernel_size}x{kernel_size} window with stride {stride} does not fit an input of {input_size[0]}x{input_size[1]}"
            )
        _require_one_of("mask", mask, MASK_ACTIVATIONS)
        _require_one_of("logits", logits, ("threshold", "convolution"))
        _require_one_of("mixing", mixing, ("mask", "maximum"))
        self.output_size = (height, width)
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
        self.pooling = nn.MaxPool2d(kernel_size, stride, padding)
        self.alignment = ChannelAlignment(in_channels, out_channels)
        if mixing == "maximum":
            self.routing = None
        elif logits == "threshold" or mask == "frozen":
            self.routing = MaskRouting(out_channels, height, width, mask, slope=slope, logits_norm=logits_norm)
        else:
            _require_aligned(input_size, self.output_size, kernel_size, stride)
            self.routing = LocalRouting(in_channels, stride, mask, slope=slope, logits_norm=logits_norm)

    def branches(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """C and P, both (B, out_channels, H', W')."""
        return self.convolution(features), self.alignment(self.pooling(features))

    def forward(self, features: Tensor) -> Tensor:
        """Args: (B, in_channels, H, W). Returns: (B, out_channels, H', W')."""
        convolved, pooled = self.branches(features)
        if self.routing is None:
            return torch.maximum(convolved, pooled)
        if isinstance(self.routing, LocalRouting):
            return self.routing(features, convolved, pooled)
        return self.routing(convolved, pooled)

    def mask(self, features: Tensor) -> Tensor:
        """The routing mask M on ``features`` (B, out_channels, H', W'): what ``analysis.routing`` measures.

        Where the branches' maximum is taken, 1 where that is the convolution's.
        """
        convolved, pooled = self.branches(features)
        if self.routing is None:
            return (convolved > pooled).to(pooled.dtype)
        mask = self.routing.mask(features if isinstance(self.routing, LocalRouting) else pooled)
        return mask.expand_as(pooled)

    def freeze(self, mask: Tensor) -> None:
        """Stores 1[mask >= 1/2] and mixes by it from now on; thresholds and logits are dropped.

        Source: PlasticFlex thesis, Algorithm 3.

        Args:
            mask: (out_channels, H', W'), such as the mean mask over the training data.

        Raises:
            InputError: another shape, a value outside [0, 1], or a layer that takes the maximum.
        """
        shape = (self.convolution.out_channels, *self.output_size)
        if self.routing is None:
            raise InputError("the layer takes the maximum of its branches and has no mask to freeze")
        if tuple(mask.shape) != shape or not bool(((mask >= 0) & (mask <= 1)).all()):
            raise InputError(f"mask to freeze: got shape {tuple(mask.shape)}, expected {shape} with values in [0, 1]")
        weight = self.convolution.weight
        frozen = MaskRouting(*shape, "frozen").to(weight.device, weight.dtype).train(self.training)
        frozen.stored.copy_(mask >= 0.5)
        self.routing = frozen


def require_slope(slope: float) -> float:
    """The slope of a mask's logits, where it can be one.

    Raises:
        InputError: not positive or not finite.
    """
    if not 0.0 < slope < float("inf"):
        raise InputError(f"slope is {slope!r}, expected a positive number")
    return nearest_float32(slope)


def _sloped(logits: Tensor, slope: float) -> Tensor:
    return logits if slope == 1.0 else logits * slope


def _require_one_of(name: str, got: str, known: tuple[str, ...]) -> None:
    if got not in known:
        raise InputError(f"{name} is {got!r}, expected one of {', '.join(known)}")


def _require_aligned(input_size: tuple[int, int], output_size: tuple[int, int], kernel_size: int, stride: int) -> None:
    """A 1x1 convolution with the layer's stride must have the layer's output size."""
    if tuple((size - 1) // stride + 1 for size in input_size) != output_size:
        height, width = output_size
        raise InputError(
            f"1x1 logits with stride {stride} do not fit the {height}x{width} outputs of a {kernel_size}x{kernel_size} window",
            "pad by half the kernel, or use threshold logits",
        )
