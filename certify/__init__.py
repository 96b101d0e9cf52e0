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
    from neurocert.certify.runner import run
    from neurocert.perturbations.balls import L1Ball, L2Ball, LinfBall
    from neurocert.perturbations.weights import WeightBox

_HOMES = {
    "AnalysisConfig": "neurocert.certify.reports.analysis.config",
    "Certificate": "neurocert.certify.certificate",
    "L1Ball": "neurocert.perturbations.balls",
    "L2Ball": "neurocert.perturbations.balls",
    "LinfBall": "neurocert.perturbations.balls",
    "Report": "neurocert.certify.reports.schema",
    "RunConfig": "neurocert.certify.config",
    "Verdict": "neurocert.certify.certificate",
    "WeightBox": "neurocert.perturbations.weights",
    "Witness": "neurocert.certify.certificate",
    "analyse": "neurocert.certify.analyser",
    "attack": "neurocert.certify.api",
    "load": "neurocert.certify.api",
    "run": "neurocert.certify.runner",
    "verify": "neurocert.certify.api",
}

__all__ = [
    "AnalysisConfig",
    "Certificate",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "Report",
    "RunConfig",
    "Verdict",
    "WeightBox",
    "Witness",
    "analyse",
    "attack",
    "load",
    "run",
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
