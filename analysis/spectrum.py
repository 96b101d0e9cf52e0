"""Eigenvalues, trace and spectral density of a symmetric matrix that is known only by its products with vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Protocol

import torch
from torch import Tensor

from neurocert.models.errors import InputError

BREAKDOWN = 1e-10
"""Relative to the matrix: a residual below it is rounding, and the Krylov space is complete."""
TOLERANCE = 1e-3


class Operator(Protocol):
    """A symmetric matrix (n, n) as its product with a vector."""

    dimension: int
    dtype: torch.dtype
    device: torch.device

    def __call__(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        ...


@dataclass(frozen=True)
class Krylov:
    """What m steps of Lanczos from one start vector know of a matrix.

    Attributes:
        values: (m,) Ritz values, descending; the k-th is never above the k-th largest eigenvalue.
        weights: (m,) squared components of the start vector along the Ritz vectors; they sum to 1.
        residuals: (m,) |A u - theta u| of each unit Ritz vector, not below rounding; an eigenvalue lies within that of theta.
        vectors: unit Ritz vectors as rows, those of the first values that were to be kept.
    """

    values: Tensor
    weights: Tensor
    residuals: Tensor
    vectors: Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` random draws, with its standard error."""

    mean: float
    standard_error: float
    n: int


@dataclass(frozen=True)
class Eigenvalue:
    """An extreme eigenvalue as the runs saw it.

    Attributes:
        value: the best of the runs.
        residual: |A u - value u| of its unit vector u; an eigenvalue lies within that.
        deviation: standard deviation over the runs; 0 for a single one.
        converged: whether the residual is at most ``TOLERANCE`` of the largest magnitude.
    """

    value: float
    residual: float
    deviation: float
    converged: bool


@dataclass(frozen=True)
class Density:
    """A spectral density, smoothed by a Gaussian; it integrates to 1.

    Attributes:
        grid: where it is evaluated, increasing.
        values: mean over the runs.
        deviations: standard deviation over the runs, at each point of the grid.
        width: standard deviation of the Gaussian.
    """

    grid: tuple[float, ...]
    values: tuple[float, ...]
    deviations: tuple[float, ...]
    width: float


def lanczos(operator: Operator, start: Tensor, steps: int, keep: int | None = None) -> Krylov:
    """At most ``steps`` steps of Lanczos with full reorthogonalisation; fewer where the Krylov space is complete.

    An eigenvalue is found once, however often the matrix has it. Memory: ``steps`` vectors.
    Source: Golub and Van Loan, Matrix Computations, section 10.1.

    Args:
        start: (n,), not 0.
        keep: how many Ritz vectors are made; None for all.

    Raises:
        InputError: no step, a zero start, or a product that is not finite.
    """
    if steps < 1 or not float(start.norm()) > 0:
        raise InputError(f"Lanczos: got {steps} steps from a start of norm {float(start.norm()):g}, expected both positive")
    basis, alphas, betas = [start / start.norm()], [], []
    for _ in range(min(steps, operator.dimension)):
        residual = operator(basis[-1])
        if not bool(torch.isfinite(residual).all()):
            raise InputError("Lanczos: a product of the matrix with a vector is not finite")
        alphas.append(float(residual @ basis[-1]))
        known = torch.stack(basis)
        for _ in range(2):
            residual = residual - known.T @ (known @ residual)
        betas.append(float(residual.norm()))
        if betas[-1] <= BREAKDOWN * max(map(abs, alphas + betas)):
            betas[-1] = 0.0
            break
        basis.append(residual / betas[-1])
    return _ritz(alphas, betas, torch.stack(basis[: len(alphas)]), keep)


def random_runs(operator: Operator, steps: int, runs: int, seed: int, keep: int | None = None) -> tuple[Krylov, ...]:
    """Lanczos from ``runs`` random vectors of signs; see there.

    Raises:
        InputError: no run; see ``lanczos``.
    """
    if runs < 1:
        raise InputError(f"runs is {runs}, expected at least 1")
    return tuple(lanczos(operator, start, steps, keep) for start in signs(operator, runs, seed))


def top(runs: Sequence[Krylov], count: int) -> tuple[Eigenvalue, ...]:
    """The ``count`` largest eigenvalues, descending; fewer where a run has fewer."""
    return tuple(_eigenvalue(runs, position) for position in range(min(count, *(len(run.values) for run in runs))))


def least(runs: Sequence[Krylov]) -> Eigenvalue:
    """The least eigenvalue: the most negative where there are negative ones."""
    return _eigenvalue(runs, -1)


def trace(operator: Operator, probes: int, seed: int) -> Estimate:
    """Hutchinson's estimate: the mean of z^T A z over random vectors z of signs; its variance is 2 sum_{i != j} A_ij^2.

    Source: Hutchinson, Communications in Statistics 19 (1990).

    Raises:
        InputError: fewer than 2 probes, which have no standard error.
    """
    if probes < 2:
        raise InputError(f"probes is {probes}, expected at least 2, for one has no standard error")
    values = [float(z @ operator(z)) for z in signs(operator, probes, seed)]
    return Estimate(fmean(values), stdev(values) / math.sqrt(probes), probes)


def density(runs: Sequence[Krylov], points: int = 401, relative_width: float = 0.01) -> Density:
    """Stochastic Lanczos quadrature: each run is the measure of its weights at its Ritz values, convolved with a Gaussian.

    Source: Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38 (2017); Ghorbani, Krishnan and Xiao, ICML 2019.

    Args:
        points: of the grid, which exceeds the Ritz values by four widths at both ends.
        relative_width: of the Gaussian, as a share of the range of the Ritz values.
    """
    low, high = min(float(run.values[-1]) for run in runs), max(float(run.values[0]) for run in runs)
    width = relative_width * ((high - low) or max(abs(high), 1.0))
    grid = torch.linspace(low - 4 * width, high + 4 * width, points, dtype=torch.float64)
    each = torch.stack([_smoothed(run, grid, width) for run in runs])
    deviations = each.std(0) if len(runs) > 1 else torch.zeros_like(grid)
    return Density(tuple(grid.tolist()), tuple(each.mean(0).tolist()), tuple(deviations.tolist()), width)


def signs(operator: Operator, count: int, seed: int) -> Tensor:
    """(count, n) of random signs, the same for the same seed on every device."""
    drawn = torch.randint(0, 2, (count, operator.dimension), generator=torch.Generator().manual_seed(seed))
    return (2 * drawn - 1).to(operator.device, operator.dtype)


def _ritz(alphas: list[float], betas: list[float], basis: Tensor, keep: int | None) -> Krylov:
    """Eigenpairs of the tridiagonal matrix, taken back to the space of ``basis`` (m, n)."""
    off = torch.tensor(betas[:-1], dtype=torch.float64)
    tridiagonal = torch.diag(torch.tensor(alphas, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    values, mixing = (part.flip(-1) for part in torch.linalg.eigh(tridiagonal))
    rounding = torch.finfo(torch.float64).eps * values.abs().max()
    return Krylov(values, mixing[0] ** 2, abs(betas[-1] * mixing[-1]) + rounding, mixing.T[:keep].to(basis) @ basis)


def _eigenvalue(runs: Sequence[Krylov], position: int) -> Eigenvalue:
    values = [float(run.values[position]) for run in runs]
    best = (max if position >= 0 else min)(range(len(runs)), key=values.__getitem__)
    residual = float(runs[best].residuals[position])
    largest = max(float(run.values.abs().max()) for run in runs)
    return Eigenvalue(values[best], residual, stdev(values) if len(values) > 1 else 0.0, residual <= TOLERANCE * largest)


def _smoothed(run: Krylov, grid: Tensor, width: float) -> Tensor:
    distance = (grid[:, None] - run.values) / width
    return torch.exp(-0.5 * distance**2) @ run.weights / (width * math.sqrt(2 * math.pi))
