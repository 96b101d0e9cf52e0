"""What a report claims, in plain words."""

from __future__ import annotations

from neurocert.analysis.statistics import Proportion
from neurocert.certify.reports.parts import Perturbation, Summary
from neurocert.certify.reports.schema import Report


def headline(report: Report) -> Summary:
    """The radius to speak of first: the largest at which at least half of the samples are certified, else the smallest.

    Where no proof was tried, unbroken ones count instead. A radius of 0 changes nothing, and is spoken of only if there is no other.
    """
    counted = "certified" if report.methods else "unbroken"
    changed = [summary for summary in report.summaries if summary.epsilon > 0] or list(report.summaries)
    half = [summary for summary in changed if 2 * getattr(summary, counted).count >= len(report.samples)]
    return half[-1] if half else changed[0]


def claim(report: Report, summary: Summary) -> str:
    """One sentence that counts every sample exactly once; two where no proof was tried."""
    if not report.methods:
        return _unproved(report, summary)
    certified = summary.certified.proportion
    misclassified = certified.n - report.clean.count
    proved = "are proved to keep their" if certified.count > 1 else "is proved to keep its"
    parts = [
        f"Of {certified.n} {report.data.noun}, {certified.count or 'none'} ({percent(certified)}) "
        f"{proved} class under every {change(report.perturbation, summary.epsilon)}{tolerance(report.perturbation)}",
        _attacked(report, summary),
        f"{_are(summary.unknown.count)} undecided",
        f"{_are(misclassified)} misclassified without any change",
    ]
    return "; ".join(parts) + "."


def _unproved(report: Report, summary: Summary) -> str:
    unbroken = summary.unbroken.proportion
    return (
        f"Of {unbroken.n} {report.data.noun}, {report.clean.count} ({percent(report.clean.proportion)}) are decided rightly without "
        f"any change, and {unbroken.count} ({percent(unbroken)}) still are after whatever {change(report.perturbation, summary.epsilon)}"
        f"{tolerance(report.perturbation)} "
        "the attacks found. No proof was tried: the truth may be lower."
    )


def _attacked(report: Report, summary: Summary) -> str:
    if summary.falsified.count:
        return f"for {summary.falsified.count} an attack found a change that breaks the decision"
    return "no attack found a change that breaks a decision" if report.attacks else "no attack was run"


def _are(count: int) -> str:
    return f"{count} are" if count > 1 else f"{count or 'none'} is"


def change(perturbation: Perturbation, epsilon: float) -> str:
    """Such as "change of up to 0.01 per pixel"."""
    known = {
        "linf": f"change of up to {epsilon:g} per pixel",
        "l2": f"change of Euclidean length up to {epsilon:g}",
        "l1": f"change of absolute sum up to {epsilon:g}",
        "flips": f"flip of up to {epsilon:g} pixel{'s' * (epsilon != 1)}",
    }
    return known.get(perturbation.name, f"change of size up to {epsilon:g} ({perturbation.name})")


def tolerance(perturbation: Perturbation) -> str:
    """Such as ", with every weight off by up to 1 % of itself"; nothing where weights are as stored."""
    return "" if perturbation.weights is None else f", with {perturbation.weights.description}"


def percent(proportion: Proportion) -> str:
    """Such as "62 %, 95 % interval 47.2 to 75.3 %"."""
    lower, upper = proportion.interval()
    return f"{_round(proportion.value)} %, 95 % interval {_round(lower)} to {_round(upper)} %"


def _round(share: float) -> str:
    return f"{round(100 * share, 1):g}"
