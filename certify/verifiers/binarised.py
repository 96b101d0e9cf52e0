"""Certificates for what first turns an image into black and white: inside a ball in which no pixel can change sides, everything
that comes after, however chaotic, is constant.

A resized pixel is y = sum_j r_j x_j with at most four r_j >= 0 that add up to 1. The least change of x in [0, 1]^n that carries y
over the threshold is found exactly: every x_j moves towards it by min(t g_j, room_j), where g is 1 in the L-infinity norm and r
in L2 (Karush-Kuhn-Tucker), and t is the least that suffices. The radius of an image is the least over its pixels.
Rounding: y as it is computed errs by at most ``ROUNDING``, which is taken off its distance; radii are then rounded inward.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from neurocert.certify.certificate import Verdict
from neurocert.certify.errors import InputError
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.preprocessor import THRESHOLD, Preprocessor, enlarge, taps

Norm = Literal["linf", "l2"]
ROUNDING = 16 * 2.0**-53
"""At least 12: each of two interpolations of numbers in [0, 1] makes three roundings, at the image and at the changed image."""
INWARD = 1.0 - 2.0**-40
"""Covers the few dozen roundings of a radius."""
MAX_UNDECIDED = 16


@dataclass(frozen=True, eq=False)
class Invariance:
    """How far an image may be changed before a pixel can change sides.

    Attributes:
        radii: (B, E), the norm below which each pixel of the binary image keeps its side; infinite where it always does.
        norm: "linf" or "l2".
    """

    radii: Floats
    norm: Norm

    @property
    def radius(self) -> Floats:
        """(B,): for every change of norm at most this the binary image, and all that follows from it, is the same."""
        return self.radii.min(1)

    def undecided(self, index: int, epsilon: float) -> list[int]:
        """The pixels of an image that a change of norm ``epsilon`` may carry to the other side."""
        return np.flatnonzero(self.radii[index] < epsilon).tolist()


def invariance(preprocessor: Preprocessor, images: Tensor, norm: Norm) -> Invariance:
    """The invariance radii of images (B, 1, n, n) in [0, 1] among images in [0, 1].

    Raises:
        InputError: another norm, or images that the preprocessor refuses.
    """
    if norm not in ("linf", "l2"):
        raise InputError(f"norm is {norm!r}, expected 'linf' or 'l2'")
    object_pixels = preprocessor.binarise(images)
    pixels, weights = _taps(images[:, 0].detach().cpu().double().numpy(), preprocessor.network.settings.excitatory)
    resized = enlarge(images[:, 0].detach().cpu().double().numpy(), preprocessor.network.settings.excitatory)
    distance = np.maximum(np.abs(resized - THRESHOLD).reshape(len(images), -1) - ROUNDING, 0.0)
    room = np.where(object_pixels[..., None], pixels, 1.0 - pixels)
    return Invariance(INWARD * _least(distance, room, weights, norm), norm)


def _taps(images: Floats, size: int) -> tuple[Floats, Floats]:
    """(pixels, weights), both (B or 1, size^2, 4): what each resized pixel is made of."""
    before, after, share = taps(images.shape[1], size)
    axis = np.stack((before, after), 1), np.stack((1.0 - share, share), 1)
    rows, columns = np.repeat(axis[0], 2, 1), np.tile(axis[0], (1, 2))
    pixels = images[:, rows[:, None], columns[None, :]]
    weights = np.repeat(axis[1], 2, 1)[:, None] * np.tile(axis[1], (1, 2))[None, :]
    return pixels.reshape(len(images), size * size, 4), weights.reshape(1, size * size, 4)


def _least(distance: Floats, room: Floats, weights: Floats, norm: Norm) -> Floats:
    """The least norm of d >= 0 with d <= room and weights . d >= distance, for the last axis of four.

    d = min(t g, room) with t increasing from 0: the sum grows linearly between the t at which one of them has no room left.
    """
    speed = np.where(weights > 0, 1.0 if norm == "linf" else weights, 0.0) * np.ones_like(room)
    weights = weights * np.ones_like(room)
    full_at = np.divide(room, speed, out=np.full_like(room, np.inf), where=speed > 0)
    order = np.argsort(full_at, -1)
    room, speed, weights, full_at = (np.take_along_axis(part, order, -1) for part in (room, speed, weights, full_at))
    found, missing, norm_full = np.full(distance.shape, np.inf), distance.copy(), np.zeros(distance.shape)
    for k in range(4):  # the taps before k have no room left
        rate = (weights[..., k:] * speed[..., k:]).sum(-1)
        t = np.divide(np.maximum(missing, 0.0), rate, out=np.zeros_like(missing), where=rate > 0)
        moved = t if norm == "linf" else np.sqrt(norm_full + ((t[..., None] * speed[..., k:]) ** 2).sum(-1))
        found = np.where(np.isinf(found) & (rate > 0) & (t <= full_at[..., k]), moved, found)
        missing = missing - weights[..., k] * room[..., k]
        norm_full = norm_full + room[..., k] ** 2
    return found


@dataclass(frozen=True, eq=False)
class Decision:
    """What enumeration says about one image.

    Attributes:
        verdict: see ``Verdict``.
        undecided: how many pixels can change sides.
        runs: how many binary images were classified.
        reason: why the verdict is not a proof; None for a certified image.
        witness: an image (1, n, n) of the ball that another class is decided for, replayed; None unless falsified.
    """

    verdict: Verdict
    undecided: int
    runs: int
    reason: str | None = None
    witness: Tensor | None = None


def enumerate_undecided(
    preprocessor: Preprocessor, decide: Callable[[Mask], Tensor], image: Tensor, label: int, epsilon: float, budget: int = 12
) -> Decision:
    """Decides an L-infinity ball by running every binary image that its undecided pixels can make.

    Certified: all of them are classified as ``label``, so every image of the ball is. Falsified: an image of the ball was found
    (by linear programming) whose own binary image is classified otherwise. The 2^K combinations include some that no image
    reaches, so that neither may be the case.

    Args:
        decide: from binary images (B, E) to classes (B,), each on its own.
        image: (1, n, n) in [0, 1].
        epsilon: radius, at least 0.
        budget: K; more undecided pixels are not enumerated.

    Raises:
        InputError: an epsilon below 0 or not finite, a budget above ``MAX_UNDECIDED``, or an image that the preprocessor refuses.
    """
    if not 0 <= epsilon < np.inf or not 0 <= budget <= MAX_UNDECIDED:
        raise InputError(f"got epsilon {epsilon!r} and budget {budget!r}, expected epsilon >= 0 and a budget of 0 to {MAX_UNDECIDED}")
    base = preprocessor.binarise(image[None])
    if int(decide(base)[0]) != label:
        return Decision(Verdict.MISCLASSIFIED, 0, 1, "the unperturbed image is classified otherwise")
    open_pixels = invariance(preprocessor, image[None], "linf").undecided(0, epsilon)
    if len(open_pixels) > budget:
        return Decision(
            Verdict.UNKNOWN, len(open_pixels), 1, f"{len(open_pixels)} pixels can change sides, more than the budget of {budget}"
        )
    combinations = np.repeat(base, 2 ** len(open_pixels), 0)
    if open_pixels:
        combinations[:, open_pixels] = list(itertools.product((False, True), repeat=len(open_pixels)))
    wrong = np.flatnonzero(decide(combinations).numpy() != label)
    if not len(wrong):
        return Decision(Verdict.CERTIFIED, len(open_pixels), len(combinations))
    for index in wrong:
        witness = _reach(preprocessor, image, combinations[index], open_pixels, epsilon)
        if witness is not None and _breaks(preprocessor, decide, witness, image, label, epsilon):
            return Decision(Verdict.FALSIFIED, len(open_pixels), len(combinations), "an image of the ball is classified otherwise", witness)
    reason = f"{len(wrong)} combinations are classified otherwise, but no image of the ball that makes one was found"
    return Decision(Verdict.UNKNOWN, len(open_pixels), len(combinations), reason)


def _breaks(
    preprocessor: Preprocessor, decide: Callable[[Mask], Tensor], witness: Tensor, image: Tensor, label: int, epsilon: float
) -> bool:
    """Whether the witness lies in the ball and is classified otherwise."""
    inside = bool(((witness.double() - image.double()).abs() <= epsilon).all())
    return inside and int(decide(preprocessor.binarise(witness[None]))[0]) != label


def _reach(preprocessor: Preprocessor, image: Tensor, target: NDArray[np.bool_], open_pixels: list[int], epsilon: float) -> Tensor | None:
    """An image of the ball whose undecided pixels are as in ``target``, as far from the threshold as can be; None if there is none.

    A linear program in the pixels that matter and the distance s: y >= threshold + s, or y <= threshold - s.
    """
    side = image.shape[-1]
    positions, weights = _taps(np.arange(side * side, dtype=float).reshape(1, side, side), preprocessor.network.settings.excitatory)
    used, columns = np.unique(positions[0, open_pixels].astype(int), return_inverse=True)
    signs = np.where(target[open_pixels], -1.0, 1.0)
    rows = np.zeros((len(open_pixels), len(used) + 1))
    np.add.at(rows, (np.arange(len(open_pixels))[:, None], columns.reshape(-1, 4)), signs[:, None] * weights[0, open_pixels])
    rows[:, -1] = 1.0
    centre = image.double().numpy().reshape(-1)
    lower, upper = np.maximum(centre - epsilon, 0.0)[used], np.minimum(centre + epsilon, 1.0)[used]
    bounds = [*zip(lower, upper, strict=True), (None, None)]
    solved = linprog(-np.eye(len(used) + 1)[-1], rows, signs * THRESHOLD, bounds=bounds, method="highs")
    if solved.status != 0 or solved.x[-1] <= 0:
        return None
    witness = image.clone().reshape(-1)
    witness[torch.from_numpy(used)] = torch.from_numpy(np.clip(solved.x[:-1], lower, upper)).to(image.dtype)
    witness = witness.reshape(image.shape)
    outside = (witness.double() - image.double()).abs() > epsilon  # by the rounding to the image's type
    return torch.where(outside, torch.nextafter(witness, image), witness).clamp(0.0, 1.0)
