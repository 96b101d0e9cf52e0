"""Spiking preprocessing on MNIST under impulse noise: every strategy of the paper, filters, baselines, and the control it lacks.

    OMP_NUM_THREADS=1 python benchmarks/snan_mnist.py --data FOLDER --per-class 750 --test 250 --classifiers lenet,vit

Noise: exactly that share of the enlarged 79 x 79 pixels is inverted; for the standalone classifier, of the 28 x 28 pixels (it
never sees enlarged images). "resample only" is the same noisy enlarged image, resampled without a network. Situation-based
networks have seen five classes, 50 images each at most; their rows, and the others' beside them, are scored on those classes.
Writes results/snan_mnist.json after each split: correct of n over all splits so far, with 95 % intervals, and the deviation
between splits.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import surroundings
from torch import Tensor, nn
from torch.nn import functional

from neurocert.analysis.statistics import clopper_pearson
from neurocert.models import filters
from neurocert.models.data.samples import Samples
from neurocert.models.data.source import load_samples
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.registry import build
from neurocert.models.semantics import Semantics
from neurocert.models.snan.network import create
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.preprocessor import THRESHOLD, Preprocessor
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint, situation
from neurocert.perturbations.impulse import invert

RESULTS = Path(__file__).parent / "results" / "snan_mnist.json"
SITUATION, SITUATION_IMAGES = (0, 1, 2, 3, 4), 50
EPOCHS, BATCH, SHIFT = 50, 128, 5
FILTERS = {"median filter": filters.median, "mean filter": filters.mean, "bilateral filter": filters.bilateral}
ROWS = {  # name: what the classifier is trained on, what it is tested on
    "standalone": ("plain", "plain"),
    "resample only": ("resampled", "resampled"),
    **{name: ("resampled", name) for name in FILTERS},
    "SNAN in the test": ("resampled", "SNAN"),
    "SNAN in training and test": ("SNAN", "SNAN"),
    "S-B SNAN in the test": ("resampled", "S-B SNAN"),
    "S-B SNAN in training and test": ("S-B SNAN", "S-B SNAN"),
}


def main() -> None:
    """Runs all splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=750)
    parser.add_argument("--test", type=int, default=250)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--noise", default="0,0.1,0.2,0.3,0.4,0.5")
    parser.add_argument("--classifiers", default="lenet,vit")
    options = parser.parse_args()
    train, test = load_samples(str(options.data), split="train"), load_samples(str(options.data), split="test")
    levels = [float(level) for level in options.noise.split(",")]
    scores: dict[tuple[str, str, float, str], list[tuple[int, int]]] = defaultdict(list)
    for seed in range(options.splits):
        chosen = _choose(train, options.per_class, seed), _choose(test, options.test, seed)
        for key, score in _split(*chosen, levels, options.classifiers.split(","), seed):
            scores[key].append(score)
        settings = {name: str(value) for name, value in vars(options).items() if name != "data"}
        RESULTS.write_text(json.dumps(_found(scores, settings, seed + 1), indent=1) + "\n", encoding="utf-8")


def _choose(samples: Samples, per_class: int, seed: int) -> Samples:
    return samples.take(situation(samples.labels, per_class, torch.Generator().manual_seed(seed)))


def _split(train: Samples, test: Samples, levels: list[float], names: list[str], seed: int) -> list[tuple[Any, tuple[int, int]]]:
    """((classifier, row, noise, classes), (correct, n)) of one split."""
    generator = torch.Generator().manual_seed(seed)
    stages = _preprocessors(train, seed)
    seen = _inputs(stages, stages["SNAN"].binarise(train.inputs), train.inputs, generator, 0.0)
    noisy = {level: _inputs(stages, stages["SNAN"].binarise(test.inputs), test.inputs, generator, level) for level in levels}
    known, found = torch.isin(test.labels, torch.tensor(SITUATION)), []
    for name in names:
        fitted = {source: _fit(name, seen[source], train.labels, seed) for source in {source for source, _ in ROWS.values()}}
        for row, (source, shown) in ROWS.items():
            for level in levels:
                with torch.no_grad():
                    right = fitted[source](noisy[level][shown]).argmax(1) == test.labels
                found.append(((name, row, level, "five"), (int(right[known].sum()), int(known.sum()))))
                if not row.startswith("S-B"):
                    found.append(((name, row, level, "ten"), (int(right.sum()), len(right))))
    return found


def _preprocessors(train: Samples, seed: int) -> dict[str, Preprocessor]:
    """A network trained on every image once, and one on the situation."""
    empty = Preprocessor(create(Settings(), seed), 28)
    per_class = min(SITUATION_IMAGES, int(train.labels.bincount().min()))
    part = situation(train.labels, per_class, torch.Generator().manual_seed(seed), SITUATION)
    shown = {"SNAN": train.inputs, "S-B SNAN": train.inputs[part]}
    return {name: Preprocessor(imprint(empty.network, empty.binarise(images)), 28) for name, images in shown.items()}


def _inputs(stages: dict[str, Preprocessor], binary: Mask, images: Tensor, generator: torch.Generator, noise: float) -> dict[str, Tensor]:
    """What each kind of classifier input is for these images."""
    corrupted = invert(torch.from_numpy(binary).float(), noise, generator)
    pixels, side = corrupted.numpy() > 0.5, round(binary.shape[1] ** 0.5)
    made = {name: stage.maps(pixels) for name, stage in stages.items()}
    made["plain"] = invert((images >= THRESHOLD).float(), noise, generator)
    made["resampled"] = stages["SNAN"].shrink(pixels)
    enlarged = corrupted.reshape(-1, 1, side, side)
    return made | {name: functional.interpolate(apply(enlarged), (28, 28), mode="area") for name, apply in FILTERS.items()}


def _fit(name: str, inputs: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A classifier trained as the paper says: SGD with shifts for lenet, Adam for vit."""
    torch.manual_seed(seed)
    space, classes = InputSpace((1, 28, 28), 0.0, 1.0), tuple("0123456789")
    network = build(name, {}, inputs=space, semantics=Semantics(None), classes=classes, mean=(float(inputs.mean()),), std=(1.0,)).train()
    plain = name == "lenet"
    optimiser = torch.optim.SGD(network.parameters(), 0.01, 0.9) if plain else torch.optim.Adam(network.parameters(), 3e-4)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 / (1.0 + 0.001 * step) if plain else 1.0)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(inputs)).split(BATCH):
            shown = _shifted(inputs[part]) if plain else inputs[part]
            optimiser.zero_grad()
            functional.cross_entropy(network(shown), labels[part]).backward()
            optimiser.step()
            decay.step()
    return network.eval()


def _shifted(images: Tensor) -> Tensor:
    """Each image moved by up to ``SHIFT`` pixels, zeros coming in."""
    padded = functional.pad(images, (SHIFT,) * 4)
    places = torch.randint(2 * SHIFT + 1, (len(images), 2)).tolist()
    height, width = images.shape[2:]
    return torch.stack([image[:, r : r + height, c : c + width] for image, (r, c) in zip(padded, places, strict=True)])


def _found(scores: dict[tuple[str, str, float, str], list[tuple[int, int]]], settings: dict[str, str], splits: int) -> dict[str, Any]:
    rows = []
    for (name, row, level, classes), parts in scores.items():
        correct, n = (sum(values) for values in zip(*parts, strict=True))
        shares = [part[0] / part[1] for part in parts]
        interval = [round(end, 4) for end in clopper_pearson(correct, n)]
        deviation = round(float(np.std(shares, ddof=1)), 4) if len(shares) > 1 else None
        rows.append({"classifier": name, "row": row, "noise": level, "classes": classes, "correct": correct, "n": n,
                     "share": round(correct / n, 4), "interval_95": interval, "deviation of splits": deviation})  # fmt: skip
    return {"machine": surroundings(), "settings": settings, "splits": splits, "rows": rows}


if __name__ == "__main__":
    main()
