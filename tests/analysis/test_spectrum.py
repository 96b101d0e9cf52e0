from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from neurocert.analysis.hessian import Hessian
from neurocert.analysis.spectrum import density, lanczos, least, random_runs, top, trace
from neurocert.models.errors import InputError
from neurocert.models.networks.flex_vgg import FlexVGG

Samples = tuple[Tensor, Tensor]
MakeFlex = Callable[[bool], FlexVGG]


@dataclass
class Matrix:
    """A dense matrix as an operator."""

    entries: Tensor
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def dimension(self) -> int:
        return len(self.entries)

    def __call__(self, vector: Tensor) -> Tensor:
        return self.entries @ vector


def symmetric(n: int, seed: int = 0) -> Matrix:
    entries = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Matrix(entries + entries.T)


def test_as_many_steps_as_dimensions_give_the_whole_spectrum() -> None:
    matrix = symmetric(12)
    values, vectors = torch.linalg.eigh(matrix.entries)
    (run,) = random_runs(matrix, 12, 1, seed=0)
    torch.testing.assert_close(run.values, values.flip(0), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close((run.vectors * vectors.T.flip(0)).sum(1).abs(), torch.ones(12, dtype=torch.float64))
    assert float(run.weights.sum()) == pytest.approx(1.0)
    assert float(run.residuals.max()) < 1e-8


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_residuals_are_residuals_and_ritz_values_stay_below(steps: int) -> None:
    matrix = symmetric(30)
    exact = torch.linalg.eigvalsh(matrix.entries).flip(0)
    for run in random_runs(matrix, steps, 3, seed=1):
        actual = (run.vectors @ matrix.entries - run.values[:, None] * run.vectors).norm(dim=1)
        torch.testing.assert_close(run.residuals, actual, rtol=1e-8, atol=1e-10)
        assert bool((run.values <= exact[:steps] + 1e-12).all())


@pytest.mark.parametrize("spiking", [False, True])
def test_extremes_and_trace_of_a_network_are_those_of_its_dense_hessian(samples: Samples, small_flex: MakeFlex, spiking: bool) -> None:
    hessian = Hessian(small_flex(spiking), *samples)
    matrix = torch.stack([hessian(unit) for unit in torch.eye(hessian.dimension, dtype=torch.float64)])
    exact = torch.linalg.eigvalsh(matrix).flip(0)
    runs = random_runs(hessian, 30, 3, seed=0)
    found = top(runs, 3)
    assert [value.value for value in found] == pytest.approx(exact[:3].tolist(), rel=1e-5)
    assert least(runs).value == pytest.approx(float(exact[-1]), rel=1e-4)
    assert all(value.converged and value.deviation <= 1e-4 * abs(value.value) for value in found)
    estimate = trace(hessian, 200, seed=0)
    spread = math.sqrt(2 * float((matrix - torch.diag(matrix.diagonal())).square().sum()) / 200)
    assert abs(estimate.mean - float(matrix.trace())) < 4 * spread
    assert estimate.standard_error == pytest.approx(spread, rel=0.3)


def test_only_as_many_vectors_as_wanted_are_kept() -> None:
    matrix = symmetric(9)
    (every,), (few,) = random_runs(matrix, 6, 1, seed=0), random_runs(matrix, 6, 1, seed=0, keep=2)
    assert torch.equal(few.values, every.values)
    torch.testing.assert_close(few.vectors, every.vectors[:2])


def test_unfinished_eigenvalues_say_so() -> None:
    matrix = symmetric(200)
    value = top(random_runs(matrix, 4, 3, seed=0), 1)[0]
    assert not value.converged
    assert value.deviation > 0.01
    assert value.residual > 1e-3 * value.value


def test_trace_of_a_diagonal_matrix_is_exact() -> None:
    estimate = trace(Matrix(torch.diag(torch.arange(5.0, dtype=torch.float64))), 7, seed=3)
    assert (estimate.mean, estimate.standard_error, estimate.n) == (10.0, 0.0, 7)


def test_a_complete_krylov_space_ends_the_run() -> None:
    values = torch.tensor([3.0, 3.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    (run,) = random_runs(Matrix(torch.diag(values)), 6, 1, seed=0)
    assert run.values.tolist() == pytest.approx([3.0, 1.0, 0.0], abs=1e-12)
    assert run.weights.tolist() == pytest.approx([2 / 6, 1 / 6, 3 / 6])
    assert float(run.residuals.max()) < 1e-9
    (nothing,) = random_runs(Matrix(torch.zeros(4, 4, dtype=torch.float64)), 3, 1, seed=0)
    assert nothing.values.tolist() == [0.0]


def test_density_over_a_basis_is_the_smoothed_spectrum() -> None:
    matrix = symmetric(9)
    runs = [lanczos(matrix, unit, 9) for unit in torch.eye(9, dtype=torch.float64)]
    found = density(runs, points=1001)
    values = torch.linalg.eigvalsh(matrix.entries)
    grid = torch.tensor(found.grid, dtype=torch.float64)
    normal = torch.exp(-0.5 * ((grid[:, None] - values) / found.width) ** 2) / (found.width * math.sqrt(2 * math.pi))
    torch.testing.assert_close(torch.tensor(found.values, dtype=torch.float64), normal.mean(1), rtol=1e-8, atol=1e-10)
    assert float(torch.trapezoid(torch.tensor(found.values, dtype=torch.float64), grid)) == pytest.approx(1.0, abs=1e-3)


def test_deviation_is_that_between_the_runs() -> None:
    matrix = symmetric(40)
    runs = random_runs(matrix, 10, 2, seed=0)
    both = density(runs, points=51)
    assert len(both.grid) == len(both.deviations) == 51
    assert max(both.deviations) > 0
    assert max(density(runs[:1]).deviations) == 0
    assert both == density(random_runs(matrix, 10, 2, seed=0), points=51)
    assert both != density(random_runs(matrix, 10, 2, seed=1), points=51)


def test_what_cannot_be_used_is_refused() -> None:
    matrix = symmetric(3)
    with pytest.raises(InputError, match="got 0 steps"):
        random_runs(matrix, 0, 1, 0)
    with pytest.raises(InputError, match="runs is 0"):
        random_runs(matrix, 2, 0, 0)
    with pytest.raises(InputError, match="start of norm 0"):
        lanczos(matrix, torch.zeros(3, dtype=torch.float64), 2)
    with pytest.raises(InputError, match="probes is 1"):
        trace(matrix, 1, 0)
    with pytest.raises(InputError, match="not finite"):
        random_runs(Matrix(matrix.entries * math.inf), 2, 1, 0)
