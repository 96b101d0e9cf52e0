"""An affine layer whose weight and bias are inputs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Uncertain(nn.Module):
    """y = F(x, W) + b with F linear in x and in W: a layer whose weight and bias are inputs.

    Args:
        layer: a Linear, a Conv2d, or a batch norm, of which only the scale and shift are left: x is standardised already.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """F(x, W), (B, *output shape)."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return functional.linear(x, weight)
        if isinstance(layer, nn.Conv2d):
            return functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return x * weight.reshape(-1, *[1] * (x.dim() - 2))

    def shift(self, bias: Tensor, dimensions: int) -> Tensor:
        """A bias (..., C), to broadcast against outputs of so many dimensions without the batch."""
        return bias.reshape(*bias.shape, *[1] * (dimensions - 1)) if dimensions > 1 and not isinstance(self.layer, nn.Linear) else bias

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Args: x (B, *shape), weight and bias as the layer has them."""
        result = self.product(x, weight)
        return result + self.shift(bias, result.dim() - 1)
