"""The page in a real browser, where one is installed."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

from neurocert.certify.reports.html import write_reports
from neurocert.certify.reports.schema import Report
from neurocert.certify.reports.words import claim, headline

MakeReport = Callable[..., Report]
OpenPage = Callable[[Path], str]


def drawn(kind: str, command: str, figure: str) -> list[str]:
    """The paths of one class of plotly's whose data hold an SVG path command."""
    paths = re.findall(rf'<path class="{kind}"[^>]*? d="([^"]*)"', figure)
    return [path for path in paths if command in path]


def test_page_opens_offline_and_draws_its_figures(make_report: MakeReport, open_page: OpenPage, tmp_path: Path) -> None:
    hostile = '<script>document.title = "broken"</script><img src=x onerror=\'document.title = "broken"\'>'
    reports = (make_report(n=50), make_report(n=50, seed=1, name=hostile, classes=(hostile, *"123456789")))
    files = write_reports(tmp_path / "report", reports)
    document = open_page(files.html)

    for report in reports:
        assert claim(report, headline(report)) in unescape(document)
    figures = re.findall(r'<figure class="plot">.*?</figure>', document, flags=re.DOTALL)
    assert len(figures) == 4
    for sandwich, histogram in (figures[:2], figures[2:]):
        assert len(drawn("js-line", "L", sandwich)) == 3  # the legend's samples of them are drawn with "h"
        assert len(drawn("js-fill", "L", sandwich)) == 1
        assert len(drawn("yerror", "V", sandwich)) == 6
        assert len(re.findall(r'<g class="point"><path d="M', histogram)) > 10

    assert "<title>Robustness report: digits-flex-snn" in document and "<title>broken" not in document
    markup = re.sub(r"<script.*?</script>", "", document, flags=re.DOTALL)
    targets = re.findall(r"""\s(?:src|href)=["']([^"']*)""", markup)
    assert targets and not [target for target in targets if not target.startswith(("#", "data:"))]
