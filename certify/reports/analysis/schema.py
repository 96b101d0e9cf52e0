"""The analysis as data: what ``analysis.json`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neurocert.certify.reports.curves import Curve
from neurocert.certify.reports.documents import SCHEMA_VERSION, parse
from neurocert.certify.reports.parts import Attack, Count, Data, Environment, Network, Radius, Routing, Seconds, Share, Text, Unit
from neurocert.models.schema import Strict

STEM = "analysis"
Positive = Annotated[float, Field(gt=0)]
Steps = Annotated[int, Field(ge=1)]

FIGURES: dict[str, tuple[str, ...]] = {
    "training": ("training-loss", "training-accuracy"),
    "attacks": ("attack-curves", "attack-auc"),
    "landscape": ("landscape-surface", "landscape-contour", "landscape-eigenvectors"),
    "hessian": ("spectral-density",),
    "routing": ("binariness", "conv-ratio", "routing-trend", "routing-correlation"),
    "spiking": ("firing-rates", "rasters", "first-layer-raster", "temporal-sparsity"),
}
"""The figures of each section, in the page's order."""


class Absent(Strict):
    """A section, or a part of one, that does not apply to this network, and why."""

    absent: Text


class Track(Strict):
    """How one PlasticFlex layer routed, epoch by epoch."""

    layer: Text
    conv_ratio: tuple[Unit, ...]
    binariness: tuple[Unit, ...]


class Training(Strict):
    """The training's history, one value for each epoch.

    Attributes:
        loss: mean training loss, penalties included.
        train, validation: accuracy on the two splits; ``balanced`` the mean recall of the classes on the second.
        validation_loss: the objective's mean loss there.
    """

    loss: Annotated[tuple[float, ...], Field(min_length=1)]
    train: tuple[Unit, ...]
    validation: tuple[Unit, ...]
    balanced: tuple[Unit, ...]
    validation_loss: tuple[float, ...]
    routing: tuple[Track, ...]

    @model_validator(mode="after")
    def _as_many_epochs(self) -> Training:
        curves = [self.train, self.validation, self.balanced, self.validation_loss]
        curves += [curve for track in self.routing for curve in (track.conv_ratio, track.binariness)]
        if {len(curve) for curve in curves} != {len(self.loss)}:
            raise ValueError(f"curves of {sorted({len(curve) for curve in curves})} epochs, expected {len(self.loss)}")
        return self


class Attacks(Strict):
    """Accuracy under attack over the radii of one norm.

    Attributes:
        curves: one for each attack, the last for all together.
        masking: signs that gradients mislead the attacks that go by them.
    """

    norm: Text
    epsilons: Annotated[tuple[Radius, ...], Field(min_length=2)]
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1)]
    curves: Annotated[tuple[Curve, ...], Field(min_length=1)]
    masking: tuple[Text, ...]

    @model_validator(mode="after")
    def _one_value_per_radius(self) -> Attacks:
        for curve in self.curves:
            if len(curve.unbroken) != len(self.epsilons):
                raise ValueError(f"{curve.attack}: {len(curve.unbroken)} values at {len(self.epsilons)} radii")
        return self


class Plane(Strict):
    """See ``Landscape``: losses[j][i] belongs to steps[i] along the first direction and steps[j] along the second."""

    steps: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    centre: float
    mean_rise: float
    cosine: float

    @model_validator(mode="after")
    def _square(self) -> Plane:
        if {len(self.losses), *map(len, self.losses)} != {len(self.steps)}:
            raise ValueError(f"losses are not {len(self.steps)} by {len(self.steps)}")
        return self


class Landscapes(Strict):
    """Cross-entropy around the weights, on two planes.

    Attributes:
        random: two filter-normalised random directions.
        eigenvectors: the Hessian's two largest, as long as those.
    """

    random: Plane
    eigenvectors: Plane | Absent


class Extreme(Strict):
    """See ``Eigenvalue`` of ``neurocert.analysis.spectrum``."""

    value: float
    residual: Radius
    deviation: Radius
    converged: bool


class Trace(Strict):
    """Hutchinson's estimate over ``n`` probes."""

    mean: float
    standard_error: Radius
    n: Annotated[int, Field(ge=2)]


class Spectrum(Strict):
    """The Hessian of the mean cross-entropy in the weights.

    Attributes:
        derivative: which one was taken.
        parameters: its dimension.
        loss: at the weights.
        steps, runs: of Lanczos.
        top: largest eigenvalues, descending.
        least: the least one.
        grid, density, deviations: the spectral density, and its standard deviation over the runs.
        width: of the Gaussian that smooths it.
    """

    derivative: Text
    parameters: Steps
    loss: float
    steps: Steps
    runs: Steps
    top: Annotated[tuple[Extreme, ...], Field(min_length=1)]
    least: Extreme
    trace: Trace
    grid: tuple[float, ...]
    density: tuple[float, ...]
    deviations: tuple[float, ...]
    width: Positive


class Correlation(Strict):
    """Pearson's r of ``n`` pairs with its 95 % interval."""

    r: Annotated[float, Field(ge=-1, le=1)]
    lower: Annotated[float, Field(ge=-1, le=1)]
    upper: Annotated[float, Field(ge=-1, le=1)]
    n: Steps


class Masks(Strict):
    """How PlasticFlex layers route.

    Attributes:
        layers: averaged over the samples.
        conv_ratios, binarinesses: for each sample, averaged over the layers.
        correlation: of these two.
        over_epochs: of the layers' means, over the epochs of the training.
    """

    layers: Annotated[tuple[Routing, ...], Field(min_length=1)]
    conv_ratios: tuple[Unit, ...]
    binarinesses: tuple[Unit, ...]
    correlation: Correlation | Absent
    over_epochs: Correlation | Absent


class Layer(Strict):
    """See ``Activity`` of ``neurocert.analysis.spiking``; a clip's output counts as that many spikes.

    Attributes:
        mean_rate: spikes per neuron and step.
        silent: share of neurons that no sample makes fire.
        rate_counts: histogram of the neurons' rates over equal bins of [0, 1].
        raster_neurons: those that the raster shows, evenly spaced over the layer.
        raster: (step, position in ``raster_neurons``) of each activity on the first sample.
    """

    layer: Text
    neurons: Steps
    mean_rate: Unit
    silent: Unit
    rate_counts: tuple[Count, ...]
    active_ratios: Annotated[tuple[Unit, ...], Field(min_length=1)]
    raster_neurons: tuple[Count, ...]
    raster: tuple[tuple[Count, Count], ...]


class Spikes(Strict):
    """What the spiking layers do; ``active_ratios`` are those of all neurons together, for each step."""

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    active_ratios: tuple[Unit, ...]


class Analysis(Strict):
    """Everything that one analysis found out about one network. A section that was not asked for is None.

    Attributes:
        samples: indices in the data set.
        clean: samples decided rightly without any change.
        figures: names of those that were asked for.
    """

    network: Network
    data: Data
    samples: Annotated[tuple[Count, ...], Field(min_length=1)]
    clean: Share
    training: Training | Absent | None
    attacks: Attacks | Absent | None
    landscape: Landscapes | Absent | None
    hessian: Spectrum | Absent | None
    routing: Masks | Absent | None
    spiking: Spikes | Absent | None
    figures: tuple[Text, ...]
    seed: Count
    environment: Environment
    seconds: Seconds
    command: Text


class Document(Strict):
    """One file: the analyses of one run, one for each network."""

    schema_version: Literal[1]
    analyses: Annotated[tuple[Analysis, ...], Field(min_length=1)]


def to_json(analyses: Sequence[Analysis]) -> str:
    """One JSON document, without NaN or infinity, that ``from_json`` reads back as equal values."""
    return Document(schema_version=SCHEMA_VERSION, analyses=tuple(analyses)).model_dump_json()


def from_json(text: str | bytes) -> tuple[Analysis, ...]:
    """The analyses of one document.

    Raises:
        InputError: not JSON, of another schema version, or not an analysis.
    """
    return parse(Document, text, STEM).analyses
