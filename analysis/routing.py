"""How a PlasticFlex network routes: how often a mask chooses the convolution, how decided it is, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurocert.models.layers.plastic_flex import PlasticFlex
from neurocert.models.masks import LayerRouting, at_each_call, binariness, conv_ratio, routing

__all__ = ["LayerRouting", "LayerSensitivity", "binariness", "conv_ratio", "mask_sensitivity", "routing", "sensitivity"]


@dataclass(frozen=True, eq=False)
class LayerSensitivity:
    """How much the output of one layer hangs on its mask: dY/dM = C - P.

    Attributes:
        layer: the layer's path in the network.
        scores: S_i = |C_i - P_i|, (B, C, H, W), averaged over the calls of one forward pass. Eq. 3.22 of the PlasticFlex thesis.
        mean: of all scores, Eq. 3.23.
        greatest: the largest of any call.
    """

    layer: str
    scores: Tensor
    mean: float
    greatest: float


def mask_sensitivity(layer: PlasticFlex, features: Tensor) -> Tensor:
    """S = |C - P| at each position of each sample. Source: Eq. 3.22 of the PlasticFlex thesis.

    Args:
        features: (B, in_channels, H, W), the layer's input.

    Returns:
        (B, out_channels, H', W').
    """
    convolved, pooled = layer.branches(features)
    return (convolved - pooled).abs()


def sensitivity(network: nn.Module, inputs: Tensor) -> tuple[LayerSensitivity, ...]:
    """The mask sensitivity of every PlasticFlex layer on ``inputs``; ``certify.sensitivity`` bounds it over sets of inputs.

    Args:
        network: in evaluation mode.
        inputs: (B, *shape), at least one sample.

    Raises:
        InputError: a layer in training mode, or no sample.
    """
    seen = at_each_call(network, inputs, mask_sensitivity)
    return tuple(_summary(name, torch.stack(scores)) for name, scores in seen.items())


def _summary(layer: str, scores: Tensor) -> LayerSensitivity:
    mean = scores.mean(0)
    return LayerSensitivity(layer, mean, float(mean.double().mean()), float(scores.max()))
