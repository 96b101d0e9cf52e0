"""The decisions that broke most easily, to look at."""

from __future__ import annotations

from dataclasses import dataclass

from neurocert.certify.reports.images import difference, picture
from neurocert.certify.reports.parts import Outcome, Sample, Witness
from neurocert.certify.reports.schema import Report


@dataclass(frozen=True)
class Case:
    """One broken decision, with pictures as data URIs.

    Attributes:
        change: largest absolute difference of a pixel; the colours of ``difference`` end there.
        tie: the witness gives no class more than the label.
    """

    sample: Sample
    outcome: Outcome
    witness: Witness
    original: str
    perturbed: str
    difference: str
    change: float

    @property
    def tie(self) -> bool:
        return self.witness.margin == 0


def worst_cases(report: Report, most: int = 6) -> tuple[Case, ...]:
    """Broken decisions, each sample once, at its smallest radius; by radius, then by margin."""
    found: dict[int, tuple[Sample, Outcome]] = {}
    for epsilon in report.perturbation.epsilons:
        for sample, outcome in report.rows(epsilon):
            if outcome.verdict == "falsified":
                found.setdefault(sample.index, (sample, outcome))
    ranked = sorted(found.values(), key=lambda row: (row[1].epsilon, report.witnesses[row[1].witness or 0].margin))
    return tuple(_case(report, sample, outcome) for sample, outcome in ranked[:most])


def _case(report: Report, sample: Sample, outcome: Outcome) -> Case:
    """A falsified outcome has a witness, and its sample an input: the report has seen to that."""
    assert outcome.witness is not None and sample.input is not None
    witness = report.witnesses[outcome.witness]
    values = [value for image in (sample.input, witness.input) for channel in image for row in channel for value in row]
    low = min(values) if report.perturbation.low is None else report.perturbation.low
    high = max(values) if report.perturbation.high is None else report.perturbation.high
    coloured, change = difference(sample.input, witness.input)
    return Case(
        sample=sample,
        outcome=outcome,
        witness=witness,
        original=picture(sample.input, low, high),
        perturbed=picture(witness.input, low, high),
        difference=coloured,
        change=change,
    )
