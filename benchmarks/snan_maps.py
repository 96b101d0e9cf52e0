"""Classifiers behind a spiking preprocessor, certified in the space of the maps that they read.

    OMP_NUM_THREADS=1 python benchmarks/snan_maps.py [--data FOLDER]

Each recipe is followed, those on MNIST, where --data gives its folder, with fewer images; then the maps of the first test images
are moved within an L-infinity ball. Both ends: bounds, and PGD. What certifies nothing at a radius is not asked about a larger
one, and has certified nothing there. Bounds that are not there after a minute for an image are given up. Every row is written to
results/snan_maps.json when it is known, and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import surroundings
from snan_stages import with_few_images
from torch import Tensor

from neurocert.certify.api import attack
from neurocert.certify.certificate import Verdict
from neurocert.certify.training import hybrid as training
from neurocert.certify.verifiers.verify import verify
from neurocert.models.data.source import load_samples
from neurocert.models.networks.classifier import Classifier
from neurocert.models.training.recipe import load_recipe
from neurocert.perturbations.balls import LinfBall

RESULTS = Path(__file__).parent / "results" / "snan_maps.json"
METHODS = ("interval", "linear")
EPSILONS = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1)
SECONDS = 60.0
"""By the clock, for one image and method."""
SEED = 0


@dataclass(frozen=True)
class Subject:
    """A recipe, with how many training images of each class (None: its own), and how many maps are certified."""

    recipe: str
    per_class: int | None
    samples: int

    @property
    def name(self) -> str:
        return self.recipe if self.per_class is None else f"{self.recipe}, {self.per_class} images of each class"


SUBJECTS = (
    Subject("digits-snan", None, 20),
    Subject("digits-snan-vit", None, 20),
    Subject("mnist-snan", 50, 20),
    Subject("mnist-snan-vit", 50, 5),
)


def measure(subject: Subject, data: str | None) -> dict[str, Any]:
    """Of the images' maps at every radius: how many each method certifies, in what time, and how many PGD leaves."""
    recipe = load_recipe(subject.recipe) if subject.per_class is None else with_few_images(load_recipe(subject.recipe), subject.per_class)
    hybrid = training.train(recipe, data=data).hybrid
    test = load_samples(data or "digits", "test").take(range(subject.samples))
    maps = hybrid.maps(hybrid.preprocessor.binarise(test.inputs))
    classifier = hybrid.classifier
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    right = int((hybrid.classify(maps) == test.labels).sum())
    rows = {method: _bounded(classifier, maps, test.labels, method) for method in METHODS}
    unbroken = {f"{radius:g}": _unbroken(classifier, maps, test.labels, radius) for radius in EPSILONS}
    return {"samples": subject.samples, "parameters": parameters, "right": right, "methods": rows, "unbroken by pgd": unbroken}


def _bounded(classifier: Classifier, maps: Tensor, labels: Tensor, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for radius in EPSILONS:
        if any(row["certified"] == 0 for row in found.values()):
            found[f"{radius:g}"] = {"certified": 0, "given_up": 0, "cpu_seconds_per_sample": None}
            continue
        begun = time.process_time()
        certificates = verify(classifier, maps, labels, LinfBall(radius), method, attack=None, time_limit=SECONDS)
        found[f"{radius:g}"] = {
            "certified": sum(certificate.verdict is Verdict.CERTIFIED for certificate in certificates),
            "given_up": sum(f"within {SECONDS:g} s" in (certificate.reason or "") for certificate in certificates),
            "cpu_seconds_per_sample": round((time.process_time() - begun) / len(maps), 3),
        }
    return found


def _unbroken(classifier: Classifier, maps: Tensor, labels: Tensor, radius: float) -> int:
    return int((attack(classifier, maps, labels, LinfBall(radius), seed=SEED).margins > 0).sum())


def main() -> None:
    """Measures what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of MNIST's four files")
    data = parser.parse_args().data
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else {}
    for subject in SUBJECTS:
        given = data if subject.recipe.startswith("mnist") else None
        if subject.name not in rows and (given or not subject.recipe.startswith("mnist")):
            rows[subject.name] = measure(subject, given)
            found = {"machine": surroundings(), "seconds": SECONDS, "rows": rows}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
