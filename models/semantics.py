"""What a network's file must say before two tools can agree which function it is.

Every choice that changes a spike is a field without a default, so nobody inherits one unknowingly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurocert.models.errors import InputError

Comparison = Literal[">", ">="]
Reset = Literal["hard", "soft"]
ResetTiming = Literal["in-step", "delayed"]
Encoding = Literal["direct", "latency", "rate"]
Readout = Literal["mean", "sum"]

ENCODINGS: dict[Encoding, str] = {
    "direct": "the same analogue input at every step (the thesis's identity encoder)",
    "latency": "of each element one spike, the earlier the larger it is; inputs in [0, 1]",
    "rate": "a spike with the element's value as its probability, against stored random thresholds; inputs in [0, 1]",
}


@dataclass(frozen=True)
class FactorLeak:
    """V[t] = decay * v[t-1] + I[t].

    Attributes:
        decay: dimensionless, in [0, 1].
    """

    decay: float

    def __post_init__(self) -> None:
        _require(0.0 <= self.decay <= 1.0, "decay", self.decay, "a number in [0, 1]")

    @property
    def retention(self) -> float:
        """What one step keeps of the carried potential, as the nearest float32."""
        return nearest_float32(self.decay)

    @property
    def gain(self) -> float:
        """What one step adds of the input current."""
        return 1.0


@dataclass(frozen=True)
class EulerLeak:
    """V[t] = v[t-1] + (dt / tau) * (I[t] - v[t-1]): forward Euler of tau dv/dt = I - v.

    Attributes:
        dt: step, in seconds.
        tau: membrane time constant, in seconds; at least dt.
    """

    dt: float
    tau: float

    def __post_init__(self) -> None:
        _require(math.isfinite(self.dt) and self.dt > 0, "dt", self.dt, "a positive number of seconds")
        _require(math.isfinite(self.tau) and self.tau >= self.dt, "tau", self.tau, f"a finite number of at least dt = {self.dt}")

    @property
    def retention(self) -> float:
        """What one step keeps of the carried potential, as the nearest float32."""
        return nearest_float32(1.0 - self.dt / self.tau)

    @property
    def gain(self) -> float:
        """What one step adds of the input current, as the nearest float32."""
        return nearest_float32(self.dt / self.tau)


@dataclass(frozen=True)
class Spiking:
    """The semantics of a leaky integrate-and-fire network.

    Attributes:
        threshold: firing threshold theta, in the unit of the membrane potential.
        comparison: a neuron fires when ``V comparison theta``; a potential exactly at the threshold decides.
        reset: "hard" sets the potential to ``reset_value``, "soft" subtracts ``threshold``.
        reset_value: target of a hard reset; 0.0 with a soft one.
        reset_timing: "in-step" resets before the next step's leak (the reset decays with the rest), "delayed" after it.
        leak: how the potential decays between steps.
        time_steps: number of steps T of one presentation.
        encoding: what is presented at each step; see ``ENCODINGS``.
        readout: how the T outputs become one ("mean" is Eq. 3.9 of the PlasticFlex thesis).
    """

    threshold: float
    comparison: Comparison
    reset: Reset
    reset_value: float
    reset_timing: ResetTiming
    leak: FactorLeak | EulerLeak
    time_steps: int
    encoding: Encoding
    readout: Readout

    def __post_init__(self) -> None:
        _require(math.isfinite(self.threshold), "threshold", self.threshold, "a finite number")
        _require(math.isfinite(self.reset_value), "reset_value", self.reset_value, "a finite number")
        _require(self.comparison in (">", ">="), "comparison", self.comparison, "'>' or '>='")
        _require(self.reset in ("hard", "soft"), "reset", self.reset, "'hard' or 'soft'")
        _require(self.reset == "hard" or self.reset_value == 0.0, "reset_value", self.reset_value, "0.0 with a soft reset")
        _require(self.reset_timing in ("in-step", "delayed"), "reset_timing", self.reset_timing, "'in-step' or 'delayed'")
        _require_schedule(self.time_steps, self.encoding, self.readout)

    def describe(self) -> str:
        """One line that tells this network from any other with the same weights."""
        leak = (
            f"decay {self.leak.decay:g}" if isinstance(self.leak, FactorLeak) else f"Euler dt {self.leak.dt:g} s, tau {self.leak.tau:g} s"
        )
        reset = f"hard reset to {self.reset_value:g}" if self.reset == "hard" else "soft reset"
        return f"LIF, spike iff V {self.comparison} {self.threshold:g}, {reset} ({self.reset_timing}), {leak}, {_describe_schedule(self)}"


@dataclass(frozen=True)
class StepNeurons:
    """The semantics of a network whose neurons fire where their input exceeds a threshold, and have no membrane.

    Attributes:
        threshold, comparison: a neuron fires when ``input comparison threshold``.
        time_steps, encoding, readout: see ``Spiking``; with "direct" encoding every step computes the same.
    """

    threshold: float
    comparison: Comparison
    time_steps: int
    encoding: Encoding
    readout: Readout

    def __post_init__(self) -> None:
        _require(math.isfinite(self.threshold), "threshold", self.threshold, "a finite number")
        _require(self.comparison in (">", ">="), "comparison", self.comparison, "'>' or '>='")
        _require_schedule(self.time_steps, self.encoding, self.readout)

    def describe(self) -> str:
        """One line that tells this network from any other with the same weights."""
        return f"steps without a membrane, spike iff input {self.comparison} {self.threshold:g}, {_describe_schedule(self)}"


@dataclass(frozen=True)
class ClipNeurons:
    """The semantics of a network of continuous neurons clip(input, 0, 1), without a membrane: Eq. 3.8 of the PlasticFlex thesis.

    Attributes:
        time_steps, encoding, readout: see ``Spiking``; with "direct" encoding every step computes the same.
    """

    time_steps: int
    encoding: Encoding
    readout: Readout

    def __post_init__(self) -> None:
        _require_schedule(self.time_steps, self.encoding, self.readout)

    def describe(self) -> str:
        """One line that tells this network from any other with the same weights."""
        return f"continuous neurons clip(input, 0, 1), {_describe_schedule(self)}"


@dataclass(frozen=True)
class Semantics:
    """What a network computes, beyond its weights.

    Attributes:
        spiking: the neuron model and its schedule, or None for a network of ReLUs and one pass.
    """

    spiking: Spiking | StepNeurons | ClipNeurons | None

    def describe(self) -> str:
        return "static network (one forward pass, no state)" if self.spiking is None else self.spiking.describe()


def nearest_float32(value: float) -> float:
    """The float32 nearest to ``value``, so that a float32 and a float64 copy of a network hold the same constant."""
    return float(np.float32(value))


def _require_schedule(time_steps: int, encoding: Encoding, readout: Readout) -> None:
    _require(type(time_steps) is int and time_steps >= 1, "time_steps", time_steps, "a whole number of at least 1")
    _require(encoding in ENCODINGS, "encoding", encoding, f"one of {', '.join(ENCODINGS)}")
    _require(readout in ("mean", "sum"), "readout", readout, "'mean' or 'sum'")


def _describe_schedule(neurons: Spiking | StepNeurons | ClipNeurons) -> str:
    return f"T={neurons.time_steps}, {neurons.encoding} encoding, {neurons.readout} readout"


def _require(holds: bool, field: str, got: object, expected: str) -> None:
    if not holds:
        raise InputError(f"semantics: {field} is {got!r}, expected {expected}")
