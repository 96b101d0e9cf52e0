"""A study says what was proved, and nothing more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neurocert import certify
from neurocert.analysis.statistics import Proportion, clopper_pearson
from neurocert.certify.errors import ConfigError
from neurocert.certify.reports.snan import figures
from neurocert.certify.reports.snan.page import overview, render
from neurocert.certify.reports.snan.schema import Radii, Study, from_json, to_json
from neurocert.models.data.source import load_samples
from neurocert.models.errors import InputError, RecipeError
from neurocert.models.snan import hybrid_files

EPSILONS = (0.0, 0.0005, 0.02)


@pytest.fixture(scope="module")
def config(hybrid_file: Path) -> certify.StudyConfig:
    return certify.StudyConfig(
        str(hybrid_file),
        samples=24,
        epsilons=EPSILONS,
        enumerated=12,
        budget=8,
        noise=(0.0, 0.2, 0.5),
        single_flips=6,
        smoothed=2,
        draws=20,
    )


@pytest.fixture(scope="module")
def study(config: certify.StudyConfig) -> Study:
    return certify.study(config)


def test_verdicts_agree_with_the_hybrid_and_its_radii(study: Study, hybrid_file: Path) -> None:
    hybrid, data = hybrid_files.load(hybrid_file).hybrid, load_samples("digits").take(range(24))
    right = hybrid(data.inputs) == data.labels
    radii = dict(zip(study.samples, study.radii[0].values, strict=True))
    assert 8 <= int(right.sum()) == study.clean.count
    for outcome in study.outcomes:
        assert (outcome.verdict == "misclassified") == (not right[outcome.sample])
        assert (outcome.by == "invariance") == (bool(right[outcome.sample]) and outcome.epsilon <= radii[outcome.sample])
    assert {outcome.by for outcome in study.outcomes} == {None, "invariance", "enumeration"}


def test_witnesses_lie_in_their_balls_and_break_the_decision(study: Study, hybrid_file: Path) -> None:
    hybrid, data = hybrid_files.load(hybrid_file).hybrid, load_samples("digits")
    broken = [outcome for outcome in study.outcomes if outcome.witness is not None]
    assert broken
    for outcome in broken:
        witness, image = torch.tensor(outcome.witness), data.inputs[outcome.sample]
        assert float((witness.double() - image.double()).abs().max()) <= outcome.epsilon
        assert int(hybrid(witness[None])[0]) != int(data.labels[outcome.sample])


def test_only_the_first_samples_are_enumerated(study: Study) -> None:
    assert max(outcome.runs for outcome in study.outcomes if outcome.sample < 12) > 1
    assert max(outcome.runs for outcome in study.outcomes if outcome.sample >= 12) == 1


def test_summaries_count_every_sample_once(study: Study) -> None:
    for summary in study.summaries:
        counts = [getattr(summary, name).count for name in ("certified", "unknown", "falsified", "misclassified")]
        assert sum(counts) == 24 and summary.by_invariance.count <= summary.certified.count


def test_nothing_is_left_under_full_noise(study: Study) -> None:
    assert study.levels[0].correct == study.clean
    assert study.levels[-1].correct.count < study.levels[0].correct.count
    assert study.levels[0].clusters is not None and study.levels[0].clusters.shift == 0.0
    assert study.levels[-1].clusters is not None and study.levels[-1].clusters.shift > 0.0


def test_a_study_survives_its_json(study: Study) -> None:
    assert from_json(to_json([study])) == (study,)
    with pytest.raises(InputError, match=r"expected what this package writes into snan\.json"):
        from_json("{}")


def test_the_page_shows_everything_and_escapes_names(study: Study) -> None:
    network = study.network.model_copy(update={"name": "<script>alert(1)</script>"})
    page = render([study.model_copy(update={"network": network}), study])
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    for title in ("Invariance radii", "Calcium after ten pulses", "Spikes of one presentation", "Embeddings", "impulse noise"):
        assert title in page
    assert page.count('<img src="data:image/png') == 2 * 5 * len(study.pictures)


def test_axes_say_radii_and_flips_as_people_write_them(study: Study) -> None:
    curve = figures.verdict_curves(study.model_copy(update={"summaries": study.summaries[1:]}))
    assert curve["layout"]["xaxis"]["ticktext"] == ["0.0005", "0.02"]
    radii = [Radii(norm="linf", values=(2e-5, 3e-4, 0.004)), Radii(norm="l2", values=(3e-5, 4e-4, 0.005))]
    histogram = figures.radius_histogram(radii)
    assert histogram["layout"]["xaxis"]["ticktext"] == ["0.0001", "0.001"] and [t["name"] for t in histogram["data"]] == ["L∞", "L2"]
    assert figures.radius_histogram([Radii(norm="linf", values=(3e-4,))])["layout"]["xaxis"]["ticktext"] == ["0.0003"]
    assert study.smoothing is not None
    assert figures.smoothing_curve(study.smoothing)["layout"]["xaxis"]["dtick"] == 1


def test_the_risk_of_smoothing_is_shared_among_the_samples(study: Study) -> None:
    assert study.smoothing is not None and len(study.smoothing.samples) == 2
    assert (study.smoothing.flip, study.smoothing.draws, study.smoothing.risk) == (0.1, 20, 0.001)
    assert "bound at 0.9995, so that all hold with probability 0.999." in study.smoothing.description
    for row in study.smoothing.samples:
        assert row.probability == clopper_pearson(row.successes, 20, 1 - 2 * 0.0005)[0]


def test_the_comparison_counts_what_smoothing_certifies(study: Study) -> None:
    assert study.smoothing is not None
    right = sum(row.predicted == row.label and row.flips >= 1 for row in study.smoothing.samples)
    plain = study.model_copy(update={"smoothing": None})
    rows = {row[0]: row[1:] for row in overview([study, plain])}
    assert rows["smoothed, certified, any one pixel inverted"] == (str(Proportion(right, 2)), "not tried")
    assert "smoothed" not in str(overview([plain]))


def test_single_flips_are_what_the_hybrid_decides_of_each(study: Study, hybrid_file: Path) -> None:
    hybrid, data = hybrid_files.load(hybrid_file).hybrid, load_samples("digits").take(range(6))
    binary, unperturbed = hybrid.preprocessor.binarise(data.inputs), hybrid(data.inputs)
    assert [row.sample for row in study.single_flips] == list(range(6))
    for image, label, decided, row in zip(binary, data.labels, unperturbed, study.single_flips, strict=True):
        decisions = [int(hybrid.decide((image ^ one)[None])[0]) for one in np.eye(len(image), dtype=bool)]
        breaking = tuple(pixel for pixel, decision in enumerate(decisions) if decision != int(label))
        assert (row.pixels, row.breaking) == ((len(image), breaking) if decided == label else (0, ()))
        assert row.certified == (bool(decided == label) and not breaking)
    assert {row.certified for row in study.single_flips} == {True, False}


def test_the_page_counts_single_flips_where_they_were_tried(study: Study) -> None:
    proved = sum(row.certified for row in study.single_flips)
    rows = {row[0]: row[1:] for row in overview([study, study.model_copy(update={"single_flips": ()})])}
    assert rows["certified, any one pixel inverted"] == (str(Proportion(proved, 6)), "not tried")
    assert "One pixel inverted" in render([study])
    untried = study.model_copy(update={"single_flips": ()})
    assert "One pixel inverted" not in render([untried])
    assert "certified, any one pixel inverted" not in [row[0] for row in overview([untried])]


def test_the_control_has_the_same_radii_and_no_spikes(config: certify.StudyConfig, study: Study, control_file: Path) -> None:
    control = certify.study(certify.StudyConfig(str(control_file), samples=24, epsilons=EPSILONS, smoothed=0))
    assert control.radii == study.radii and control.trace is None and control.smoothing is None
    assert not control.spiking and study.trace is not None


def test_one_sample_is_enough(hybrid_file: Path) -> None:
    alone = certify.study(certify.StudyConfig(str(hybrid_file), samples=1, enumerated=0, noise=(0.0, 0.2), smoothed=0))
    assert alone.levels[0].clusters is None and len(render([alone])) > 10**6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise": (0.0, 1.5)}, "expected shares of pixels in"),
        ({"noise": (0.1, 0.2)}, "expected levels that increase from 0"),
        ({"noise": (0.0, float("nan"))}, "expected shares of pixels in"),
        ({"shown_noise": 0.15}, "shown noise is 0.15, expected one of"),
        ({"epsilons": (0.2, 0.1)}, "expected increasing radii"),
        ({"epsilons": (-0.1,)}, "expected finite numbers >= 0"),
        ({"budget": 17}, "budget is 17, expected 0 to 16 pixels"),
        ({"smoothed": -1}, "enumerate, single flips and smooth: got 10, 0 and -1"),
        ({"flip": 0.5}, "flip is 0.5, expected a probability"),
        ({"few_shots": (1,)}, "give both a recipe and numbers of images"),
        ({"recipe": "digits-snan", "few_shots": (0,)}, "expected whole numbers >= 1"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        certify.StudyConfig("absent", **fields)  # pyright: ignore[reportArgumentType]


def test_few_shots_need_a_hybrid_recipe(hybrid_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe digits-flex-ann has no table \[snan\]"):
        certify.study(certify.StudyConfig(str(hybrid_file), recipe="digits-flex-ann", few_shots=(1,)))


def test_more_shots_than_there_are_images_are_refused_before_anything_is_computed(hybrid_file: Path) -> None:
    steps: list[str] = []
    config = certify.StudyConfig(str(hybrid_file), recipe="digits-snan", few_shots=(1, 1000))
    with pytest.raises(InputError, match="got 1000 samples for each class, expected 1 to "):
        certify.study(config, lambda text, done, of: steps.append(text))
    assert steps == []
