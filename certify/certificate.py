"""What a verification says about one sample."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor


class Verdict(StrEnum):
    """The answer for one sample."""

    CERTIFIED = "certified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    MISCLASSIFIED = "misclassified"

    @property
    def meaning(self) -> str:
        """What happened, and what to do about it."""
        return _MEANINGS[self]


_MEANINGS = {
    Verdict.CERTIFIED: "proved: no point of the perturbation set changes the decision, under the stated semantics and arithmetic",
    Verdict.FALSIFIED: "a point of the perturbation set changes the decision; it was replayed through the network and is stored",
    Verdict.UNKNOWN: "neither proved nor broken; try a tighter method, a stronger attack or a smaller perturbation",
    Verdict.MISCLASSIFIED: "the network is wrong, or undecided by a tie, on the unperturbed input already",
}


@dataclass(frozen=True, eq=False)
class Witness:
    """A counterexample.

    Attributes:
        point: the input, without the batch, in the network's dtype.
        margin: f_y - max_{j != y} f_j there, as the network computes it; not positive.
        predicted: the class of the greatest logit there (of several, another than the label).
        weights: the parameters with which that happens, by name; None for the network's own.
    """

    point: Tensor
    margin: float
    predicted: int
    weights: dict[str, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Certificate:
    """The verdict on one sample, with what it rests on.

    Attributes:
        verdict: see ``Verdict``.
        label: the true class.
        predicted: the class decided on the unperturbed input.
        clean_margin: f_y - max_{j != y} f_j there.
        lower_bound: proved lower bound of that margin over the whole perturbation set; None if none was found.
        method: the bounds' method.
        perturbation: the set, in words.
        semantics: what the network computes beyond its weights, in words.
        arithmetic: "real", "float32" or "float64": the evaluations that the certificate covers.
        reason: why the verdict is not a proof; None for a certified sample.
        witness: the counterexample of a falsified sample.
        seconds: spent on this sample's bounds, its share of a batch.
    """

    verdict: Verdict
    label: int
    predicted: int
    clean_margin: float
    lower_bound: float | None
    method: str
    perturbation: str
    semantics: str
    arithmetic: str
    reason: str | None
    witness: Witness | None
    seconds: float

    def __post_init__(self) -> None:
        if self.verdict is Verdict.CERTIFIED and not (self.lower_bound is not None and self.lower_bound > 0):
            raise ValueError(f"a certified sample needs a positive lower bound, got {self.lower_bound!r}")
        if (self.verdict is Verdict.FALSIFIED) != (self.witness is not None):
            raise ValueError("a sample is falsified if and only if it has a witness")
