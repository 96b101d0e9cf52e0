"""The vision transformer behind the spiking preprocessor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.models.layers.normalise import Normalise
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.networks.lenet import require_static
from neurocert.models.semantics import Semantics


class Encoder(nn.Module):
    """One layer: x + MSA(LN(x)), then x + FFN(LN(x)), with ReLU; Eq. (37)-(41) of the paper."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(width, feed_forward), nn.ReLU(), nn.Linear(feed_forward, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, width) to the same."""
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.feed_forward(self.second(x))


class VisionTransformer(Classifier):
    """Patches -> linear embedding, class token, positions -> encoders -> layer norm of the class token -> logits.

    28 x 28 with the defaults: 49 patches of 4 x 4, width 128, feed-forward 256. Class token and positions start N(0, 1).
    Source: "The Neuromorphic Supremacy", section 5.3, Eq. (36)-(43). Its depth and number of heads are lost: 6 and 8 are ours.

    Args:
        inputs, classes: see ``Classifier``; sides are multiples of ``patch``.
        semantics: static only.
        mean, std: normalisation per channel, in input units.
        patch: side of a patch.
        width: of an embedding, a multiple of ``heads``.
        depth: encoders; heads: of each; feed_forward: hidden units of each.
    """

    def __init__(
        self,
        inputs: InputSpace,
        semantics: Semantics,
        classes: tuple[str, ...],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        patch: int = 4,
        width: int = 128,
        depth: int = 6,
        heads: int = 8,
        feed_forward: int = 256,
    ) -> None:
        super().__init__(inputs, semantics, classes)
        require_static(semantics, "vit")
        channels, *sides = inputs.shape
        if any(side % patch for side in sides) or width % heads:
            message = f"vit: got images {sides[0]}x{sides[1]}, patch {patch}, width {width} and {heads} heads"
            raise InputError(f"{message}, expected sides that patches fill and a width that heads divide")
        tokens = 1 + (sides[0] // patch) * (sides[1] // patch)
        self.normalise = Normalise(mean, std)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, tokens, width))
        self.encoders = nn.Sequential(*(Encoder(width, heads, feed_forward) for _ in range(depth)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, len(classes))

    def embed(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, width): what the readout sees."""
        x = self.patches(self.normalise(image)).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.norm(self.encoders(x)[:, 0])

    def forward(self, image: Tensor) -> Tensor:
        """Args: (B, C, H, W) in input units. Returns: logits (B, classes)."""
        return self.readout(self.embed(image))
