from __future__ import annotations

import math

import pytest
import torch

from neurocert.models.errors import InputError
from neurocert.models.layers.encoder import LatencyEncoder, RateEncoder, encoder
from neurocert.models.networks.classifier import InputSpace


@pytest.mark.parametrize("time_steps", [1, 4, 10])
def test_latency_is_one_spike_the_earlier_the_larger(time_steps: int) -> None:
    values = torch.tensor([0.0, 0.05, 0.25, 0.26, 0.5, 0.74, 0.99, 1.0])
    train = torch.stack(LatencyEncoder(time_steps)(values[None]))[:, 0]
    for value, spikes in zip(values.tolist(), train.T.tolist(), strict=True):
        reached = sum(value >= k / time_steps for k in range(1, time_steps + 1))
        expected = [float(step == time_steps - reached) for step in range(time_steps)]
        assert spikes == expected


def test_rate_is_the_comparison_with_stored_thresholds() -> None:
    torch.manual_seed(0)
    rate = RateEncoder(200, (2, 2)).eval()
    image = torch.tensor([[[0.0, 0.25], [0.8, 1.0]]])
    train = torch.stack(rate(image))[:, 0]
    thresholds = torch.stack([rate.state_dict()[f"spikes.{step}.threshold"] for step in range(200)])
    assert torch.equal(train, (image > thresholds).float())
    assert train[:, 0, 0].sum() == 0 and train[:, 1, 1].sum() == 200
    spread = 4 * math.sqrt(0.25 / 200)  # four standard deviations at most
    assert train.mean(0).flatten().tolist() == pytest.approx([0.0, 0.25, 0.8, 1.0], abs=spread)


def test_rate_is_one_function_until_it_is_redrawn_or_trained() -> None:
    rate, image = RateEncoder(6, (3, 3)).eval(), torch.full((1, 3, 3), 0.5)
    first = torch.stack(rate(image))
    assert torch.equal(torch.stack(rate(image)), first)
    rate.redraw(torch.Generator().manual_seed(1))
    redrawn = torch.stack(rate(image))
    assert not torch.equal(redrawn, first)
    rate.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(torch.stack(rate(image)), redrawn)
    rate.train()
    assert not torch.equal(torch.stack(rate(image)), torch.stack(rate(image)))


def test_encoders_by_name() -> None:
    inputs = InputSpace((1, 2, 2), 0.0, 1.0)
    assert encoder("direct", 3, inputs) is None
    assert isinstance(encoder("latency", 3, inputs), LatencyEncoder)
    assert isinstance(encoder("rate", 3, inputs), RateEncoder)


@pytest.mark.parametrize("encoding", ["latency", "rate"])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 255.0)])
def test_inputs_outside_the_unit_interval(encoding: str, low: float, high: float) -> None:
    with pytest.raises(InputError, match=rf"{encoding} encoding needs inputs in \[0, 1\], got the range \[{low:g}, {high:g}\]"):
        encoder(encoding, 3, InputSpace((1, 2, 2), low, high))  # type: ignore[arg-type]
