from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from plotly.offline import get_plotlyjs

from neurocert.certify.reports import html
from neurocert.certify.reports.figures import COLOURS
from neurocert.certify.reports.html import render
from neurocert.certify.reports.parts import WeightTolerance
from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.words import claim, headline

MakeReport = Callable[..., Report]
HOSTILE = "</script><script>alert(1)</script>"


def page(*reports: Report) -> str:
    """The page without plotly.js, which must be there once."""
    text = render(reports)
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


def test_page_names_uncertain_weights(make_report: MakeReport) -> None:
    report = make_report(n=50)
    weights = WeightTolerance(relative=0.01, absolute=0.0, names=("*",), description=f"every weight {HOSTILE}")
    broken = tuple(witness.model_copy(update={"weights": {"readout.weight": "gA=="}}) for witness in report.witnesses)
    perturbation = report.perturbation.model_copy(update={"weights": weights})
    text = page(report.model_copy(update={"perturbation": perturbation, "witnesses": broken}))
    assert HOSTILE not in text and unescape(text).count(weights.description) >= 2
    assert text.count("with other weights") == text.count('class="case"') > 0 == page(report).count("with other weights")


def test_page_holds_claims_verdicts_and_provenance(make_report: MakeReport) -> None:
    reports = make_report(n=50), make_report(n=50, seed=1, name="digits-flex-ann", norm="l2")
    text = unescape(page(*reports))
    for report in reports:
        for words in (
            claim(report, headline(report)),
            report.network.semantics,
            report.network.sha256,
            report.data.sha256,
            report.arithmetic.statement,
            report.attacks[0].description,
            report.command,
            report.environment.platform,
            *report.assumptions,
        ):
            assert str(words) in text
    assert text.count('<table class="verdicts">') == text.count('<table class="summary">') == 2
    assert text.count('class="case"') == 12
    assert text.count("synapses.1.0") == 2


def test_every_row_is_in_the_table_of_verdicts(make_report: MakeReport) -> None:
    report = make_report(n=50)
    (table,) = re.findall(r'<table class="verdicts">.*?</table>', page(report), flags=re.DOTALL)
    for verdict in COLOURS:
        count = sum(outcome.verdict == verdict for outcome in report.outcomes)
        assert table.count(f'<i class="dot {verdict}"></i>{verdict}') == count > 0


def test_nothing_is_loaded_from_elsewhere(make_report: MakeReport) -> None:
    text = page(make_report())
    targets = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text)
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'" in text


def test_names_are_text_never_markup(make_report: MakeReport) -> None:
    classes = (HOSTILE, "<img src=x onerror=alert(2)>", *"23456789")
    report = make_report(name=HOSTILE, n=50, classes=classes)
    hostile = report.model_copy(
        update={
            "command": HOSTILE,
            "assumptions": (HOSTILE,),
            "methods": (HOSTILE,),
            "data": report.data.model_copy(update={"name": HOSTILE, "noun": HOSTILE}),
            "outcomes": tuple(outcome.model_copy(update={"reason": '" onmouseover="alert(3)'}) for outcome in report.outcomes),
        }
    )
    text = page(hostile)
    assert "alert(1)" in text and "alert(2)" in text and "alert(3)" in text
    assert "<script>alert" not in text and "<img src=x" not in text and '" onmouseover' not in text
    assert text.count("</script>") == page(make_report(n=50)).count("</script>")


def test_figures_cannot_break_out_of_their_script(make_report: MakeReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "sandwich", lambda report: {"data": [{"name": HOSTILE}], "layout": {}})
    text = page(make_report())
    assert HOSTILE not in text
    assert r"\u003c/script\u003e\u003cscript\u003ealert(1)" in text


def test_page_without_attack_routing_or_hash(make_report: MakeReport) -> None:
    report = make_report(attacks=False)
    network = report.network.model_copy(update={"sha256": None})
    text = page(report.model_copy(update={"routing": (), "network": network}))
    assert "No attack was run." in text
    assert "Routing of" not in text
    assert "not run" in text
