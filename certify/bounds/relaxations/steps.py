"""Step functions of one variable."""

from __future__ import annotations

import torch
from torch import Tensor

from neurocert.certify.bounds.relaxations.lines import Lines, tightest


def step_lines(left: float, at: float, right: float, lower: Tensor, upper: Tensor) -> Lines:
    """Best lines for f(d) = left for d < 0, at for d = 0, right for d > 0, where lower <= 0 <= upper or all of one sign.

    f - slope d is straight on either side of 0, so its extremes lie at l, u, and at 0 from both sides: for any slope the
    offsets are exact. Slopes: 0, and those of the lines from the ends to the jump.
    """
    meets_zero = (lower <= 0) & (upper >= 0)
    rise = right - left
    to_left, to_right = rise / (-lower).clamp(min=1e-300), rise / upper.clamp(min=1e-300)
    tilted = [torch.where(meets_zero & (end.abs() > 1e-100), slope, 0.0) for end, slope in ((lower, to_left), (upper, to_right))]
    slopes = torch.stack([torch.zeros_like(lower), *tilted])
    gaps = torch.stack(
        [
            _seen(lower < 0, left - slopes * lower),
            _seen(upper > 0, right - slopes * upper),
            _seen(lower > 0, right - slopes * lower),
            _seen(upper < 0, left - slopes * upper),
            _seen(meets_zero & (lower < 0), torch.full_like(slopes, left)),
            _seen(meets_zero, torch.full_like(slopes, at)),
            _seen(meets_zero & (upper > 0), torch.full_like(slopes, right)),
        ]
    )
    return tightest(slopes, gaps.nan_to_num(torch.inf).amin(0), gaps.nan_to_num(-torch.inf).amax(0), lower, upper)


def _seen(where: Tensor, values: Tensor) -> Tensor:
    """Values that occur, NaN elsewhere."""
    return torch.where(where, values, torch.nan)
