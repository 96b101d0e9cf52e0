"""Layers some of whose parameters are inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocert.models.layers.plastic_flex import MaskRouting

CONVOLUTIONS = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}
AFFINE = (nn.Linear, *CONVOLUTIONS, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Uncertain(nn.Module):
    """y = F(x, W) + b with F linear in x and in W: a layer whose weight, bias or both are inputs.

    Args:
        layer: a Linear, a convolution, or a batch norm, of which only the scale and shift are left: x is standardised already.
        names: which of "weight" and "bias" are inputs, in the order in which they follow x.
    """

    def __init__(self, layer: nn.Module, names: tuple[str, ...] = ("weight", "bias")) -> None:
        super().__init__()
        self.layer, self.names = layer, names

    def parameter(self, name: str) -> Tensor | None:
        """The layer's own weight or bias."""
        return getattr(self.layer, name)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """F(x, W), (B, *output shape)."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return functional.linear(x, weight)
        if isinstance(layer, tuple(CONVOLUTIONS)):
            convolution = CONVOLUTIONS[type(layer)]
            return convolution(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)  # type: ignore[arg-type]
        return x * weight.reshape(-1, *[1] * (x.dim() - 2))

    def shift(self, bias: Tensor, dimensions: int) -> Tensor:
        """A bias (..., C), to broadcast against outputs of so many dimensions without the batch."""
        return bias.reshape(*bias.shape, *[1] * (dimensions - 1)) if dimensions > 1 and not isinstance(self.layer, nn.Linear) else bias

    def forward(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Args: x (B, *shape), then the parameters ``names`` as the layer has them."""
        given = dict(zip(self.names, parameters, strict=True))
        weight, bias = (given.get(name, self.parameter(name)) for name in ("weight", "bias"))
        assert weight is not None
        result = self.product(x, weight)
        return result if bias is None else result + self.shift(bias, result.dim() - 1)


class UncertainRouting(nn.Module):
    """The routing of a PlasticFlex layer, whose thresholds, or scale and shift of the logits, are inputs.

    Args:
        layer: its mask is not frozen.
        names: which of "threshold", "norm.weight" and "norm.bias" are inputs, in the order in which they follow the branches.
    """

    def __init__(self, layer: MaskRouting, names: tuple[str, ...]) -> None:
        super().__init__()
        self.layer, self.names = layer, names

    def forward(self, convolved: Tensor, pooled: Tensor, *parameters: Tensor) -> Tensor:
        """Args: C and P, both (B, C, H, W), then the parameters ``names`` as the layer has them."""
        given = dict(zip(self.names, parameters, strict=True))
        return torch.func.functional_call(self.layer, given, (convolved, pooled))
