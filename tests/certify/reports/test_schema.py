from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from neurocert.certify.reports.schema import DISTANCES, Report, from_json, to_json
from neurocert.models.errors import InputError

MakeReport = Callable[..., Report]
Plain = dict[str, Any]


def plain(report: Report) -> Plain:
    return json.loads(report.model_dump_json())


def refused(document: Plain, match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        Report.model_validate_json(json.dumps(document))


def row(document: Plain, verdict: str) -> Plain:
    return next(outcome for outcome in document["outcomes"] if outcome["verdict"] == verdict)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_json_round_trip(make_report: MakeReport, norm: str) -> None:
    reports = (make_report(norm=norm), make_report(norm=norm, seed=1, attacks=False))
    assert from_json(to_json(reports)) == reports
    assert from_json(to_json(reports).encode()) == reports


def test_json_is_one_document_with_a_version(make_report: MakeReport) -> None:
    document = json.loads(to_json([make_report()]), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert list(document) == ["schema_version", "reports"]
    assert document["schema_version"] == 1


@pytest.mark.parametrize("version", [2, 0, -1])
def test_other_versions_are_refused_by_name(make_report: MakeReport, version: int) -> None:
    document = json.loads(to_json([make_report()])) | {"schema_version": version}
    with pytest.raises(InputError, match=f"schema_version is {version}, expected 1"):
        from_json(json.dumps(document))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "{", "null", '{"schema_version": true}', '{"schema_version": 1, "reports": []}', "[" * 10_000, "\udce9"],
)
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="report"):
        from_json(text)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        from_json(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(make_report: MakeReport, value: float) -> None:
    document = plain(make_report())
    document["outcomes"][0]["bounds"]["linear"] = value
    refused(document, "finite")


def test_certified_with_a_successful_attack_is_refused(make_report: MakeReport) -> None:
    document = plain(make_report())
    row(document, "certified")["attacks"]["pgd"] = 0.0
    refused(document, "proved by a bound of .* and broken by an attack")


def test_falsified_sample_with_a_positive_bound_is_refused(make_report: MakeReport) -> None:
    document = plain(make_report())
    row(document, "falsified")["bounds"]["interval"] = 0.1
    refused(document, "proved by a bound of 0.1 and broken by an attack")


@pytest.mark.parametrize(
    ("found", "claimed"),
    [("unknown", "certified"), ("certified", "unknown"), ("falsified", "unknown"), ("misclassified", "unknown")],
)
def test_verdict_other_than_the_rows_say_is_refused(make_report: MakeReport, found: str, claimed: str) -> None:
    document = plain(make_report(n=50))
    row(document, found)["verdict"] = claimed
    refused(document, f"verdict {claimed}, but its bounds and attacks say {found}")


@pytest.mark.parametrize("count", ["certified", "unknown", "falsified", "unbroken"])
def test_summary_that_does_not_count_its_rows_is_refused(make_report: MakeReport, count: str) -> None:
    document = plain(make_report())
    summaries = document["summaries"]
    other = next(s[count] for s in summaries if s[count]["count"] != summaries[0][count]["count"])
    summaries[0][count] = other
    refused(document, "summary at epsilon 0.005 does not count")


def test_clean_and_certified_by_are_checked_too(make_report: MakeReport) -> None:
    document = plain(make_report())
    document["clean"] = document["summaries"][0]["falsified"]
    refused(document, "clean is")
    document = plain(make_report())
    document["summaries"][0]["certified_by"]["interval"] = document["summaries"][2]["certified_by"]["interval"]
    refused(document, "summary at epsilon 0.005 does not count")


def test_rows_must_be_complete(make_report: MakeReport) -> None:
    document = plain(make_report())
    dropped = document["outcomes"].pop()
    refused(document, "one outcome for each sample and epsilon")
    document["outcomes"] += [dropped, dropped]
    refused(document, "one outcome for each sample and epsilon")
    document = plain(make_report())
    document["samples"].append(document["samples"][0])
    refused(document, "a sample occurs twice")
    document = plain(make_report())
    document["data"]["size"] = 1000
    refused(document, "sample 1023 of a data set of 1000")


def test_names_must_be_declared(make_report: MakeReport) -> None:
    document = plain(make_report())
    document["outcomes"][0]["bounds"]["magic"] = -1.0
    refused(document, "bounds of .*magic")
    document = plain(make_report())
    document["outcomes"][0]["attacks"] = {}
    refused(document, r"attacks \[\], expected")
    document = plain(make_report())
    document["network"]["classes"] = ["a", "b"]
    refused(document, "class 9 of 2")


def witness_of(document: Plain) -> tuple[Plain, Plain, Plain]:
    """A falsified outcome, its witness and its sample."""
    outcome = row(document, "falsified")
    sample = next(sample for sample in document["samples"] if sample["index"] == outcome["sample"])
    return outcome, document["witnesses"][outcome["witness"]], sample


def test_witness_must_be_in_the_ball_without_tolerance(make_report: MakeReport) -> None:
    document = plain(make_report())
    outcome, witness, sample = witness_of(document)
    sample["input"][0][0][0], witness["input"][0][0][0] = 0.0, outcome["epsilon"]
    Report.model_validate_json(json.dumps(document))
    witness["input"][0][0][0] = outcome["epsilon"] * (1 + 2**-50)
    refused(document, f"witness at a distance of {witness['input'][0][0][0]}")


def test_euclidean_witness_must_be_in_the_ball(make_report: MakeReport) -> None:
    document = plain(make_report(norm="l2"))
    outcome, witness, sample = witness_of(document)
    witness["input"] = [[list(row) for row in sample["input"][0]]]
    for column in range(2):  # each pixel moves by less than epsilon, both together by more
        sample["input"][0][0][column], witness["input"][0][0][column] = 0.5, 0.5 + 0.8 * outcome["epsilon"]
    refused(document, "witness at a distance")


def test_taxicab_witness_must_be_in_the_ball_without_tolerance(make_report: MakeReport) -> None:
    document = plain(make_report(norm="l1"))
    outcome, witness, sample = witness_of(document)
    witness["input"] = [[list(row) for row in sample["input"][0]]]
    for column, share in enumerate((0.5, 0.5)):
        sample["input"][0][0][column], witness["input"][0][0][column] = 0.0, share * outcome["epsilon"]
    Report.model_validate_json(json.dumps(document))
    sample["input"][0][0][2], witness["input"][0][0][2] = 0.0, 2.0**-80  # lost in a floating-point sum
    refused(document, "witness at a distance")


def test_flips_are_counted_and_nothing_else_is_a_flip() -> None:
    distance = DISTANCES["flips"]
    assert [distance(point, [0.0, 1.0, 1.0]) for point in ([0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0])] == [0, 2, 3]
    assert distance([0.0, 1.0, 0.999], [0.0, 1.0, 1.0]) == math.inf


def test_witness_with_other_weights_needs_a_tolerance(make_report: MakeReport) -> None:
    document = plain(make_report())
    _, witness, _ = witness_of(document)
    witness["weights"] = {"readout.weight": "gA=="}
    refused(document, "a witness with other weights, which are as stored")
    document["perturbation"]["weights"] = {"relative": 0.1, "absolute": 0.0, "names": ["*"], "description": "every weight"}
    Report.model_validate_json(json.dumps(document))
    witness["weights"] = {"readout.weight": "?"}
    refused(document, "weights")


def test_witness_must_be_in_the_input_range(make_report: MakeReport) -> None:
    document = plain(make_report())
    _, witness, sample = witness_of(document)
    sample["input"][0][0][0], witness["input"][0][0][0] = 0.0, -0.001
    refused(document, r"leaves the input range \[0, 1\]")


def test_witness_must_be_there_and_comparable(make_report: MakeReport) -> None:
    document = plain(make_report())
    outcome, witness, sample = witness_of(document)
    outcome["witness"] = None
    refused(document, "expected a witness exactly where falsified")
    outcome["witness"] = 10_000
    refused(document, "witness 10000 of")
    document = plain(make_report())
    _, witness, sample = witness_of(document)
    witness["input"][0].pop()
    refused(document, "witness of shape")
    sample["input"] = None
    refused(document, "without the unchanged input")


def test_unknown_and_missing_fields_are_refused(make_report: MakeReport) -> None:
    document = plain(make_report())
    refused(document | {"extra": 1}, "extra")
    refused({name: value for name, value in document.items() if name != "command"}, "command")


def test_rows_pair_each_sample_with_its_outcome(make_report: MakeReport) -> None:
    report = make_report()
    for epsilon in report.perturbation.epsilons:
        rows = report.rows(epsilon)
        assert [sample for sample, _ in rows] == list(report.samples)
        assert all(outcome.sample == sample.index and outcome.epsilon == epsilon for sample, outcome in rows)
