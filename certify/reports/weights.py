"""The weights of a witness: corners of a box of weights, stored as one sign for each weight."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError, NeurocertError
from neurocert.perturbations.weights import Weights, WeightSet


def pack(changed: Mapping[str, Tensor], weights: WeightSet, network: nn.Module) -> dict[str, str]:
    """By parameter, which weights lie above the network's own (one bit each), then which below, in base64.

    Raises:
        NeurocertError: weights that are no corner of the set, so that ``unpack`` would not give them back.
    """
    own = weights.parameters(network)
    moved = {name: changed[name].double() - value.detach().double() for name, value in own.items()}
    packed = {name: b64encode(_bits(move > 0) + _bits(move < 0)).decode() for name, move in moved.items() if bool(move.any())}
    again = unpack(packed, weights, network)
    if not all(torch.equal(again[name], changed[name]) for name in own):
        raise NeurocertError("a witness's weights are not at the ends of their ranges")
    return packed


def unpack(packed: Mapping[str, str], weights: WeightSet, network: nn.Module) -> Weights:
    """The weights again; those of parameters that ``packed`` does not name are the network's own.

    Raises:
        InputError: a parameter that is not among those that may change, or signs for another number of weights.
    """
    own = weights.parameters(network)
    if unknown := sorted(packed.keys() - own.keys()):
        raise InputError(f"witness: weights of {', '.join(unknown)}, expected of {', '.join(own)}")
    along = {name: _signs(packed[name], value) if name in packed else torch.zeros_like(value) for name, value in own.items()}
    return weights.corner(along, network)


def _bits(mask: Tensor) -> bytes:
    return np.packbits(mask.flatten().numpy()).tobytes()


def _signs(text: str, parameter: Tensor) -> Tensor:
    count, given = parameter.numel(), np.frombuffer(b64decode(text), dtype=np.uint8)
    if len(given) != 2 * ((count + 7) // 8):
        raise InputError(f"witness: {len(given)} bytes of signs, expected those of {count} weights")
    above, below = (np.unpackbits(half, count=count).astype(np.int8) for half in np.split(given, 2))
    return torch.from_numpy(above - below).reshape(parameter.shape)
