from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from neurocert.certify.reports.analysis import figures
from neurocert.certify.reports.analysis.comparison import overview
from neurocert.certify.reports.analysis.config import ALL_FIGURES, chosen_figures
from neurocert.certify.reports.analysis.content import parts_of
from neurocert.certify.reports.analysis.page import render, write_analyses
from neurocert.certify.reports.analysis.schema import Analysis, Landscapes, Spectrum, Spikes, from_json
from neurocert.models.errors import InputError

MakeAnalysis = Callable[..., Analysis]
HOSTILE = "</script><script>alert(1)</script>"


def page(*analyses: Analysis) -> str:
    """The page without plotly.js, which must be there once."""
    text = render(analyses)
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


def titles(text: str) -> list[str]:
    return re.findall(r'<figure class="plot">\s*<h3>(.*?)</h3>', text)


def test_a_page_draws_every_figure_once(make_analysis: MakeAnalysis) -> None:
    analysis = make_analysis()
    drawn = [plot.name for part in parts_of(analysis) for plot in part.plots]
    assert set(drawn) == set(ALL_FIGURES)
    assert sorted(drawn) == sorted([*ALL_FIGURES, "routing-correlation"])  # over samples and over epochs
    assert len(titles(page(analysis))) == len(drawn)


def test_signs_of_masked_gradients_stand_on_the_page(make_analysis: MakeAnalysis) -> None:
    assert "Masked gradients? square, which sees logits alone, breaks more." in unescape(page(make_analysis()))


def test_what_does_not_apply_says_so_in_a_line(make_plain: MakeAnalysis) -> None:
    text = unescape(page(make_plain()))
    for line in (
        "The checkpoint holds no history of its training.",
        "the loss is flat almost everywhere.",
        "Along the Hessian's eigenvectors: the loss is flat almost everywhere.",
        "The network has no PlasticFlex layer.",
        "The network has no spiking neurons.",
    ):
        assert f">{line}</p>" in text
    assert titles(text) == [
        "Accuracy over the radius",
        "Area under the curve",
        "Surface over two random directions",
        "Map over the same directions",
    ]


def test_only_what_was_asked_for_is_there(make_analysis: MakeAnalysis) -> None:
    analysis = make_analysis(figures=chosen_figures(["rasters", "hessian"]), training=None, attacks=None, landscape=None, routing=None)
    parts = parts_of(analysis)
    assert [part.title for part in parts] == ["Hessian spectrum", "Spiking activity"]
    assert [plot.name for part in parts for plot in part.plots] == ["spectral-density", "rasters"]


def test_numbers_are_in_words_too(make_analysis: MakeAnalysis) -> None:
    text = unescape(page(make_analysis()))
    for words in (
        "Derivative used: surrogate (sech-squared). Trace: 12 ± 0.5 (standard error of 32 probes).",
        "4 runs of 40 Lanczos steps; all extreme eigenvalues below have converged.",
        "conv ratio 0.450 ± 0.050, binariness 0.300 ± 0.000.",
        "over 20 samples: 0.1, 95 % interval [\N{MINUS SIGN}0.35, 0.52] (Fisher).",
        "No correlation over epochs (which",
        "17 neurons over 4 steps; at a step 25.0 % of them are active, a temporal sparsity of 75.0 %.",
        "6 epochs; in the last one a loss of 0.333",
        "certify analyse digits-flex-snn",
    ):
        assert words in text


def test_several_networks_are_compared_first(make_analysis: MakeAnalysis, make_plain: MakeAnalysis) -> None:
    analyses = make_analysis("one"), make_analysis("two", flatness=0.5), make_plain("three")
    text = page(*analyses)
    compared, *own = text.split('<section class="network"')
    assert len(own) == 3
    assert "Accuracy under worst" in titles(compared)
    assert titles(compared).count("one") == titles(compared).count("three") == 2  # a map and a surface
    assert "Raster of one" in titles(compared) and "Raster of three" not in titles(compared)
    assert "Binariness over the epochs" in titles(compared)
    assert not any("Surface" in title for network in own for title in titles(network))
    alone = page(analyses[0])
    assert 'id="comparison"' in text and 'id="comparison"' not in alone


def test_overview_has_a_dash_where_there_is_nothing(make_analysis: MakeAnalysis, make_plain: MakeAnalysis) -> None:
    found = overview([make_analysis("one"), make_plain("two")])
    assert found.head == ("", "one", "two")
    _, first, second = zip(*found.rows, strict=True)
    assert first[:4] == ("95.0 %", "0.121 [0.0653, 0.19]", "1.5", "4")
    assert first[4:] == ("12 ± 0.5", "0.450", "0.300", "0.1 [\N{MINUS SIGN}0.35, 0.52]", "25.0 %")
    assert second[2:] == ("1.5", *["\N{EN DASH}"] * 6)


def test_a_name_cannot_break_out(make_analysis: MakeAnalysis) -> None:
    text = page(make_analysis(HOSTILE), make_analysis(HOSTILE))
    assert "<script>alert(1)" not in text
    assert HOSTILE in unescape(text)


def test_nothing_is_loaded_from_elsewhere(make_analysis: MakeAnalysis) -> None:
    targets = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page(make_analysis(), make_analysis("two")))
    assert targets and all(target.startswith(("#", "data:")) for target in targets)


def test_files_are_the_page_and_its_data(make_analysis: MakeAnalysis, tmp_path: Path) -> None:
    files = write_analyses(tmp_path / "deep", [make_analysis()])
    assert [files.html.name, files.json.name] == ["analysis.html", "analysis.json"]
    assert from_json(files.json.read_bytes()) == (make_analysis(),)
    assert files.html.read_text(encoding="utf-8") == render([make_analysis()])
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be made a directory"):
        write_analyses(tmp_path / "taken", [make_analysis()])


def test_figures_are_json_without_nan(make_analysis: MakeAnalysis) -> None:
    for part in parts_of(make_analysis()):
        for plot in part.plots:
            json.dumps(plot.figure, allow_nan=False)


def test_a_map_holds_the_plane(make_analysis: MakeAnalysis) -> None:
    landscape = make_analysis().landscape
    assert isinstance(landscape, Landscapes)
    found, plane = figures.contour(landscape.random)["data"][0], landscape.random
    assert [[10**value for value in row] for row in found["z"]] == [pytest.approx(row) for row in plane.losses]
    assert found["x"] == found["y"] == list(plane.steps)
    assert figures.surface(plane, (0.1, 40.0))["layout"]["scene"]["zaxis"]["range"] == [0.1, 40.0]


def test_a_raster_puts_each_spike_at_its_step_and_neuron(make_analysis: MakeAnalysis) -> None:
    spikes = make_analysis().spiking
    assert isinstance(spikes, Spikes)
    (trace,) = figures.raster(spikes.layers)["data"]
    filled = {(step, row) for row, cells in enumerate(trace["z"]) for step, cell in enumerate(cells) if cell is not None}
    first, second = spikes.layers
    assert filled == {*first.raster, *((step, neuron + first.neurons) for step, neuron in second.raster)}
    assert {cell for row in trace["z"][12:] for cell in row} == {None, 1}


def test_a_density_breaks_off_where_it_is_nothing(make_analysis: MakeAnalysis) -> None:
    spectrum = make_analysis().hessian
    assert isinstance(spectrum, Spectrum)
    drawn = figures.density_line("density", "#000000", spectrum)["y"]
    assert drawn[20] == spectrum.density[20] == 1.0
    assert drawn[-1] is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 2.0, [0.1, 0.2, 0.5, 1.0, 2.0]), (1e-4, 20.0, [1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0]), (3.0, 4.0, [3.0, 4.0])],
)
def test_ticks_of_a_logarithm(low: float, high: float, expected: list[float]) -> None:
    assert figures.decades(low, high) == pytest.approx(expected)
