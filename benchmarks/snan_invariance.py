"""How far MNIST's test images may be changed before anything behind the threshold changes, and what follows from it.

    OMP_NUM_THREADS=1 python benchmarks/snan_invariance.py --data FOLDER

Radii of all test images; checked on some of them by 10,000 random and corner changes at 0.999 of the radius, with spike counts
compared where pixels did not move; then what certificates a hybrid and its control have. Radii are the same for both: they
speak of the binary image. Writes results/snan_invariance.json after each part; parts that are there are not computed again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import surroundings
from snan_stages import with_few_images
from torch import Tensor

from neurocert.analysis.statistics import clopper_pearson
from neurocert.certify.training import hybrid as training
from neurocert.certify.verifiers.binarised import Norm, enumerate_undecided, invariance
from neurocert.certify.verifiers.flips import Smoothing, single_flips, smooth
from neurocert.models.data.samples import Samples
from neurocert.models.data.source import load_samples
from neurocert.models.snan.hybrid import Hybrid
from neurocert.models.snan.network import create
from neurocert.models.snan.preprocessor import Preprocessor
from neurocert.models.snan.presentation import present
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint, situation
from neurocert.models.training.recipe import load_recipe

RESULTS = Path(__file__).parent / "results" / "snan_invariance.json"
NORMS: tuple[Norm, ...] = ("linf", "l2")
EPSILONS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
EDGES = (0.0, *(10.0 ** (k / 2) for k in range(-12, 1)))
CHECKED, DRAWS, PRESENTED = 20, 10_000, 5
PER_CLASS, DECIDED, ENUMERATED, BUDGET, SMOOTHED = 50, 100, 20, 4, 4
MODELS = (Smoothing(0.1), Smoothing(0.2))
EXHAUSTIVE = {False: 30, True: 2}
"""Images of which every flip is tried, by whether the hybrid spikes: one costs 6,241 presentations, some four minutes."""


def radii(test: Samples, preprocessor: Preprocessor) -> dict[str, Any]:
    """Quantiles, histogram and counts of the radii of all images."""
    found = {}
    for norm in NORMS:
        values = np.concatenate([invariance(preprocessor, part, norm).radius for part in test.inputs.split(50)])
        quantiles = {str(share): float(np.quantile(values, share)) for share in (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)}
        counts = np.histogram(values, EDGES)[0].tolist()
        at_least = {str(epsilon): int((values >= epsilon).sum()) for epsilon in EPSILONS}
        found[norm] = {"n": len(values), "quantiles": quantiles, "edges": EDGES, "counts": counts, "at least": at_least}
    return found


def check(test: Samples, preprocessor: Preprocessor) -> dict[str, Any]:
    """How many pixels move under changes at 0.999 of the radius."""
    generator, found = torch.Generator().manual_seed(0), {}
    for norm in NORMS:
        moved_pixels = 0
        for image in test.inputs[:CHECKED].double():
            radius = float(invariance(preprocessor, image[None], norm).radius[0])
            base = preprocessor.binarise(image[None])
            for part in changes(norm, DRAWS, generator).split(1000):
                moved = (image + 0.999 * radius * part).clamp(0, 1)
                moved_pixels += int((preprocessor.binarise(moved) != base).sum())
        found[norm] = {"images": CHECKED, "changes": DRAWS, "pixels that moved": moved_pixels}
    return found


def spikes(test: Samples, train: Samples, preprocessor: Preprocessor) -> dict[str, Any]:
    """Spike counts of a network that has learned: after such changes, and after one flipped pixel."""
    generator = torch.Generator().manual_seed(1)
    shown = train.inputs[situation(train.labels, PER_CLASS, generator)]
    learned, found = imprint(preprocessor.network, preprocessor.binarise(shown)), {}
    for norm in NORMS:
        compared, changed = 0, 0
        for image in test.inputs[:PRESENTED].double():
            radius = float(invariance(preprocessor, image[None], norm).radius[0])
            moved = torch.cat((image[None], (image + 0.999 * radius * changes(norm, 4, generator)).clamp(0, 1)))
            counts = present(learned, preprocessor.binarise(moved))
            compared, changed = compared + counts[1:].size, changed + int((counts[1:] != counts[:1]).sum())
        found[norm] = {"compared": compared, "changed": changed}
    flipped = preprocessor.binarise(test.inputs[:PRESENTED]).repeat(2, 0)
    flipped[np.arange(1, 2 * PRESENTED, 2), torch.randint(flipped.shape[1], (PRESENTED,), generator=generator).numpy()] ^= True
    counts = present(learned, flipped)
    return found | {"one flipped pixel changes": (counts[::2] != counts[1::2]).sum(1).tolist()}


def changes(norm: Norm, count: int, generator: torch.Generator) -> Tensor:
    """Directions of norm 1, half of them corners (signs), half random: uniform for L-infinity, sparse for L2."""
    signs = torch.randint(2, (count // 2, 1, 28, 28), generator=generator) * 2.0 - 1
    noise = torch.randn(count - count // 2, 1, 28, 28, generator=generator)
    if norm == "linf":
        return torch.cat((signs, noise.clamp(-1, 1))).double()
    sparse = noise * (torch.rand(noise.shape, generator=generator) < 0.01) + 1e-9
    both = torch.cat((signs, sparse)).double()
    return both / both.flatten(1).norm(dim=1)[:, None, None, None]


def certificates(name: str, data: str, test: Samples) -> dict[str, Any]:
    """What is certified of a hybrid trained with few images: by radius, by enumeration, by smoothing, and against one flip."""
    hybrid = training.train(with_few_images(load_recipe(name), PER_CLASS), data=data).hybrid
    chosen = test.take(range(DECIDED))
    right = (hybrid(chosen.inputs) == chosen.labels).numpy()
    radius = invariance(hybrid.preprocessor, chosen.inputs, "linf").radius
    invariant = {str(epsilon): _share(int((right & (radius >= epsilon)).sum()), DECIDED) for epsilon in EPSILONS}
    return {
        "right": _share(int(right.sum()), DECIDED),
        "certified by invariance": invariant,
        "enumeration": _enumeration(hybrid, chosen),
        "smoothing": _smoothing(hybrid, chosen),
        "single flips": _single(hybrid, chosen, right),
    }


def _enumeration(hybrid: Hybrid, chosen: Samples) -> dict[str, Any]:
    """Verdicts at each radius where all undecided pixels of the first images are enumerated."""
    rows = {}
    for epsilon in EPSILONS[:3]:
        verdicts = [
            enumerate_undecided(hybrid.preprocessor, hybrid.decide, chosen.inputs[k], int(chosen.labels[k]), epsilon, BUDGET).verdict.value
            for k in range(ENUMERATED)
        ]
        rows[str(epsilon)] = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    return rows


def _smoothing(hybrid: Hybrid, chosen: Samples) -> dict[str, list[int]]:
    """Flips that the smoothed decision survives under each model, for each image; -1 where it is wrong or not established."""
    binary = hybrid.preprocessor.binarise(chosen.inputs[:SMOOTHED])
    rows = {}
    for model in MODELS:
        found = [smooth(hybrid.decide, image, model, seed) for seed, image in enumerate(binary)]
        right = [one.flips if one.predicted == int(label) else -1 for one, label in zip(found, chosen.labels, strict=False)]
        rows[model.describe()] = right
    return rows


def _single(hybrid: Hybrid, chosen: Samples, right: np.ndarray) -> dict[str, Any] | None:
    """Images that no inversion of one pixel breaks, every pixel tried; None where no image was."""
    tried = np.flatnonzero(right)[: EXHAUSTIVE[hybrid.spiking]]
    if not len(tried):
        return None
    binary = hybrid.preprocessor.binarise(chosen.inputs)
    breaking = [len(single_flips(hybrid.decide, binary[k], int(chosen.labels[k]))) for k in tried]
    return {"pixels": binary.shape[1], "pixels that break each": breaking, "certified": _share(breaking.count(0), len(breaking))}


def _share(count: int, n: int) -> dict[str, Any]:
    return {
        "count": count,
        "n": n,
        "share": round(count / n, 4),
        "clopper_pearson_95": [round(end, 4) for end in clopper_pearson(count, n)],
    }


def main() -> None:
    """Computes the parts that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="MNIST's folder")
    data = parser.parse_args().data
    test, preprocessor = load_samples(str(data)), Preprocessor(create(Settings(), 0), 28)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "radii": lambda: radii(test, preprocessor),
        "check": lambda: check(test, preprocessor),
        "spikes": lambda: spikes(test, load_samples(str(data), split="train"), preprocessor),
        "control": lambda: certificates("mnist-snan-control", str(data), test),
        "hybrid": lambda: certificates("mnist-snan", str(data), test),
    }
    for name, compute in parts.items():
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        if name not in found:
            found |= {name: compute(), "machine": surroundings()}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
