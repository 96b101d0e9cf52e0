from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from neurocert.models.errors import InputError
from neurocert.models.semantics import ClipNeurons, EulerLeak, FactorLeak, Semantics, Spiking, StepNeurons

SPIKING = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean")


def test_no_choice_has_a_default() -> None:
    with pytest.raises(TypeError, match=f"missing {len(fields(Spiking))} required"):
        Spiking()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": float("inf")},
        {"threshold": float("nan")},
        {"comparison": "=="},
        {"reset": "none"},
        {"reset": "soft", "reset_value": 0.5},
        {"reset_timing": "later"},
        {"time_steps": 0},
        {"time_steps": 4.0},
        {"time_steps": True},
        {"encoding": "morse"},
        {"readout": "max"},
    ],
)
def test_refuses(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"semantics: .* expected"):
        replace(SPIKING, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_factor_leak_refuses(decay: float) -> None:
    with pytest.raises(InputError, match="decay"):
        FactorLeak(decay)


@pytest.mark.parametrize(("dt", "tau"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)])
def test_euler_leak_refuses(dt: float, tau: float) -> None:
    with pytest.raises(InputError, match=r"semantics: (dt|tau)"):
        EulerLeak(dt, tau)


def test_constants_are_float32() -> None:
    leak = EulerLeak(dt=0.1, tau=0.7)
    assert leak.gain == float(np.float32(0.1 / 0.7))
    assert leak.retention == float(np.float32(1 - 0.1 / 0.7))
    assert FactorLeak(0.9).retention == float(np.float32(0.9))


def test_every_choice_shows_in_the_description() -> None:
    changes = (
        {"threshold": 0.5},
        {"comparison": ">="},
        {"reset": "soft"},
        {"reset_value": 0.25},
        {"reset_timing": "delayed"},
        {"leak": FactorLeak(0.25)},
        {"leak": EulerLeak(0.5, 1.0)},
        {"leak": EulerLeak(0.25, 1.0)},
        {"time_steps": 5},
        {"encoding": "latency"},
        {"encoding": "rate"},
        {"readout": "sum"},
    )
    described = [Semantics(replace(SPIKING, **change)).describe() for change in changes]  # type: ignore[arg-type]
    assert len({*described, Semantics(SPIKING).describe(), Semantics(None).describe()}) == len(changes) + 2


def test_neurons_without_a_membrane_describe_themselves() -> None:
    step, clip = StepNeurons(0.5, ">=", 3, "rate", "sum"), ClipNeurons(10, "latency", "mean")
    assert Semantics(step).describe() == "steps without a membrane, spike iff input >= 0.5, T=3, rate encoding, sum readout"
    assert Semantics(clip).describe() == "continuous neurons clip(input, 0, 1), T=10, latency encoding, mean readout"


@pytest.mark.parametrize(
    "change", [{"threshold": float("nan")}, {"comparison": "<"}, {"time_steps": 0}, {"encoding": ""}, {"readout": "max"}]
)
def test_step_neurons_refuse(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"semantics: .* expected"):
        replace(StepNeurons(0.5, ">", 3, "rate", "sum"), **change)  # type: ignore[arg-type]


def test_clip_neurons_refuse() -> None:
    with pytest.raises(InputError, match="semantics: encoding is 'identity', expected one of direct, latency, rate"):
        ClipNeurons(10, "identity", "mean")  # type: ignore[arg-type]
