"""Studies as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from neurocert.analysis.statistics import Proportion
from neurocert.certify.reports.documents import ReportFiles, template, write_files
from neurocert.certify.reports.figures import COLOURS, Figure
from neurocert.certify.reports.images import picture
from neurocert.certify.reports.parts import VERDICTS, Share
from neurocert.certify.reports.snan import figures
from neurocert.certify.reports.snan.schema import STEM, Pictures, Study, to_json


@dataclass(frozen=True)
class Plot:
    """One figure."""

    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Strip:
    """One sample's pictures as data URIs, each with its name."""

    title: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """What the page shows of one hybrid."""

    study: Study
    claim: str
    strips: tuple[Strip, ...]
    plots: tuple[Plot, ...]


def overview(studies: Sequence[Study]) -> tuple[tuple[str, ...], ...]:
    """A table, its head first: what is measured, and a column for each hybrid."""
    rows = [("", *(study.network.name for study in studies))]
    rows.append(("maps from", *("SNAN" if study.spiking else "resampling alone" for study in studies)))
    for position, summary in enumerate(studies[0].summaries):
        rows.append((f"certified, radius {summary.epsilon:g}", *(str(s.summaries[position].certified.proportion) for s in studies)))
    if any(study.single_flips for study in studies):
        rows.append(("certified, any one pixel inverted", *map(_single_flips, studies)))
    if any(study.smoothing for study in studies):
        rows.append(("smoothed, certified, any one pixel inverted", *map(_smoothed, studies)))
    for position, level in enumerate(studies[0].levels):
        rows.append((f"right, noise {level.noise:g}", *(str(s.levels[position].correct.proportion) for s in studies)))
    return tuple(rows)


def render(studies: Sequence[Study]) -> str:
    """One page; several hybrids are compared first. Every text of a study is escaped."""
    curves = Plot("Accuracy under impulse noise", "Bars are 95 % intervals (Clopper-Pearson).", figures.noise_curves(studies))
    return template(STEM).render(
        sections=[_section(study) for study in studies],
        overview=overview(studies),
        curves=curves,
        plotly=get_plotlyjs(),
        verdicts=VERDICTS,
        colours=COLOURS,
    )


def write_studies(directory: str | Path, studies: Sequence[Study]) -> ReportFiles:
    """Writes ``snan.html`` and ``snan.json`` into ``directory``, which is created; older ones are replaced.

    Args:
        studies: at least one, with the same radii and noise levels.

    Raises:
        InputError: see ``write_files``.
    """
    return write_files(directory, STEM, render(studies), to_json(studies))


def _section(study: Study) -> Section:
    return Section(study, _claim(study), tuple(_strip(pictures, study.shown_noise) for pictures in study.pictures), tuple(_plots(study)))


def _claim(study: Study) -> str:
    """The largest radius at which anything is certified, in a sentence."""
    proved = [summary for summary in study.summaries if summary.certified.count]
    if not proved:
        return f"No decision is proved to stay within the least radius asked for, {study.summaries[0].epsilon:g}."
    last = proved[-1]
    return f"Within an L∞ radius of {last.epsilon:g}, {_words(last.certified)} of the {study.data.noun} are proved to be decided rightly."


def _single_flips(study: Study) -> str:
    tried = study.single_flips
    return str(Proportion(sum(row.certified for row in tried), len(tried))) if tried else "not tried"


def _smoothed(study: Study) -> str:
    return "not tried" if study.smoothing is None else str(study.smoothing.certified[1].proportion)


def _words(share: Share) -> str:
    return str(share.proportion)


def _strip(pictures: Pictures, noise: float) -> Strip:
    shown = (
        ("image", pictures.image),
        ("binary", pictures.binary),
        ("map", pictures.map),
        (f"noise {noise:g}", pictures.noisy_binary),
        ("its map", pictures.noisy_map),
    )
    return Strip(f"sample {pictures.sample}, a {pictures.label}", tuple((name, picture(image, 0.0, 1.0)) for name, image in shown))


def _plots(study: Study) -> list[Plot]:
    moved = "spike" if study.spiking else "pixel"
    about = f"Within its radius no change moves a single {moved}, nor the decision."
    plots = [
        Plot("Invariance radii", about, figures.radius_histogram(study.radii)),
        Plot("Certified decisions", "Enumeration was tried for some of the samples only.", figures.verdict_curves(study)),
        Plot(
            "Embeddings",
            f"Open circles: the same samples at noise {study.shown_noise:g}.",
            figures.cluster_cloud(study.clouds, study.network.classes),
        ),
    ]
    if study.smoothing:
        plots.append(Plot("Decisions smoothed over flips", study.smoothing.description, figures.smoothing_curve(study.smoothing)))
    if study.few_shots:
        plots.append(
            Plot("Few shots", "Spiking network and classifier have seen these only.", figures.few_shots(study.few_shots, study.shown_noise))
        )
    if study.trace:
        trace = study.trace
        limits = f"calcium below {trace.limit:.3g} and IP3 below {trace.ip3_limit:.3g} µM"
        about = f"Sample {trace.sample}, from astrocytes at their initial values. The equations keep {limits} for any input."
        plots += [
            Plot(
                "Spikes of one presentation",
                f"Sample {trace.sample}; {trace.neurons} neurons of the excitatory layer.",
                figures.raster(trace),
            ),
            Plot("Calcium after ten pulses", about, figures.calcium(trace)),
        ]
    return plots
