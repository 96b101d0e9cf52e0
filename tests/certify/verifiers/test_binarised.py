"""Nothing changes inside an invariance radius, and something can change right outside it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from neurocert.certify.certificate import Verdict
from neurocert.certify.errors import InputError
from neurocert.certify.verifiers.binarised import Norm, enumerate_undecided, invariance
from neurocert.models.snan.connectivity import Link
from neurocert.models.snan.network import create
from neurocert.models.snan.preprocessor import THRESHOLD, Preprocessor, enlarge
from neurocert.models.snan.settings import Settings

SETTINGS = Settings(
    excitatory=13, inhibitory=4, excitatory_links=Link(9, 3.0), interneuron_links=Link(2, 2.0), inhibitory_links=Link(9, 9.0)
)
PREPROCESSOR = Preprocessor(create(SETTINGS, 0), 5)
NORMS: tuple[Norm, ...] = ("linf", "l2")
DRAWS = 10_000


def images(count: int, seed: int = 0) -> Tensor:
    """Blank, full and grey pixels, as in a digit."""
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.rand(count, 1, 5, 5, generator=generator) - 1).clamp(0, 1).double()


def changes(norm: Norm, count: int, generator: torch.Generator) -> Tensor:
    """Random directions of norm 1: signs (corners) and uniform for L-infinity; dense and sparse for L2."""
    signs = torch.randint(2, (count // 2, 1, 5, 5), generator=generator) * 2.0 - 1
    noise = torch.randn(count - count // 2, 1, 5, 5, generator=generator)
    sparse = noise * (torch.rand(noise.shape, generator=generator) < 0.15)
    if norm == "linf":
        return torch.cat((signs, noise.clamp(-1, 1))).double()
    both = torch.cat((signs, sparse + 1e-9)).double()
    return both / both.flatten(1).norm(dim=1)[:, None, None, None]


@pytest.mark.parametrize("norm", NORMS)
def test_no_perturbation_inside_the_radius_changes_a_pixel(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(1)
    centres = images(4)
    for centre, radius in zip(centres, invariance(PREPROCESSOR, centres, norm).radius, strict=True):
        moved = (centre + 0.999 * radius * changes(norm, DRAWS, generator)).clamp(0, 1)
        assert radius > 0 and (PREPROCESSOR.binarise(moved) == PREPROCESSOR.binarise(centre[None])).all()


@pytest.mark.parametrize("norm", NORMS)
def test_every_radius_is_attained(norm: Norm) -> None:
    """The least change that carries a pixel over, found by bisection along the direction of Karush, Kuhn and Tucker."""
    centre = images(1, 5)
    found, base = invariance(PREPROCESSOR, centre, norm).radii[0], PREPROCESSOR.binarise(centre)[0]
    for pixel in range(0, 169, 2):
        gradient = derivative(pixel) * (-1.0 if base[pixel] else 1.0)
        direction = gradient.sign() if norm == "linf" else gradient

        def moved(t: float, direction: Tensor = direction) -> Tensor:
            return (centre + t * direction).clamp(0, 1)

        low, high = 0.0, 1e3
        if PREPROCESSOR.binarise(moved(high))[0, pixel] == base[pixel]:
            assert np.isinf(found[pixel])
            continue
        for _ in range(80):
            middle = (low + high) / 2
            crossed = PREPROCESSOR.binarise(moved(middle))[0, pixel] != base[pixel]
            low, high = (low, middle) if crossed else (middle, high)
        change = moved(high) - centre
        size = float(change.abs().max() if norm == "linf" else change.norm())
        assert found[pixel] <= size
        assert found[pixel] == pytest.approx(size, rel=1e-9, abs=1e-12)


def derivative(pixel: int) -> Tensor:
    """Of a resized pixel by the image's."""
    basis = np.eye(25).reshape(25, 5, 5)
    return torch.from_numpy(enlarge(basis, 13).reshape(25, 169)[:, pixel].reshape(1, 1, 5, 5))


def test_a_blank_image_has_the_threshold_as_its_radius() -> None:
    found = invariance(PREPROCESSOR, torch.zeros(1, 1, 5, 5), "linf")
    assert float(found.radius[0]) == pytest.approx(THRESHOLD, rel=1e-11) and found.radius[0] < THRESHOLD
    assert found.undecided(0, 0.19) == [] and len(found.undecided(0, 0.2)) == 169


def test_a_pixel_on_the_threshold_has_no_radius() -> None:
    image = torch.full((1, 1, 5, 5), THRESHOLD, dtype=torch.float64)
    assert float(invariance(PREPROCESSOR, image, "l2").radius[0]) == 0.0


def by_sum(binary: np.ndarray) -> Tensor:
    """A classifier of binary images that any pixel may turn."""
    return torch.from_numpy(binary.sum(1) % 2)


def constant(binary: np.ndarray) -> Tensor:
    return torch.zeros(len(binary), dtype=torch.int64)


def nearly(count: int) -> tuple[Tensor, float]:
    """An image, and an epsilon at which ``count`` of its pixels are undecided."""
    image = images(1, 7)
    radii = np.sort(invariance(PREPROCESSOR, image, "linf").radii[0])
    return image[0], float((radii[count - 1] + radii[count]) / 2)


def test_enumeration_proves_what_no_pixel_turns() -> None:
    image, epsilon = nearly(4)
    decision = enumerate_undecided(PREPROCESSOR, constant, image, 0, epsilon)
    assert (decision.verdict, decision.undecided, decision.runs) == (Verdict.CERTIFIED, 4, 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_enumeration_finds_an_image_that_is_turned(dtype: torch.dtype) -> None:
    image, epsilon = nearly(3)
    image = image.to(dtype)
    label = int(by_sum(PREPROCESSOR.binarise(image[None]))[0])
    decision = enumerate_undecided(PREPROCESSOR, by_sum, image, label, epsilon)
    assert decision.verdict is Verdict.FALSIFIED and decision.witness is not None
    assert float((decision.witness.double() - image.double()).abs().max()) <= epsilon
    assert int(by_sum(PREPROCESSOR.binarise(decision.witness[None]))[0]) != label


def test_certified_covers_every_image_of_the_ball() -> None:
    """A decision that only unreachable combinations would turn is certified only if those are right as well."""
    image, epsilon = nearly(5)
    seen = {tuple(binary) for binary in reachable(image, epsilon)}

    def decide(binary: np.ndarray) -> Tensor:
        return torch.tensor([0 if tuple(row) in seen else 1 for row in binary])

    decision = enumerate_undecided(PREPROCESSOR, decide, image, 0, epsilon)
    assert decision.verdict is (Verdict.CERTIFIED if len(seen) == 32 else Verdict.UNKNOWN)


def reachable(image: Tensor, epsilon: float) -> np.ndarray:
    """Binary images of random and extreme images of the ball."""
    generator = torch.Generator().manual_seed(2)
    return PREPROCESSOR.binarise((image + epsilon * changes("linf", 4000, generator)).clamp(0, 1))


def test_too_many_pixels_are_unknown() -> None:
    image, epsilon = nearly(6)
    decision = enumerate_undecided(PREPROCESSOR, constant, image, 0, epsilon, budget=5)
    assert decision.verdict is Verdict.UNKNOWN and decision.reason is not None and "budget of 5" in decision.reason
    assert enumerate_undecided(PREPROCESSOR, constant, image, 1, epsilon).verdict is Verdict.MISCLASSIFIED


def test_what_makes_no_sense_is_refused() -> None:
    for epsilon, budget in itertools.product((-0.1, float("nan"), float("inf")), (3,)):
        with pytest.raises(InputError, match="epsilon"):
            enumerate_undecided(PREPROCESSOR, constant, images(1)[0], 0, epsilon, budget)
    with pytest.raises(InputError, match="a budget of 0 to 16"):
        enumerate_undecided(PREPROCESSOR, constant, images(1)[0], 0, 0.1, 17)
    with pytest.raises(InputError, match="expected 'linf' or 'l2'"):
        invariance(PREPROCESSOR, images(1), "l1")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="NaN"):
        invariance(PREPROCESSOR, images(1) * float("nan"), "l2")
