"""The report as data: what ``report.json`` holds.

A report can only exist if it agrees with itself: every verdict follows from its bounds and witness, every summary from
the verdicts, every witness lies in its set, and nothing is both proved and broken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neurocert.certify.reports.curves import Curve, Saturation, accuracy_curves, agree, signs_of_masking
from neurocert.certify.reports.documents import SCHEMA_VERSION, parse
from neurocert.certify.reports.parts import (
    Arithmetic,
    Attack,
    Data,
    Environment,
    Image,
    Network,
    Outcome,
    Perturbation,
    Routing,
    Sample,
    Seconds,
    Share,
    Summary,
    Text,
    Witness,
    clean_share,
    summarise,
    verdict_of,
)
from neurocert.models.schema import Strict

STEM = "report"


class Report(Strict):
    """Everything that one run found out about one network.

    Attributes:
        methods: names of the bounds, as keys of ``Outcome.bounds``.
        attacks: their names are the keys of ``Outcome.attacks``.
        clean: samples decided rightly without any change.
        outcomes: one for each sample and radius.
        summaries: one for each radius, in the order of ``Perturbation.epsilons``.
        curves: accuracy under each attack, and under all together; they follow from the outcomes.
        saturation: what attacks by gradients reach on the whole input range; None where it was not asked.
        masking: signs that gradients mislead the attacks that go by them; they follow from the outcomes and ``saturation``.
        routing: empty for a network without PlasticFlex layers.
        seconds: of the whole run.
        assumptions: what the certificates take for granted, one sentence each.
        command: the command line or call that gives this report again.
    """

    network: Network
    data: Data
    perturbation: Perturbation
    arithmetic: Arithmetic
    methods: tuple[Text, ...]
    attacks: tuple[Attack, ...]
    seed: int
    clean: Share
    samples: Annotated[tuple[Sample, ...], Field(min_length=1)]
    outcomes: tuple[Outcome, ...]
    witnesses: tuple[Witness, ...]
    summaries: tuple[Summary, ...]
    curves: tuple[Curve, ...] = ()
    saturation: Saturation | None = None
    masking: tuple[Text, ...] = ()
    routing: tuple[Routing, ...]
    environment: Environment
    seconds: Seconds
    assumptions: tuple[Text, ...]
    command: Text

    def rows(self, epsilon: float) -> tuple[tuple[Sample, Outcome], ...]:
        """Each sample with its outcome at one radius, in the order of the samples."""
        here = {outcome.sample: outcome for outcome in self.outcomes if outcome.epsilon == epsilon}
        return tuple((sample, here[sample.index]) for sample in self.samples)

    @model_validator(mode="after")
    def _complete(self) -> Report:
        indices = [sample.index for sample in self.samples]
        expected = sorted((index, epsilon) for index in indices for epsilon in self.perturbation.epsilons)
        _require(len(set(indices)) == len(indices), "a sample occurs twice")
        _require(max(indices) < self.data.size, f"sample {max(indices)} of a data set of {self.data.size}")
        _require(sorted((o.sample, o.epsilon) for o in self.outcomes) == expected, "expected one outcome for each sample and epsilon")
        return self

    @model_validator(mode="after")
    def _names_known(self) -> Report:
        methods, attacks = set(self.methods), {attack.name for attack in self.attacks}
        for outcome in self.outcomes:
            _require(set(outcome.bounds) == methods, f"bounds of {sorted(outcome.bounds)}, expected of {sorted(methods)}", outcome)
            _require(set(outcome.attacks) == attacks, f"attacks {sorted(outcome.attacks)}, expected {sorted(attacks)}", outcome)
        classes = [sample.label for sample in self.samples] + [row.predicted for row in (*self.samples, *self.witnesses)]
        _require(max(classes) < len(self.network.classes), f"class {max(classes)} of {len(self.network.classes)}")
        return self

    @model_validator(mode="after")
    def _rows_follow(self) -> Report:
        for epsilon in self.perturbation.epsilons:
            for sample, outcome in self.rows(epsilon):
                _require_verdict(sample, outcome)
                if outcome.witness is not None:
                    _require(outcome.witness < len(self.witnesses), f"witness {outcome.witness} of {len(self.witnesses)}", outcome)
                    _require_inside(self.witnesses[outcome.witness], sample, outcome, self.perturbation)
        return self

    @model_validator(mode="after")
    def _summaries_follow(self) -> Report:
        clean = clean_share(self.samples).proportion
        _require(self.clean.proportion == clean, f"clean is {self.clean.proportion}, but its rows say {clean}")
        _require(tuple(summary.epsilon for summary in self.summaries) == self.perturbation.epsilons, "expected a summary for each epsilon")
        for summary in self.summaries:
            counted = summarise(self.outcomes, summary.epsilon, self.methods).proportions()
            _require(summary.proportions() == counted, f"the summary at epsilon {summary.epsilon:g} does not count its rows")
        return self

    @model_validator(mode="after")
    def _curves_follow(self) -> Report:
        computed = accuracy_curves(self.outcomes, self.attacks, self.perturbation.epsilons)
        _require(not self.curves or agree(self.curves, computed), "a curve does not count its rows")
        signs = signs_of_masking(self.outcomes, self.attacks, self.perturbation.epsilons, self.saturation)
        _require(not self.curves or self.masking == signs, "the signs of masked gradients do not follow from the rows")
        return self


class Document(Strict):
    """One file: the reports of one run, one for each network."""

    schema_version: Literal[1]
    reports: Annotated[tuple[Report, ...], Field(min_length=1)]


def to_json(reports: Sequence[Report]) -> str:
    """One JSON document, without NaN or infinity, that ``from_json`` reads back as equal values."""
    return Document(schema_version=SCHEMA_VERSION, reports=tuple(reports)).model_dump_json()


def from_json(text: str | bytes) -> tuple[Report, ...]:
    """The reports of one document.

    Raises:
        InputError: not JSON, of another schema version, or a report that does not agree with itself.
    """
    return parse(Document, text, STEM).reports


def _require_verdict(sample: Sample, outcome: Outcome) -> None:
    try:
        verdict = verdict_of(sample.correct, outcome.broken, outcome.bound)
    except ValueError as error:
        raise ValueError(f"{_place(outcome)}: {error}") from error
    _require(outcome.verdict == verdict, f"verdict {outcome.verdict}, but its bounds and attacks say {verdict}", outcome)
    _require((outcome.witness is not None) == (verdict == "falsified"), "expected a witness exactly where falsified", outcome)


def _require_inside(witness: Witness, sample: Sample, outcome: Outcome, perturbation: Perturbation) -> None:
    """The witness lies in the set. Without tolerance: rounding never lifts a difference of at most epsilon above it."""
    if sample.input is None:
        raise ValueError(f"{_place(outcome)}: a witness without the unchanged input")
    got, expected = _shape(witness.input), _shape(sample.input)
    _require(got == expected, f"witness of shape {got}, input of shape {expected}", outcome)
    _require(witness.weights is None or perturbation.weights is not None, "a witness with other weights, which are as stored", outcome)
    values, centre = _flat(witness.input), _flat(sample.input)
    low = -math.inf if perturbation.low is None else perturbation.low
    high = math.inf if perturbation.high is None else perturbation.high
    _require(low <= min(values) and max(values) <= high, f"witness leaves the input range [{low:g}, {high:g}]", outcome)
    if perturbation.name in DISTANCES:
        distance = DISTANCES[perturbation.name](values, centre)
        _require(distance <= outcome.epsilon, f"witness at a distance of {float(distance)}", outcome)


def _chebyshev(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def _taxicab(a: Sequence[float], b: Sequence[float]) -> Fraction:
    return sum((abs(Fraction(x) - Fraction(y)) for x, y in zip(a, b, strict=True)), Fraction(0))


def _hamming(a: Sequence[float], b: Sequence[float]) -> float:
    """The number of flips; none makes another change of 0 or 1."""
    return sum(x != y for x, y in zip(a, b, strict=True)) if {*a, *b} <= {0.0, 1.0} else math.inf


DISTANCES: dict[str, Callable[[Sequence[float], Sequence[float]], float | Fraction]] = {
    "linf": _chebyshev,
    "l2": math.dist,
    "l1": _taxicab,
    "flips": _hamming,
}
"""What a radius measures, for the perturbations that are balls."""


def _shape(image: Image) -> list[list[int]]:
    """Row lengths of each channel, so that ragged lists differ from any rectangular one."""
    return [[len(row) for row in channel] for channel in image]


def _flat(image: Image) -> list[float]:
    return [value for channel in image for row in channel for value in row]


def _require(holds: bool, fault: str, outcome: Outcome | None = None) -> None:
    if not holds:
        raise ValueError(f"{_place(outcome)}: {fault}" if outcome else fault)


def _place(outcome: Outcome) -> str:
    return f"sample {outcome.sample} at epsilon {outcome.epsilon:g}"
