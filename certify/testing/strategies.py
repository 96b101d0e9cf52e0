"""Hypothesis strategies: semantics of spiking neurons, balls, and tensors that look for trouble. Needs ``hypothesis``."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from neurocert.models.semantics import EulerLeak, FactorLeak, Spiking
from neurocert.perturbations.balls import Ball, L1Ball, L2Ball, LinfBall


def spiking(max_steps: int = 4) -> st.SearchStrategy[Spiking]:
    """Every reset, timing, comparison and kind of leak, with thresholds that currents can tie with."""

    def build(reset: str, value: float, **rest: object) -> Spiking:
        return Spiking(reset=reset, reset_value=value if reset == "hard" else 0.0, encoding="direct", readout="mean", **rest)  # type: ignore[arg-type]

    return st.builds(
        build,
        reset=st.sampled_from(["hard", "soft"]),
        value=st.sampled_from([0.0, 0.25, -0.5]),
        threshold=st.sampled_from([1.0, 0.5, 0.1]),
        comparison=st.sampled_from([">", ">="]),
        reset_timing=st.sampled_from(["in-step", "delayed"]),
        leak=st.sampled_from([FactorLeak(0.5), FactorLeak(1.0), FactorLeak(0.0), FactorLeak(0.9), EulerLeak(1e-3, 4e-3)]),
        time_steps=st.integers(2, max_steps),
    )


def balls() -> st.SearchStrategy[Ball]:
    """All norms; radii from none to wide; with and without an input range."""
    kinds = st.sampled_from([LinfBall, L2Ball, L1Ball])
    radii = st.sampled_from([0.0, 1e-6, 0.01, 0.3, 2.0])
    return st.builds(lambda kind, radius, clip: kind(radius, -1.0, 1.0) if clip else kind(radius), kinds, radii, st.booleans())


def centres(shape: tuple[int, ...], batch: int = 2) -> st.SearchStrategy[Tensor]:
    """(batch, *shape) float32 in [-1, 1]: random numbers, grid points (which tie), or a constant."""

    def build(kind: str, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        points = torch.rand(batch, *shape, generator=generator) * 2 - 1
        if kind == "grid":
            return (points * 4).round() / 4
        return points[:, :1].expand_as(points).clone() if kind == "constant" else points

    return st.builds(build, st.sampled_from(["random", "grid", "constant"]), st.integers(0, 2**16))
