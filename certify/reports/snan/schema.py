"""The study of a hybrid as data: what ``snan.json`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neurocert.certify.reports.documents import SCHEMA_VERSION, parse
from neurocert.certify.reports.parts import Count, Data, Environment, Image, Network, Radius, Seconds, Share, Text, Unit, Verdict
from neurocert.models.schema import Strict

STEM = "snan"
Positive = Annotated[float, Field(gt=0)]


class Outcome(Strict):
    """The verdict on one sample in one L-infinity ball.

    Attributes:
        sample: its index in the data set.
        by: what proved it; None for what is not certified.
        undecided: pixels of the binary image that can change sides.
        runs: binary images that were classified.
        reason: why it is not certified.
        witness: an image of the ball that is classified otherwise; None unless falsified.
    """

    sample: Count
    epsilon: Radius
    verdict: Verdict
    by: Literal["invariance", "enumeration"] | None
    undecided: Count
    runs: Count
    reason: Text | None
    witness: Image | None

    @model_validator(mode="after")
    def _consistent(self) -> Outcome:
        if (self.by is None) == (self.verdict == "certified") or (self.witness is None) == (self.verdict == "falsified"):
            raise ValueError(f"sample {self.sample}: {self.verdict} by {self.by}, {'no' if self.witness is None else 'a'} witness")
        return self


class Summary(Strict):
    """All samples at one radius; ``by_invariance`` is the part of ``certified`` that needed no presentation."""

    epsilon: Radius
    certified: Share
    by_invariance: Share
    unknown: Share
    falsified: Share
    misclassified: Share


class Radii(Strict):
    """The invariance radius of each sample, in input units."""

    norm: Literal["linf", "l2"]
    values: Annotated[tuple[Radius, ...], Field(min_length=1)]


class SingleFlips(Strict):
    """What inverting every pixel of a sample's binary image alone does; none that breaks is a proof for one inverted pixel.

    Attributes:
        sample: its index in the data set.
        pixels: how many were inverted, each alone; 0 where the sample is misclassified as it is.
        breaking: those whose inversion changes the decision.
    """

    sample: Count
    pixels: Count
    breaking: tuple[Count, ...]

    @property
    def certified(self) -> bool:
        """Right, and right for every image that differs from this one in one pixel."""
        return self.pixels > 0 and not self.breaking


class Smoothed(Strict):
    """See ``Smoothed`` of ``neurocert.certify.verifiers.flips``."""

    sample: Count
    label: Count
    predicted: Count
    successes: Count
    probability: Unit
    flips: Annotated[int, Field(ge=-1)]


class Smoothing(Strict):
    """Decisions smoothed over random flips.

    Attributes:
        description: the model in words.
        flip: probability with which each pixel is inverted.
        draws: fresh ones, for each sample.
        risk: probability that any of these certificates is wrong, over the draws.
        certified: at k, samples that are decided rightly, and so for every k flipped pixels; at least for 0 and 1.
    """

    description: Text
    flip: Annotated[float, Field(gt=0, lt=0.5)]
    draws: Annotated[int, Field(ge=1)]
    risk: Annotated[float, Field(gt=0, lt=1)]
    samples: Annotated[tuple[Smoothed, ...], Field(min_length=1)]
    certified: Annotated[tuple[Share, ...], Field(min_length=2)]


class Geometry(Strict):
    """See ``Clusters``; ``shift`` is that of the centroids from where they lie without noise."""

    size: Radius
    mean_distance: Radius
    least_distance: Radius
    shift: Radius


class Level(Strict):
    """Undefended accuracy at one noise level; None where the samples are of one class."""

    noise: Unit
    correct: Share
    clusters: Geometry | None


class Pictures(Strict):
    """One sample on its way to the classifier, without and with noise."""

    sample: Count
    label: Count
    image: Image
    binary: Image
    map: Image
    noisy_binary: Image
    noisy_map: Image


class Cloud(Strict):
    """Embeddings in the plane of the two largest principal components of those without noise."""

    noise: Unit
    x: tuple[float, ...]
    y: tuple[float, ...]
    labels: tuple[Count, ...]


class Trace(Strict):
    """One sample's presentation.

    Attributes:
        spike_times, spike_neurons: of a test presentation, ms; every spike of every ``stride``-th neuron, counted among those.
        neurons: how many the raster shows.
        calcium_times: ms from the onset of the first of ten training pulses.
        inside, outside, highest: mean calcium of astrocytes that see the object, of the others, and the highest, uM.
        threshold: above which they modulate.
        limit: of calcium by the invariant box of the equations, whatever the input.
        ip3_limit: likewise of IP3.
    """

    sample: Count
    spike_times: tuple[float, ...]
    spike_neurons: tuple[Count, ...]
    neurons: Count
    calcium_times: tuple[float, ...]
    inside: tuple[float | None, ...]
    outside: tuple[float | None, ...]
    highest: tuple[float, ...]
    threshold: Positive
    limit: Positive
    ip3_limit: Positive


class FewShots(Strict):
    """Trained again with so many images of each class; correct without noise, and with ``shown_noise``."""

    per_class: Annotated[int, Field(ge=1)]
    clean: Share
    noisy: Share


class Study(Strict):
    """Everything that one study found out about one hybrid.

    Attributes:
        spiking: False for the control, whose maps are resampled images.
        shown: classes that the spiking network was shown.
        samples: indices in the data set.
        shown_noise: the level of pictures, cloud and few shots.
        single_flips: one for each sample of which it was asked.
        smoothing: None where it was not asked for; trace likewise for the control.
    """

    network: Network
    spiking: bool
    shown: tuple[Count, ...]
    data: Data
    samples: Annotated[tuple[Count, ...], Field(min_length=1)]
    clean: Share
    radii: Annotated[tuple[Radii, ...], Field(min_length=1)]
    outcomes: tuple[Outcome, ...]
    summaries: Annotated[tuple[Summary, ...], Field(min_length=1)]
    single_flips: tuple[SingleFlips, ...]
    smoothing: Smoothing | None
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    shown_noise: Unit
    pictures: tuple[Pictures, ...]
    clouds: tuple[Cloud, ...]
    few_shots: tuple[FewShots, ...]
    trace: Trace | None
    seed: Count
    environment: Environment
    seconds: Seconds
    command: Text


class Document(Strict):
    """One file: the studies of one run, one for each hybrid."""

    schema_version: Literal[1]
    studies: Annotated[tuple[Study, ...], Field(min_length=1)]


def to_json(studies: Sequence[Study]) -> str:
    """One JSON document, without NaN or infinity, that ``from_json`` reads back as equal values."""
    return Document(schema_version=SCHEMA_VERSION, studies=tuple(studies)).model_dump_json()


def from_json(text: str | bytes) -> tuple[Study, ...]:
    """The studies of one document.

    Raises:
        InputError: not JSON, of another schema version, or not a study.
    """
    return parse(Document, text, STEM).studies
