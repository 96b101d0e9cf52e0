"""What training does about masks: a penalty that draws them to a target, and freezing them after an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neurocert.models.data.samples import Batches, in_order
from neurocert.models.errors import RecipeError
from neurocert.models.masks import flex_layers, mean_masks
from neurocert.models.training.objective import EVALUATION_BATCH, device_of
from neurocert.models.training.recipe import MasksSpec


def mask_penalty(masks: Sequence[Tensor], spec: MasksSpec | None) -> Tensor | float:
    """lambda times the mean over masks of the mean of (M - tau)^2, or of |M - tau| for "l1"; 0 without masks.

    Source: Eq. 3.5 of the PlasticFlex thesis, averaged over layers, time steps and samples. Its section 4.2.1 has an l1 penalty
    instead and does not say toward what; tau it is here too, for an l1 norm of M alone would cause the collapse that the
    penalty is there to prevent.
    """
    if spec is None or spec.weight == 0 or not masks:
        return 0.0
    distances = [mask - spec.target for mask in masks]
    each = [(distance.square() if spec.penalty == "squared" else distance.abs()).mean() for distance in distances]
    return spec.weight * torch.stack(each).mean()


def freeze_masks(network: nn.Module, samples: Batches) -> None:
    """Stores each layer's mean mask over ``samples``, binarised at 1/2; the network is left in evaluation mode.

    A mask depends on its input, a stored one cannot: the mean is what is binarised. Source: PlasticFlex thesis, Algorithm 3.
    """
    network.eval()
    device = device_of(network)
    means = mean_masks(network, (inputs.to(device) for inputs, _ in in_order(samples, EVALUATION_BATCH)))
    for name, layer in flex_layers(network).items():
        layer.freeze(means[name])


def require_masks(network: nn.Module, spec: MasksSpec | None) -> None:
    """Refuses to penalise or to freeze masks that a network does not have.

    Raises:
        RecipeError: a layer without a learned mask, or no PlasticFlex layer at all.
    """
    wanted = spec is not None and (spec.weight > 0 or spec.freeze_after is not None)
    layers = flex_layers(network)
    if wanted and (not layers or any(getattr(layer.routing, "gate", None) is None for layer in layers.values())):
        raise RecipeError("masks are to be penalised or frozen, but the network has layers without a learned mask", "leave [masks] out")
