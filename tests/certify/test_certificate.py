"""A certificate cannot say what its own fields do not bear out."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from neurocert.certify.certificate import Certificate, Verdict, Witness
from neurocert.certify.reports.parts import VERDICTS

WITNESS = Witness(torch.zeros(2), -0.5, 1)


def made(verdict: Verdict, lower_bound: float | None = None, witness: Witness | None = None) -> Certificate:
    return Certificate(
        verdict=verdict,
        label=0,
        predicted=0,
        clean_margin=1.0,
        lower_bound=lower_bound,
        method="linear",
        perturbation="L-infinity ball of radius 0.1",
        semantics="static network",
        arithmetic="float32",
        reason=None,
        witness=witness,
        seconds=0.0,
    )


@pytest.mark.parametrize("bound", [None, 0.0, -0.0, -1.0, -math.inf, math.nan])
def test_certified_needs_a_positive_bound(bound: float | None) -> None:
    with pytest.raises(ValueError, match="a certified sample needs a positive lower bound, got"):
        made(Verdict.CERTIFIED, bound)
    assert made(Verdict.UNKNOWN, bound).lower_bound is bound


def test_the_least_positive_bound_is_one() -> None:
    assert made(Verdict.CERTIFIED, math.ulp(0.0)).verdict == "certified"


@pytest.mark.parametrize("verdict", [Verdict.CERTIFIED, Verdict.UNKNOWN, Verdict.MISCLASSIFIED])
def test_a_witness_belongs_to_a_falsified_sample_alone(verdict: Verdict) -> None:
    with pytest.raises(ValueError, match="if and only if it has a witness"):
        made(verdict, 1.0, WITNESS)
    with pytest.raises(ValueError, match="if and only if it has a witness"):
        made(Verdict.FALSIFIED, -1.0)
    assert made(Verdict.FALSIFIED, -1.0, WITNESS).witness is WITNESS


def test_a_certificate_cannot_be_changed_afterwards() -> None:
    certificate = made(Verdict.UNKNOWN, -1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        certificate.verdict = Verdict.CERTIFIED  # type: ignore[misc]
    with pytest.raises(ValueError, match="positive lower bound"):
        dataclasses.replace(certificate, verdict=Verdict.CERTIFIED)


def test_certificates_are_told_apart_by_identity() -> None:
    """Two of them hold tensors: comparing values would be an error, or an answer nobody asked for."""
    first, second = made(Verdict.UNKNOWN), made(Verdict.UNKNOWN)
    assert first != second and len({first, second, first}) == 2


def test_the_four_verdicts_are_words() -> None:
    assert {verdict.value for verdict in Verdict} == set(VERDICTS)
    assert json.dumps(list(Verdict)) == '["certified", "falsified", "unknown", "misclassified"]'
    assert len({verdict.meaning for verdict in Verdict}) == 4
    assert "no point" in Verdict.CERTIFIED.meaning and "replayed" in Verdict.FALSIFIED.meaning
