"""Accuracy under each attack over the radii, and whether gradients are to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Annotated

from pydantic import Field

from neurocert.analysis.curves import area_under
from neurocert.certify.reports.parts import INTERVAL_TOLERANCE, Attack, Count, Outcome, Radius, Share, Text
from neurocert.models.schema import Strict

WORST = "worst"
"""The name of the curve of all attacks together, sample by sample."""


class Area(Strict):
    """An area under a curve in input units, trapezoidal over the radii, with a 95 % interval."""

    value: Annotated[float, Field(ge=0)]
    lower: Annotated[float, Field(ge=0)]
    upper: Annotated[float, Field(ge=0)]


class Curve(Strict):
    """Accuracy under one attack.

    Attributes:
        attack: its name, or ``WORST``.
        unbroken: one for each radius: decided rightly, and not broken by this attack up to there.
        area: under the curve; None for a single radius.
    """

    attack: Text
    unbroken: tuple[Share, ...]
    area: Area | None


class Saturation(Strict):
    """What attacks by gradients reach on the whole input range; see ``neurocert.certify.campaign.masking.Saturation``."""

    epsilon: Radius
    left: Count
    n: Annotated[int, Field(ge=1)]


def accuracy_curves(outcomes: Sequence[Outcome], attacks: Sequence[Attack], epsilons: Sequence[float]) -> tuple[Curve, ...]:
    """One curve for each attack, and that of all together; none without attacks."""
    columns = [[outcome for outcome in outcomes if outcome.epsilon == epsilon] for epsilon in epsilons]
    names = [attack.name for attack in attacks]
    curves = [_curve(name, [[_unbroken(o, (name,)) for o in column] for column in columns], epsilons) for name in names]
    return (*curves, _curve(WORST, [[_unbroken(o, names) for o in column] for column in columns], epsilons)) if curves else ()


def signs_of_masking(
    outcomes: Sequence[Outcome], attacks: Sequence[Attack], epsilons: Sequence[float], saturation: Saturation | None
) -> tuple[str, ...]:
    """Signs that gradients mislead the attacks that go by them, a sentence each."""
    gradients = [attack.name for attack in attacks if attack.sees == "gradients"]
    signs = [_stronger(attack.name, gradients, outcomes, epsilons) for attack in attacks if attack.sees == "logits" and gradients]
    return tuple(sign for sign in (*signs, _left_over(saturation)) if sign)


def agree(stored: Sequence[Curve], computed: Sequence[Curve]) -> bool:
    """Equal, but for what two versions of scipy may say about the ends of an interval."""
    return len(stored) == len(computed) and all(map(_same, stored, computed))


def _curve(name: str, columns: list[list[bool]], epsilons: Sequence[float]) -> Curve:
    shares = tuple(Share.of(sum(column), len(column)) for column in columns)
    if len(shares) < 2:
        return Curve(attack=name, unbroken=shares, area=None)
    area = area_under(epsilons, [share.proportion for share in shares])
    return Curve(attack=name, unbroken=shares, area=Area(value=area.value, lower=area.lower, upper=area.upper))


def _unbroken(outcome: Outcome, names: Sequence[str]) -> bool:
    """A sample that is wrong from the start was not attacked."""
    return outcome.verdict != "misclassified" and not _broken(outcome, names)


def _broken(outcome: Outcome, names: Sequence[str]) -> bool:
    margins = [outcome.attacks[name] for name in names]
    return any(margin is not None and margin <= 0 for margin in margins)


def _stronger(name: str, gradients: list[str], outcomes: Sequence[Outcome], epsilons: Sequence[float]) -> str:
    """What to say where an attack by logits alone breaks more than all attacks by gradients together, at the worst radius."""
    counts = [_counts(name, gradients, [outcome for outcome in outcomes if outcome.epsilon == epsilon]) for epsilon in epsilons]
    (by_logits, by_gradients, n), epsilon = max(zip(counts, epsilons, strict=True), key=lambda pair: pair[0][0] - pair[0][1])
    if by_logits <= by_gradients:
        return ""
    together = f"all attacks by gradients ({', '.join(gradients)}) together {by_gradients}"
    return f"{name}, which sees logits alone, breaks {by_logits} of {n} at epsilon {epsilon:g}, {together}"


def _counts(name: str, gradients: list[str], outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    """Samples broken by this attack, by any of those that go by gradients, and all."""
    return sum(_broken(o, [name]) for o in outcomes), sum(_broken(o, gradients) for o in outcomes), len(outcomes)


def _left_over(saturation: Saturation | None) -> str:
    if saturation is None or not saturation.left:
        return ""
    return (
        f"on the whole input range (epsilon {saturation.epsilon:g}) attacks by gradients still leave {saturation.left} of {saturation.n} "
        "decisions unbroken"
    )


def _same(a: Curve, b: Curve) -> bool:
    proportions = [[share.proportion for share in curve.unbroken] for curve in (a, b)]
    if (a.attack, a.area is None) != (b.attack, b.area is None) or proportions[0] != proportions[1]:
        return False
    return a.area is None or b.area is None or all(isclose(x, y, abs_tol=INTERVAL_TOLERANCE) for x, y in _ends(a.area, b.area))


def _ends(a: Area, b: Area) -> list[tuple[float, float]]:
    return [(a.value, b.value), (a.lower, b.lower), (a.upper, b.upper)]
