"""Robustness certificates for neuromorphic and hybrid networks. Names are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurocert.certify.analyser import analyse
    from neurocert.certify.api import attack, load, verify
    from neurocert.certify.certificate import Certificate, Verdict, Witness
    from neurocert.certify.config import RunConfig
    from neurocert.certify.reports.analysis.config import AnalysisConfig
    from neurocert.certify.reports.schema import Report
    from neurocert.certify.reports.snan.config import StudyConfig
    from neurocert.certify.runner import run
    from neurocert.certify.sensitivity import sensitivity_bounds
    from neurocert.certify.snan_study import study
    from neurocert.perturbations.balls import L1Ball, L2Ball, LinfBall
    from neurocert.perturbations.boxes import Box, WeightedLinfBall
    from neurocert.perturbations.drift import SharedDrift
    from neurocert.perturbations.flips import Flips
    from neurocert.perturbations.weights import WeightBox

_HOMES = {
    "AnalysisConfig": "neurocert.certify.reports.analysis.config",
    "Box": "neurocert.perturbations.boxes",
    "Certificate": "neurocert.certify.certificate",
    "Flips": "neurocert.perturbations.flips",
    "L1Ball": "neurocert.perturbations.balls",
    "L2Ball": "neurocert.perturbations.balls",
    "LinfBall": "neurocert.perturbations.balls",
    "Report": "neurocert.certify.reports.schema",
    "RunConfig": "neurocert.certify.config",
    "SharedDrift": "neurocert.perturbations.drift",
    "StudyConfig": "neurocert.certify.reports.snan.config",
    "Verdict": "neurocert.certify.certificate",
    "WeightBox": "neurocert.perturbations.weights",
    "WeightedLinfBall": "neurocert.perturbations.boxes",
    "Witness": "neurocert.certify.certificate",
    "analyse": "neurocert.certify.analyser",
    "attack": "neurocert.certify.api",
    "load": "neurocert.certify.api",
    "run": "neurocert.certify.runner",
    "sensitivity_bounds": "neurocert.certify.sensitivity",
    "study": "neurocert.certify.snan_study",
    "verify": "neurocert.certify.api",
}

__all__ = [
    "AnalysisConfig",
    "Box",
    "Certificate",
    "Flips",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "Report",
    "RunConfig",
    "SharedDrift",
    "StudyConfig",
    "Verdict",
    "WeightBox",
    "WeightedLinfBall",
    "Witness",
    "analyse",
    "attack",
    "load",
    "run",
    "sensitivity_bounds",
    "study",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
