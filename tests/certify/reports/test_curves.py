"""Curves, areas and signs follow from the rows, on screen as in the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest
from pydantic import ValidationError
from rich.console import Console

from neurocert.analysis.curves import trapezoid
from neurocert.certify.reports.attack_table import attack_table
from neurocert.certify.reports.curves import WORST, Curve, Saturation, accuracy_curves, signs_of_masking
from neurocert.certify.reports.html import render
from neurocert.certify.reports.parts import Attack, Outcome
from neurocert.certify.reports.schema import Report, from_json, to_json
from neurocert.certify.reports.words import claim, headline

MakeReport = Callable[..., Report]
RADII = (0.0, 0.1, 0.3)
GRADIENTS, LOGITS = Attack(name="pgd", description="", sees="gradients"), Attack(name="square", description="", sees="logits")
MARGINS = {  # per sample, of (pgd, square) at each radius
    0: [(2.0, 2.0), (1.0, 1.0), (0.5, -0.1)],
    1: [(1.0, 1.0), (-1.0, 0.5), (-1.0, 0.5)],
    2: [(3.0, 3.0), (2.0, 2.0), (1.0, 1.0)],
    3: [(None, None)] * 3,
}


def outcome(sample: int, epsilon: float, pgd: float | None, square: float | None) -> Outcome:
    broken = any(margin is not None and margin <= 0 for margin in (pgd, square))
    verdict = "misclassified" if pgd is None else "falsified" if broken else "unknown"
    return Outcome(
        sample=sample,
        epsilon=epsilon,
        verdict=verdict,
        reason="",
        bounds={},
        attacks={"pgd": pgd, "square": square},
        witness=0 if broken else None,
        seconds=0.0,
    )


def outcomes(margins: dict[int, list[tuple[float | None, float | None]]] = MARGINS) -> list[Outcome]:
    return [outcome(sample, epsilon, *pair) for sample, row in margins.items() for epsilon, pair in zip(RADII, row, strict=True)]


def counts(curves: Sequence[Curve]) -> dict[str, list[int]]:
    return {curve.attack: [share.count for share in curve.unbroken] for curve in curves}


def attacked(make_report: MakeReport, **changes: object) -> Report:
    """A drawn report as an attack alone leaves it."""
    drawn = make_report(n=20)
    rows = [o.model_copy(update={"bounds": {}, "verdict": "unknown" if o.verdict == "certified" else o.verdict}) for o in drawn.outcomes]
    curves = accuracy_curves(rows, drawn.attacks, drawn.perturbation.epsilons)
    return drawn.model_copy(update={"methods": (), "outcomes": tuple(rows), "curves": curves} | changes)


def test_curves_count_each_attack_and_the_worst() -> None:
    curves = accuracy_curves(outcomes(), (GRADIENTS, LOGITS), RADII)
    assert counts(curves) == {"pgd": [3, 2, 2], "square": [3, 3, 2], WORST: [3, 2, 1]}
    assert all(curve.area is not None and curve.area.lower < curve.area.value < curve.area.upper for curve in curves)
    assert curves[-1].area is not None and curves[-1].area.value == pytest.approx(trapezoid(RADII, (0.75, 0.5, 0.25)))
    single = accuracy_curves([o for o in outcomes() if o.epsilon == 0.1], (GRADIENTS, LOGITS), (0.1,))
    assert [curve.area for curve in single] == [None] * 3
    assert accuracy_curves(outcomes(), (), RADII) == ()


def test_logits_that_beat_gradients_are_a_sign() -> None:
    assert signs_of_masking(outcomes(), (GRADIENTS, LOGITS), RADII, None) == ()
    beaten = MARGINS | {1: [(1.0, 1.0), (0.5, -1.0), (0.5, -1.0)]}
    (sign,) = signs_of_masking(outcomes(beaten), (GRADIENTS, LOGITS), RADII, None)
    assert sign == "square, which sees logits alone, breaks 2 of 4 at epsilon 0.3, all attacks by gradients (pgd) together 0"
    assert signs_of_masking(outcomes(beaten), (LOGITS,), RADII, None) == ()


def test_decisions_that_survive_the_whole_range_are_a_sign() -> None:
    arguments = (outcomes(), (GRADIENTS, LOGITS), RADII)
    assert signs_of_masking(*arguments, Saturation(epsilon=1.0, left=0, n=3)) == ()
    (sign,) = signs_of_masking(*arguments, Saturation(epsilon=1.0, left=2, n=3))
    assert "whole input range (epsilon 1) attacks by gradients still leave 2 of 3" in sign


def test_a_report_with_other_curves_is_refused(make_report: MakeReport) -> None:
    report = make_report(n=20)
    curves = accuracy_curves(report.outcomes, report.attacks, report.perturbation.epsilons)
    good = report.model_copy(update={"curves": curves})
    assert from_json(to_json([good])) == (good,)
    share = curves[0].unbroken[-1]
    other = curves[0].model_copy(update={"unbroken": (*curves[0].unbroken[:-1], type(share).of(share.count + 1, share.n))})
    area = curves[0].model_copy(update={"area": curves[0].area.model_copy(update={"value": 0.5})})  # type: ignore[union-attr]
    for wrong in (other, area):
        with pytest.raises(ValidationError, match="a curve does not count its rows"):
            to_json([report.model_copy(update={"curves": (wrong, *curves[1:])})])
    with pytest.raises(ValidationError, match="the signs of masked gradients do not follow"):
        to_json([good.model_copy(update={"masking": ("all is well",)})])


def test_table_holds_every_accuracy_in_80_columns(make_report: MakeReport) -> None:
    report = attacked(make_report)
    console = Console(file=io.StringIO(), width=80)
    console.print(attack_table(report))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    for curve in report.curves:
        assert lines[curve.attack][:3] == [f"{100 * share.proportion.value:.1f}" for share in curve.unbroken]
        assert curve.area is not None and lines[curve.attack][3] == f"{curve.area.value:.3f}"
    assert lines["from"] == [f"{100 * share.lower:.1f}" for share in report.curves[-1].unbroken]
    assert "…" not in text and max(map(len, text.splitlines())) <= 80


def test_the_claim_of_an_attack_alone(make_report: MakeReport) -> None:
    report = attacked(make_report)
    summary = headline(report)
    assert 2 * summary.unbroken.count >= 20
    assert f", and {summary.unbroken.count} (" in claim(report, summary) and claim(report, summary).endswith("the truth may be lower.")


def test_the_page_of_an_attack_alone(make_report: MakeReport) -> None:
    signs, saturation = ("gradients lead nowhere",), Saturation(epsilon=1.0, left=2, n=19)
    page = render([attacked(make_report, masking=signs, saturation=saturation)])
    assert page.count('<figure class="plot">') == 1 and "Accuracy under each attack" in page
    assert "<b>Masked gradients?</b> gradients lead nowhere." in page and "leave 2 of 19 decisions unbroken" in page
    assert "Lower bounds of the margin" not in page
