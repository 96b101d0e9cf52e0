"""Every kind of neuron survives its table, and an error names the field as the file does."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from neurocert.models.schema import SemanticsSpec, explain
from neurocert.models.semantics import ClipNeurons, FactorLeak, Semantics, Spiking, StepNeurons

SCHEDULE = {"time_steps": 10, "encoding": "rate", "readout": "mean"}
LIF = {"threshold": 1.0, "comparison": ">", "reset": "hard", "reset_value": 0.0, "reset_timing": "in-step"}
TABLES: dict[str, tuple[dict[str, Any] | None, Any]] = {
    "static": (None, None),
    "lif": (
        {**LIF, "leak": {"kind": "factor", "decay": 0.95}, **SCHEDULE},
        Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.95), 10, "rate", "mean"),
    ),
    "step": ({"neuron": "step", "threshold": 0.5, "comparison": ">=", **SCHEDULE}, StepNeurons(0.5, ">=", 10, "rate", "mean")),
    "clip": ({"neuron": "clip", **SCHEDULE}, ClipNeurons(10, "rate", "mean")),
}


@pytest.mark.parametrize("kind", TABLES)
def test_semantics_survive_their_table(kind: str) -> None:
    table, value = TABLES[kind]
    spec = SemanticsSpec.model_validate({"spiking": table})
    assert spec.value() == Semantics(value)
    assert SemanticsSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"neuron": "clip", **SCHEDULE, "time_steps": 0}, "spiking.time_steps: Input should be greater than or equal to 1, got 0"),
        ({"neuron": "step", **SCHEDULE, "comparison": ">"}, "spiking.threshold: Field required"),
        ({"neuron": "clip", "threshold": 1.0, **SCHEDULE}, "spiking.threshold: Extra inputs are not permitted, got 1.0"),
        ({"neuron": ["step"]}, 'spiking: neuron: expected "step" or "clip"'),
    ],
)
def test_errors_name_the_field(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        SemanticsSpec.model_validate({"spiking": table})
    assert explain(error.value).startswith(message)
