"""The Square attack: random search over squares of the image, by logits alone.

Source: Andriushchenko, Croce, Flammarion and Hein, "Square Attack: a query-efficient black-box adversarial attack via random
search", ECCV 2020, Algorithms 1 to 3; written from the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks.gradient import Attack, AttackResult, Sight, Worst, margins, spread
from neurocert.perturbations.balls import Ball, L2Ball

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of all queries after which the squares' area is halved."""
TILES = 5
"""Along each side of the image, to begin with in an L2 ball."""


@dataclass(frozen=True)
class Square(Attack):
    """Random squares, each kept where it does not raise the margin.

    In an L2 ball a square takes its length from another one and from what is unused; in any other set it goes to a corner
    of the set's box, channel by channel, and is projected. Inputs that are no images are one row.

    Attributes:
        queries: forward passes for each sample.
        area: of the first squares, as a share of the image.
    """

    queries: int = 1000
    area: float = 0.8
    name: ClassVar[str] = "square"
    sees: ClassVar[Sight] = "logits"

    def __post_init__(self) -> None:
        if self.queries < 1 or not 0 < self.area <= 1:
            raise InputError(f"Square: got queries {self.queries}, area {self.area}, expected queries >= 1 and 0 < area <= 1")

    def describe(self) -> str:
        return f"Square: random search over squares, {self.queries} queries, first area {self.area:g}; only logits are used"

    def search(self, network: nn.Module, inputs: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> AttackResult:
        worst = Worst(network, inputs, labels)
        start = (_tiles if isinstance(ball, L2Ball) else _stripes)(_images(inputs), ball, generator)
        points = _inside(start, inputs, ball)
        worst.offer(points)
        worst.offer(self.continue_from(points, torch.arange(len(inputs)), worst, inputs, ball, generator))
        return worst.result()

    def continue_from(
        self, points: Tensor, samples: Tensor, worst: Worst, inputs: Tensor, ball: Ball, generator: torch.Generator
    ) -> Tensor:
        """Searches from these points on. What is broken, from whichever point, is not searched further.

        Args:
            points: (P, *shape), each inside the set around the sample that ``samples`` (P,) names.
            worst, inputs: of all samples.

        Returns:
            Where each search ended, (P, *shape); ``worst`` knows of those that broke a decision, and of no other.
        """
        move, centres = _exchange if isinstance(ball, L2Ball) else _corner, inputs[samples]
        with torch.no_grad():
            here = margins(worst.network(points), worst.labels[samples])
        for query in range(1, self.queries):
            rows = ((here > 0) & (worst.margins[samples] > 0)).nonzero()[:, 0]
            if not len(rows):
                break
            window = self._window(query, _images(inputs).shape)
            moved = _inside(move(_images(points[rows]), _images(centres[rows]), ball, window, generator), centres[rows], ball)
            with torch.no_grad():
                found = margins(worst.network(moved), worst.labels[samples[rows]])
            better = found <= here[rows]
            here = here.index_copy(0, rows, torch.where(better, found, here[rows]))
            points = points.index_copy(0, rows, torch.where(spread(better, moved), moved, points[rows]))
            if bool((found <= 0).any()):
                worst.merge(samples[rows[found <= 0]], moved[found <= 0])
        return points

    def _window(self, query: int, shape: torch.Size) -> tuple[int, int]:
        """(height, width) of the squares at this query; as wide as their area asks where the image is low."""
        height, width = shape[2:]
        area = self.area / 2 ** sum(query > share * self.queries for share in HALVINGS) * height * width
        high = min(height, max(1, round(area**0.5)))
        return high, min(width, max(1, round(area / high)))


def _images(inputs: Tensor) -> Tensor:
    """(B, *shape) as (B, C, H, W)."""
    height = inputs.shape[-2] if inputs.dim() > 2 else 1
    return inputs.reshape(len(inputs), -1, height, inputs.shape[-1])


def _inside(images: Tensor, inputs: Tensor, ball: Ball) -> Tensor:
    return ball.project(images.reshape(inputs.shape), inputs)


def _stripes(centre: Tensor, ball: Ball, generator: torch.Generator) -> Tensor:
    """Every column of every channel at one end of the box."""
    lower, upper = ball.box(centre)
    samples, channels, _, width = centre.shape
    return torch.where(_coins((samples, channels, 1, width), generator), lower, upper)


def _corner(points: Tensor, centre: Tensor, ball: Ball, window: tuple[int, int], generator: torch.Generator) -> Tensor:
    """One window, channel by channel at one end of the box."""
    lower, upper = ball.box(centre)
    ends = torch.where(_coins((*points.shape[:2], 1, 1), generator), lower, upper)
    return torch.where(_placed(torch.ones(window), points, generator) > 0, ends, points)


def _tiles(centre: Tensor, ball: Ball, generator: torch.Generator) -> Tensor:
    """The image tiled by pyramids of random signs, of the ball's radius in length."""
    samples, channels, height, width = centre.shape
    side_h, side_w = (max(1, round(size / TILES)) for size in (height, width))
    down, across = -(-height // side_h), -(-width // side_w)
    signs = _signs((samples, channels, down, across), generator)
    move = torch.kron(signs, _pyramid(side_h, side_w))[..., :height, :width]
    return centre + move * spread(ball.epsilon / _length(move), move)


def _exchange(points: Tensor, centre: Tensor, ball: Ball, window: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Algorithm 3: one window takes the length of another, its own, and a share of what the ball leaves unused."""
    move = (points - centre).double()
    shape = _placed(_two_pyramids(*window, generator), points, generator)
    into, out_of = shape != 0, _placed(torch.ones(window), points, generator) > 0
    both = into | out_of
    unused = (ball.epsilon**2 - _length(move) ** 2).clamp(min=0.0) / points.shape[1]
    length = (_channel_length(move * both) ** 2 + spread(unused, move)).sqrt()
    old = move * into
    aim = _signs((*points.shape[:2], 1, 1), generator) * shape / _channel_length(shape) + old / _channel_length(old)
    return centre + torch.where(both, 0.0, move) + length * aim / _channel_length(aim)


def _pyramid(height: int, width: int) -> Tensor:
    """Eq. 2 of the paper: higher toward the middle, ring by ring; float64 (height, width), positive."""
    rings = height // 2
    rows, columns = (torch.arange(size) - size // 2 for size in (height, width))
    ring = (rings - torch.maximum(rows.abs()[:, None], columns.abs())).clamp(min=0)
    heights = torch.cumsum(1.0 / (rings + 1 - torch.arange(rings + 1, dtype=torch.float64)) ** 2, 0)
    return heights[ring]


def _two_pyramids(height: int, width: int, generator: torch.Generator) -> Tensor:
    """A pyramid beside its negative, or above it."""
    if width == 1 and height == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    upright = height > 1 and (width == 1 or bool(_coins((1,), generator)))
    high, wide = (width, height) if upright else (height, width)
    pair = torch.cat([_pyramid(high, wide // 2), -_pyramid(high, wide - wide // 2)], 1)
    return pair.T if upright else pair


def _placed(pattern: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    """The pattern at a random place of each sample, 0 around it: (B, 1, H, W)."""
    samples, _, height, width = like.shape
    down = torch.randint(0, height - len(pattern) + 1, (samples, 1), generator=generator)
    across = torch.randint(0, width - pattern.shape[1] + 1, (samples, 1), generator=generator)
    rows, columns = torch.arange(height) - down, torch.arange(width) - across
    covered = (rows >= 0)[:, :, None] & (rows < len(pattern))[:, :, None] & (columns >= 0)[:, None] & (columns < pattern.shape[1])[:, None]
    values = pattern[rows.clamp(0, len(pattern) - 1)[:, :, None], columns.clamp(0, pattern.shape[1] - 1)[:, None]]
    return torch.where(covered, values, 0.0)[:, None]


def _length(move: Tensor) -> Tensor:
    return move.flatten(1).norm(dim=1).clamp(min=1e-300)


def _channel_length(move: Tensor) -> Tensor:
    return move.norm(dim=(2, 3), keepdim=True).clamp(min=1e-300)


def _coins(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) < 0.5


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return _coins(shape, generator).double() * 2 - 1
