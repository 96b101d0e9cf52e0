"""How images are presented to a network."""

from __future__ import annotations

from typing import NamedTuple


class Protocol(NamedTuple):
    """How images are presented; currents in mV of the input, durations in seconds.

    Attributes:
        training_current, training_pulse, training_period: a pulse for each image, and from one onset to the next.
        pause: from the last training pulse to the calcium map that is kept.
        test_current, test_pulse, window: one pulse, and how long spikes are counted from its onset.
    """

    training_current: float = 80.0
    training_pulse: float = 0.002
    training_period: float = 0.005
    pause: float = 0.65
    test_current: float = 8.0
    test_pulse: float = 0.02
    window: float = 0.03
