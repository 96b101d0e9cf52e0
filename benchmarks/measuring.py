"""Timing, and where and with what a measurement was made."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def timed(function: Callable[[], Result], repeats: int = 1) -> tuple[Result, float]:
    """The result of the last of several calls, and the seconds of the fastest."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begun)
    return result, round(min(seconds), 4)


def surroundings() -> dict[str, Any]:
    """Machine, versions and threads; one process."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("neurocert", "torch", "numpy", "auto_LiRPA")},
    }


def in_words(machine: dict[str, Any]) -> str:
    """What ``surroundings`` found, in a phrase."""
    versions = machine["versions"]
    return f"{machine['processor']}, {machine['threads']} thread, load {machine['load']}, torch {versions['torch']}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
