"""The page in a real browser, where one is installed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from neurocert.certify.reports.analysis.page import write_analyses
from neurocert.certify.reports.analysis.schema import Analysis

MakeAnalysis = Callable[..., Analysis]
OpenPage = Callable[[Path], str]


def test_every_figure_is_drawn_offline(make_analysis: MakeAnalysis, make_plain: MakeAnalysis, open_page: OpenPage, tmp_path: Path) -> None:
    files = write_analyses(tmp_path / "analysis", [make_analysis("one"), make_analysis("two"), make_plain("three")])
    document = open_page(files.html)
    plots = re.findall(r'<figure class="plot">.*?</figure>', document, flags=re.DOTALL)
    assert len(plots) > 30
    assert all('class="main-svg"' in plot for plot in plots)
    surfaces = [plot for plot in plots if "aspectmode" in plot]
    assert len(surfaces) == 3
    assert all("<canvas" in plot or "no-webgl" in plot for plot in surfaces)  # plotly's own words where there is no WebGL
    assert sum('class="contour"' in plot for plot in plots) == 8  # three compared, three of their own, two along eigenvectors
    assert sum('class="hm"' in plot for plot in plots) == 6  # rasters: two compared, two of all layers, two of first layers
    assert sum(len(re.findall(r'class="trace scatter', plot)) for plot in plots) > 40
