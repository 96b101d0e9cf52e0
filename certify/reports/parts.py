"""The parts of a report, and what follows from them: verdicts from bounds and witnesses, summaries from verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from neurocert.analysis.statistics import Proportion
from neurocert.models.schema import Provenance, Sha256, Strict

Verdict = Literal["certified", "falsified", "unknown", "misclassified"]
VERDICTS: tuple[Verdict, ...] = ("certified", "unknown", "falsified", "misclassified")
"""From the best to the worst, as every table and figure orders them."""

INTERVAL_TOLERANCE = 1e-9
"""How far two versions of scipy may disagree about the ends of an interval."""


def _encodable(text: object) -> object:
    """File names can hold bytes that are no text; what cannot be written becomes a question mark."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_encodable)]
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Count = Annotated[int, Field(ge=0)]
Radius = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Unit = Annotated[float, Field(ge=0, le=1)]
Row = Annotated[list[float], Field(min_length=1)]
Channel = Annotated[list[Row], Field(min_length=1)]
Image = Annotated[list[Channel], Field(min_length=1)]
"""(C, H, W), in input units."""


class Share(Strict):
    """``count`` of ``n``, with its two-sided 95 % Clopper-Pearson interval [lower, upper]."""

    count: Count
    n: Annotated[int, Field(ge=1)]
    lower: Unit
    upper: Unit

    @classmethod
    def of(cls, count: int, n: int) -> Share:
        lower, upper = Proportion(count, n).interval()
        return cls(count=count, n=n, lower=lower, upper=upper)

    @property
    def proportion(self) -> Proportion:
        return Proportion(self.count, self.n)

    @model_validator(mode="after")
    def _interval(self) -> Share:
        ends = zip(self.proportion.interval(), (self.lower, self.upper), strict=True)
        if not all(isclose(end, stored, abs_tol=INTERVAL_TOLERANCE) for end, stored in ends):
            raise ValueError(f"[{self.lower}, {self.upper}] is not the 95 % interval of {self.count} of {self.n}")
        return self


class Network(Strict):
    """What was certified.

    Attributes:
        name: as the user gave it.
        sha256: of the checkpoint file; None for a network that did not come from a file.
        architecture: name and parameters in one line.
        semantics: ``Semantics.describe()``.
        parameters: number of trainable values.
        classes: names of the logits, in order.
        provenance: as in the checkpoint; None where there is none.
    """

    name: Text
    sha256: Sha256 | None
    architecture: Text
    semantics: Text
    parameters: Count
    classes: Annotated[tuple[Text, ...], Field(min_length=2)]
    provenance: Provenance | None


class Data(Strict):
    """Where the samples came from; which of them were taken is said by their rows.

    Attributes:
        name: as the user gave it.
        noun: what the samples are, in the plural and in plain words, such as "held-out digits".
        sha256: of the whole set.
        size: number of samples in the whole set.
    """

    name: Text
    noun: Text
    sha256: Sha256
    size: Annotated[int, Field(ge=1)]


class WeightTolerance(Strict):
    """Every weight may be off by up to relative |w| + absolute: one number for all positions, time steps and samples.

    Attributes:
        relative: share of each weight's size.
        absolute: in the unit of the weights.
        names: patterns of the parameters that may be; the others are as stored.
        description: all of it in words.
    """

    relative: Radius
    absolute: Radius
    names: Annotated[tuple[Text, ...], Field(min_length=1)]
    description: Text


class Perturbation(Strict):
    """The sets around each input, and around the weights.

    Attributes:
        name: "linf", "l2", ...
        epsilons: radii in input units (or numbers of flips), increasing.
        low, high: input range to which the sets are clipped; None where the network declares none.
        weights: the set of weights; None for those that are stored.
    """

    name: Text
    epsilons: Annotated[tuple[Radius, ...], Field(min_length=1)]
    low: float | None
    high: float | None
    weights: WeightTolerance | None = None

    @model_validator(mode="after")
    def _increasing(self) -> Perturbation:
        if list(self.epsilons) != sorted(set(self.epsilons)):
            raise ValueError(f"epsilons are {self.epsilons}, expected increasing ones")
        return self


class Arithmetic(Strict):
    """The arithmetic that certificates speak of ("float32", "real") and what that means, in a sentence."""

    name: Text
    statement: Text


class Attack(Strict):
    """An attack's name, a description with every parameter that matters, and what it goes by."""

    name: Text
    description: Text
    sees: Literal["gradients", "logits", "both"] = "gradients"


class Sample(Strict):
    """One input.

    Attributes:
        index: in the data set.
        label, predicted: classes, as positions in ``Network.classes``; predicted without any change.
        clean_margin: f_label - max_{j != label} f_j at the unchanged input; the decision is right where it is > 0 (a
            tie is not a decision).
        input: the unchanged input; only required where a witness is stored.
    """

    index: Count
    label: Count
    predicted: Count
    clean_margin: float
    input: Image | None

    @property
    def correct(self) -> bool:
        return self.clean_margin > 0

    @model_validator(mode="after")
    def _margin_decides(self) -> Sample:
        agrees = self.clean_margin >= 0 if self.predicted == self.label else self.clean_margin <= 0
        if not agrees:
            raise ValueError(f"sample {self.index}: label {self.label}, predicted {self.predicted}, but margin {self.clean_margin}")
        return self


class Witness(Strict):
    """An input that breaks a decision.

    Attributes:
        input: (C, H, W), in input units.
        margin: as ``Sample.clean_margin``, at this input; <= 0.
        predicted: class at this input.
        weights: the weights with which that happens, as ``neurocert.certify.reports.weights`` packs them; None for those stored.
    """

    input: Image
    margin: Annotated[float, Field(le=0)]
    predicted: Count
    weights: dict[Text, Base64] | None = None


class Outcome(Strict):
    """What was found for one sample at one radius.

    Attributes:
        sample: ``Sample.index``.
        epsilon: one of ``Perturbation.epsilons``.
        verdict: follows from the other fields, see ``verdict_of``.
        reason: why it is not certified, in words; may be empty otherwise.
        bounds: method -> lower bound of the margin over the set; None where not computed.
        attacks: attack -> lowest margin found in the set, a success at <= 0; None where not run.
        witness: position in the report's witnesses; None unless falsified.
        seconds: spent on bounds and attacks.
    """

    sample: Count
    epsilon: Radius
    verdict: Verdict
    reason: Text
    bounds: dict[Text, float | None]
    attacks: dict[Text, float | None]
    witness: Count | None
    seconds: Seconds

    @property
    def bound(self) -> float | None:
        """The best lower bound of the margin."""
        return max((bound for bound in self.bounds.values() if bound is not None), default=None)

    @property
    def attacked(self) -> float | None:
        """The lowest margin that an attack found."""
        return min((margin for margin in self.attacks.values() if margin is not None), default=None)

    @property
    def broken(self) -> bool:
        return self.witness is not None or (self.attacked is not None and self.attacked <= 0)

    def proved_by(self, method: str) -> bool:
        bound = self.bounds.get(method)
        return self.verdict == "certified" and bound is not None and bound > 0


class Summary(Strict):
    """Counts at one radius, each of all samples: certified <= truly robust <= unbroken.

    Attributes:
        certified: by at least one method.
        certified_by: method -> by this one.
        unknown: neither proved nor broken.
        falsified: with a witness.
        unbroken: decided rightly, and no witness found: the accuracy under attack.
    """

    epsilon: Radius
    certified: Share
    certified_by: dict[Text, Share]
    unknown: Share
    falsified: Share
    unbroken: Share

    def proportions(self) -> dict[str, Proportion]:
        """Every count by its path, such as "certified_by.linear"."""
        totals = {name: getattr(self, name).proportion for name in ("certified", "unknown", "falsified", "unbroken")}
        return totals | {f"certified_by.{method}": share.proportion for method, share in self.certified_by.items()}


class Routing(Strict):
    """Mask statistics of one PlasticFlex layer, see ``neurocert.analysis.routing.LayerRouting``."""

    layer: Text
    conv_ratio: Unit
    binariness: Unit
    calls: Annotated[int, Field(ge=1)]


class Environment(Strict):
    """Versions, and what else can change a float or a duration."""

    neurocert: Text
    torch: Text
    numpy: Text
    python: Text
    platform: Text
    threads: Annotated[int, Field(ge=1)]


def verdict_of(correct: bool, broken: bool, bound: float | None) -> Verdict:
    """The verdict on a sample: decided rightly without a change; an attack broke it; this best lower bound of the margin.

    Raises:
        ValueError: proved and broken at once.
    """
    proved = bound is not None and bound > 0
    if proved and (broken or not correct):
        raise ValueError(f"proved by a bound of {bound} and broken {'by an attack' if broken else 'without any change'}")
    if not correct:
        return "misclassified"
    if broken:
        return "falsified"
    return "certified" if proved else "unknown"


def clean_share(samples: Sequence[Sample]) -> Share:
    """Samples decided rightly without any change."""
    return Share.of(sum(sample.correct for sample in samples), len(samples))


def summarise(outcomes: Sequence[Outcome], epsilon: float, methods: Sequence[str]) -> Summary:
    """The summary at one radius; outcomes at other radii are ignored."""
    here = [outcome for outcome in outcomes if outcome.epsilon == epsilon]
    n = len(here)
    count = {verdict: sum(outcome.verdict == verdict for outcome in here) for verdict in VERDICTS}
    return Summary(
        epsilon=epsilon,
        certified=Share.of(count["certified"], n),
        certified_by={method: Share.of(sum(outcome.proved_by(method) for outcome in here), n) for method in methods},
        unknown=Share.of(count["unknown"], n),
        falsified=Share.of(count["falsified"], n),
        unbroken=Share.of(count["certified"] + count["unknown"], n),
    )
