"""Classifiers behind a spiking preprocessor, certified in the space of the maps that they read.

    OMP_NUM_THREADS=1 python benchmarks/snan_maps.py

Each recipe is followed; then the maps of the first test images are moved within an L-infinity ball. Both ends: bounds, and PGD.
What certifies nothing at a radius is not asked about a larger one, and has certified nothing there. Writes
results/snan_maps.json.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from measuring import surroundings
from torch import Tensor

from neurocert.certify.api import attack
from neurocert.certify.certificate import Verdict
from neurocert.certify.training import hybrid as training
from neurocert.certify.verifiers.verify import verify
from neurocert.models.data.samples import Samples
from neurocert.models.data.source import load_samples
from neurocert.models.networks.classifier import Classifier
from neurocert.models.training.recipe import load_recipe
from neurocert.perturbations.balls import LinfBall

RESULTS = Path(__file__).parent / "results" / "snan_maps.json"
RECIPES = ("digits-snan", "digits-snan-vit")
METHODS = ("interval", "linear")
EPSILONS = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1)
SAMPLES, SEED = 20, 0


def measure(name: str, test: Samples) -> dict[str, Any]:
    """Of the images' maps at every radius: how many each method certifies, in what time, and how many PGD leaves."""
    hybrid = training.train(load_recipe(name)).hybrid
    maps = hybrid.maps(hybrid.preprocessor.binarise(test.inputs))
    classifier = hybrid.classifier
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    right = int((hybrid.classify(maps) == test.labels).sum())
    rows = {method: _bounded(classifier, maps, test.labels, method) for method in METHODS}
    unbroken = {f"{radius:g}": _unbroken(classifier, maps, test.labels, radius) for radius in EPSILONS}
    return {"parameters": parameters, "right": right, "methods": rows, "unbroken by pgd": unbroken}


def _bounded(classifier: Classifier, maps: Tensor, labels: Tensor, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for radius in EPSILONS:
        if any(row["certified"] == 0 for row in found.values()):
            found[f"{radius:g}"] = {"certified": 0, "cpu_seconds_per_sample": None}
            continue
        begun = time.process_time()
        certificates = verify(classifier, maps, labels, LinfBall(radius), method, attack=None)
        certified = sum(certificate.verdict is Verdict.CERTIFIED for certificate in certificates)
        seconds = round((time.process_time() - begun) / len(maps), 3)
        found[f"{radius:g}"] = {"certified": certified, "cpu_seconds_per_sample": seconds}
    return found


def _unbroken(classifier: Classifier, maps: Tensor, labels: Tensor, radius: float) -> int:
    return int((attack(classifier, maps, labels, LinfBall(radius), seed=SEED).margins > 0).sum())


def main() -> None:
    """Measures all recipes."""
    test = load_samples("digits", "test").take(range(SAMPLES))
    rows = {name: measure(name, test) for name in RECIPES}
    RESULTS.write_text(json.dumps({"machine": surroundings(), "samples": SAMPLES, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
