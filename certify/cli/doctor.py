"""``certify doctor``."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec

import torch
from rich import box
from rich.table import Table

from neurocert.certify.cli.console import answer, progress, write
from neurocert.certify.errors import NumericalFailure
from neurocert.certify.self_test import self_test

EXTRAS = {"auto_LiRPA": "another prover, to compare with", "torchattacks": "more attacks", "pyhessian": "Hessian spectra"}
SMALLEST = 2.0**-1074


@dataclass(frozen=True)
class Finding:
    """One line of the examination; ``healthy`` is None where it is only information."""

    name: str
    value: str
    healthy: bool | None
    remark: str


def doctor(*, as_json: bool) -> bool:
    """Prints the findings; whether nothing is wrong."""
    with progress() as step:
        step("testing soundness", 0, 1)
        findings = examine()
    if as_json:
        write(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        answer(_table(findings))
    return all(finding.healthy is not False for finding in findings)


def examine() -> list[Finding]:
    """Everything that decides whether results here can be trusted, or how long they take."""
    return [
        Finding("neurocert", version("neurocert"), None, ""),
        Finding("Python", platform.python_version(), None, platform.platform()),
        Finding("torch", torch.__version__, None, "CUDA" if torch.cuda.is_available() else "CPU only"),
        Finding("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores", None, "set OMP_NUM_THREADS to change it"),
        _flush_to_zero(),
        _reduced_precision(),
        *(_extra(name, use) for name, use in EXTRAS.items()),
        _soundness(),
    ]


def _flush_to_zero() -> Finding:
    flushed = bool((torch.full((2,), SMALLEST, dtype=torch.float64) * 1.0 == 0).any())
    return Finding("flush to zero", "on" if flushed else "off", None, "certificates hold either way")


def _reduced_precision() -> Finding:
    precision, tf32 = torch.get_float32_matmul_precision(), bool(torch.backends.cudnn.allow_tf32) and torch.cuda.is_available()
    healthy = precision == "highest" and not tf32
    advice = "no certificate covers it: torch.set_float32_matmul_precision('highest'), torch.backends.cudnn.allow_tf32 = False"
    return Finding("TF32", "off" if healthy else f"on (float32 products: {precision})", healthy, "" if healthy else advice)


def _extra(name: str, use: str) -> Finding:
    return Finding(name, "present" if find_spec(name) else "absent", None, f"optional: {use}")


def _soundness() -> Finding:
    try:
        result = self_test()
    except NumericalFailure as failure:
        return Finding("soundness", "failed", False, str(failure))
    return Finding(
        "soundness",
        f"{result.violations} violations",
        result.violations == 0,
        f"{result.comparisons:,} comparisons in {result.seconds:.1f} s",
    )


def _table(findings: list[Finding]) -> Table:
    grid = Table("check", "found", "", "remark", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for finding in findings:
        grid.add_row(finding.name, finding.value, {True: "ok", False: "WRONG", None: ""}[finding.healthy], finding.remark)
    return grid
