"""Strict schemas of what is written about a network in files: shared by checkpoints and training recipes.

Sizes and step counts have upper limits, so that a file cannot ask for a network that no machine holds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails

from neurocert.models.semantics import ClipNeurons, EulerLeak, FactorLeak, Semantics, Spiking, StepNeurons

FORMAT_VERSION = 1


def _printable(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError(f"got {name!r}, expected printable characters and no blank at either end")
    return name


Number = Annotated[float, Field(ge=-1e30, le=1e30)]  # finite as a float32 too
Deviation = Annotated[float, Field(ge=1e-6, le=1e30)]
Size = Annotated[int, Field(ge=1, le=4096)]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Classes = Annotated[tuple[Name, ...], Field(min_length=2, max_length=10_000, strict=False)]


class Strict(BaseModel):
    """A frozen record: no unknown field, no conversion between types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FactorLeakSpec(Strict):
    """See ``FactorLeak``."""

    kind: Literal["factor"]
    decay: Annotated[float, Field(ge=0, le=1)]

    def value(self) -> FactorLeak:
        return FactorLeak(self.decay)


class EulerLeakSpec(Strict):
    """See ``EulerLeak``."""

    kind: Literal["euler"]
    dt: Annotated[float, Field(gt=0, le=1e30)]
    tau: Annotated[float, Field(gt=0, le=1e30)]

    def value(self) -> EulerLeak:
        return EulerLeak(self.dt, self.tau)


class ScheduleSpec(Strict):
    """What every network that runs in time says; see ``Spiking``."""

    time_steps: Annotated[int, Field(ge=1, le=1000)]
    encoding: Literal["direct", "latency", "rate"]
    readout: Literal["mean", "sum"]


class SpikingSpec(Strict):
    """See ``Spiking``; every field must be written."""

    threshold: Number
    comparison: Literal[">", ">="]
    reset: Literal["hard", "soft"]
    reset_value: Number
    reset_timing: Literal["in-step", "delayed"]
    leak: Annotated[FactorLeakSpec | EulerLeakSpec, Field(discriminator="kind")]
    time_steps: Annotated[int, Field(ge=1, le=1000)]
    encoding: Literal["direct", "latency", "rate"]
    readout: Literal["mean", "sum"]

    @model_validator(mode="after")
    def _consistent(self) -> SpikingSpec:
        self.value()
        return self

    def value(self) -> Spiking:
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "leak"}
        return Spiking(leak=self.leak.value(), **fields)


class StepNeuronsSpec(ScheduleSpec):
    """See ``StepNeurons``."""

    neuron: Literal["step"]
    threshold: Number
    comparison: Literal[">", ">="]

    def value(self) -> StepNeurons:
        return StepNeurons(self.threshold, self.comparison, self.time_steps, self.encoding, self.readout)


class ClipNeuronsSpec(ScheduleSpec):
    """See ``ClipNeurons``."""

    neuron: Literal["clip"]

    def value(self) -> ClipNeurons:
        return ClipNeurons(self.time_steps, self.encoding, self.readout)


def _neuron(value: Any) -> str | None:
    """Which kind a table is: what its field ``neuron`` says; leaky integrate-and-fire without that field."""
    given = value.get("neuron", "lif") if isinstance(value, dict) else getattr(value, "neuron", "lif")
    return f"<{given}>"


NeuronsSpec = Annotated[
    Annotated[SpikingSpec, Tag("<lif>")] | Annotated[StepNeuronsSpec, Tag("<step>")] | Annotated[ClipNeuronsSpec, Tag("<clip>")],
    Discriminator(_neuron, "neuron", 'neuron: expected "step" or "clip", or no such field for leaky integrate-and-fire neurons'),
]


class SemanticsSpec(Strict):
    """See ``Semantics``."""

    spiking: NeuronsSpec | None

    def value(self) -> Semantics:
        return Semantics(self.spiking.value() if self.spiking else None)


class ArchitectureSpec(Strict):
    """A name of ``registry.architectures()`` and the parameters that its builder takes."""

    name: Name
    parameters: dict[str, Any]


class InputsSpec(Strict):
    """See ``InputSpace``."""

    shape: Annotated[tuple[Size, Size, Size], Field(strict=False)]
    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> InputsSpec:
        if not self.low < self.high:
            raise ValueError(f"got low {self.low} and high {self.high}, expected low < high")
        return self


class NormalisationSpec(Strict):
    """Mean and standard deviation per channel, in input units."""

    mean: Annotated[tuple[Number, ...], Field(strict=False)]
    std: Annotated[tuple[Deviation, ...], Field(strict=False)]


class Source(Strict):
    """What something was made from: a name and the hash of its content."""

    name: Name
    sha256: Sha256


class Versions(Strict):
    """The packages that made a checkpoint."""

    torch: Name
    neurocert: Name


class Score(Strict):
    """``correct`` of ``n`` samples."""

    correct: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _at_most_all(self) -> Score:
        if self.correct > self.n:
            raise ValueError(f"got {self.correct} correct of {self.n}")
        return self


class Accuracy(Strict):
    """Clean accuracy of the stored network on each split."""

    train: Score
    validation: Score
    test: Score


class Provenance(Strict):
    """How a checkpoint came to be.

    Attributes:
        recipe: name, and hash of its canonical JSON (``Recipe.sha256``).
        data: name, and hash of the training split (``Samples.sha256``).
        seed: of initialisation, shuffling and noise.
        epochs: passes over the training split.
        best_epoch: the one whose weights are stored, from 1; chosen on the validation split.
    """

    recipe: Source
    data: Source
    seed: int
    epochs: Annotated[int, Field(ge=1)]
    best_epoch: Annotated[int, Field(ge=1)]
    versions: Versions
    accuracy: Accuracy


Curve = Annotated[tuple[float, ...], Field(strict=False)]
"""One value for each epoch."""


class LayerHistory(Strict):
    """How one PlasticFlex layer routed, epoch by epoch; see ``LayerRouting``."""

    layer: Name
    conv_ratio: Curve
    binariness: Curve


class History(Strict):
    """A training, epoch by epoch; shares are rounded to six digits.

    Attributes:
        loss: mean training loss, penalties included.
        train: clean accuracy in evaluation mode on the first training images, as many as there are for validation.
        validation, balanced: clean top-1 and balanced accuracy on the validation split.
        validation_loss: the objective's mean loss there.
        routing: of every PlasticFlex layer, on the first validation images.
    """

    loss: Curve
    train: Curve
    validation: Curve
    balanced: Curve
    validation_loss: Curve
    routing: Annotated[tuple[LayerHistory, ...], Field(strict=False)]


class CheckpointMetadata(Strict):
    """What a checkpoint file says about its network. No timestamps: the same training gives the same bytes.

    Attributes:
        history: how its training went; files of earlier releases have none.
    """

    format_version: Literal[1]
    architecture: ArchitectureSpec
    semantics: SemanticsSpec
    inputs: InputsSpec
    normalisation: NormalisationSpec
    classes: Classes
    provenance: Provenance
    tensors_sha256: Sha256
    history: History | None = None


def explain(error: ValidationError, most: int = 3) -> str:
    """A validation error as one line: where, what was expected, what was got; at most ``most`` places."""
    lines = [_explain_one(detail) for detail in error.errors(include_url=False)]
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "; ".join(lines[:most] + more)


def _explain_one(detail: ErrorDetails) -> str:
    path = [str(part) for part in detail["loc"] if not str(part).startswith("<")]  # a union's tags are in no file
    place = f"{'.'.join(path)}: " if path else ""
    if detail["type"] == "value_error":  # one of our own, which says what it got
        return place + detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{place}{detail['msg']}"
    got = repr(detail["input"])
    return f"{place}{detail['msg']}, got {got if len(got) <= 60 else got[:57] + '...'}"
