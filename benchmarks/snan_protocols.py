"""Spiking preprocessing under impulse noise: every strategy of the paper, filters, baselines, and the control it lacks.

    OMP_NUM_THREADS=1 python benchmarks/snan_protocols.py --data FOLDER --cache FOLDER [--only mnist-50]

FOLDER holds mnist/, fashion_mnist/ and omniglot/. Exactly that share of the enlarged 79 x 79 pixels is inverted; for the
standalone classifier, of the 28 x 28 pixels (it never sees enlarged images). "resample only" is the same noisy enlarged image,
resampled without a network. Omniglot's own 105 x 105 drawings meet a network of that size, as in the paper: nothing is enlarged, so
that the control is the standalone classifier under another draw of noise. Situation-based networks have seen five classes, 50
images each at most; their rows, and the others' beside them, are scored on those classes.

Training noise: 0 (clean), 0.2 (fixed), or that of the test (matched); networks are shown clean images. Few shots: everything,
spiking network included, has seen so many images of each class; the test has noise 0.15.

Results are written after every piece to results/snan_protocols.json; rows that are there are not measured again, and maps are
kept in the cache, so that a run can be broken off and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measuring import surroundings
from snan_stages import ROWS, STANDARD, Inputs, Stage, Trained, choose, fit, scores

from neurocert.models.data.samples import Samples, make_samples
from neurocert.models.data.source import load_samples
from neurocert.models.snan.settings import Settings

RESULTS = Path(__file__).parent / "results" / "snan_protocols.json"
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
FIXED, FEW_NOISE = 0.2, 0.15
SPLITS = (0, 1, 2)
FEW = (1, 5, 10, 50, 750)
FEW_ROWS = {name: ROWS[name] for name in ("standalone", "resample only", "median filter", "bilateral filter", "SNAN in training and test")}
NATIVE = Settings(excitatory=105, inhibitory=53)
DRAWINGS, SUBSETS = (15, 10, 5), (0, 1, 2, 3, 4)
Record = dict[str, Any]
Rows = dict[str, tuple[str, str]]


class Piece(NamedTuple):
    """One experiment on one split: its name, its rows, and what measures some of them."""

    key: str
    rows: Rows
    measure: Callable[[Rows], list[Record]]


def noise_pieces(name: str, folder: Path, store: Path, per_class: int, test: int, levels: tuple[float, ...], model: str) -> Iterator[Piece]:
    """One piece for each split and training noise of one data set."""
    for level in levels:
        for split in SPLITS:
            key = f"{name}/{model}/split {split}/training noise {level:g}"
            yield Piece(
                key,
                ROWS,
                partial(_noise, folder, store / f"{folder.name}-{per_class}-{test}-{split}", per_class, test, split, level, model),
            )


def _noise(folder: Path, store: Path, per_class: int, test: int, split: int, level: float, model: str, rows: Rows) -> list[Record]:
    """Rows trained at one level of noise and tested at that one; after clean or fixed training, at all."""
    train, shown = choose(_samples(folder, "train"), per_class, split), choose(_samples(folder, "test"), test, split)
    stage = Stage(train, split, store)
    tested = LEVELS if level in (0.0, FIXED) else (level,)
    noisy = {tested_at: stage.inputs("test", shown.inputs, tested_at) for tested_at in tested}
    fitted = _fitted(model, stage.inputs("train", train.inputs, level), train, split)
    return list(scores(rows, fitted, stage.inputs("test", shown.inputs, 0.0), noisy, shown.labels))


def few_pieces(folder: Path, store: Path, test: int, few: tuple[int, ...], model: str) -> Iterator[Piece]:
    """One piece for each number of images and split."""
    for per_class in few:
        for split in SPLITS:
            key = f"few shots of mnist/{model}/split {split}/{per_class} per class"
            yield Piece(
                key, FEW_ROWS, partial(_few, folder, store / f"{folder.name}-{per_class}-{test}-{split}", per_class, test, split, model)
            )


def _few(folder: Path, store: Path, per_class: int, test: int, split: int, model: str, rows: Rows) -> list[Record]:
    train, shown = choose(_samples(folder, "train"), per_class, split), choose(_samples(folder, "test"), test, split)
    return _few_shots(Stage(train, split, store), shown, model, rows)


def drawing_pieces(name: str, file: Path, store: Path, settings: Settings, model: str) -> Iterator[Piece]:
    """One piece for each number of drawings and random ten characters of Omniglot."""
    for drawings in DRAWINGS:
        for subset in SUBSETS:
            key = f"few shots of {name}/{model}/split {subset}/{drawings} per class"
            yield Piece(key, FEW_ROWS, partial(_drawings, file, store / f"{name}-{drawings}-{subset}", settings, drawings, subset, model))


def _drawings(file: Path, store: Path, settings: Settings, drawings: int, subset: int, model: str, rows: Rows) -> list[Record]:
    """Ten random characters of which so many random drawings are shown, and the rest are the test."""
    with np.load(file, allow_pickle=False) as stored:
        bits, characters = np.unpackbits(stored["images"], axis=1), stored["character"]
    side = math.isqrt(bits.shape[1])  # what fills the last byte is less than another row and column
    images = bits[:, : side * side].reshape(-1, 1, side, side)
    random = np.random.default_rng(subset)
    members = [random.permutation(np.flatnonzero(characters == one)) for one in random.choice(np.unique(characters), 10, replace=False)]
    shown, left = (np.concatenate([part[cut] for part in members]) for cut in (slice(drawings), slice(drawings, None)))
    train, test = (make_samples(torch.from_numpy(images[part]).float(), _labels(characters[part]), "omniglot") for part in (shown, left))
    return _few_shots(Stage(train, subset, store, situation_based=False, settings=settings), test, model, rows)


def _labels(characters: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.unique(characters, return_inverse=True)[1].astype(np.int64))


def _few_shots(stage: Stage, test: Samples, model: str, rows: Rows) -> list[Record]:
    noisy = {level: stage.inputs("test", test.inputs, level) for level in (0.0, FEW_NOISE)}
    fitted = _fitted(model, stage.inputs("train", stage.train.inputs, 0.0), stage.train, stage.seed)
    return [record for record in scores(rows, fitted, noisy[0.0], noisy, test.labels) if record["classes"] == "ten"]


def _fitted(model: str, inputs: Inputs, train: Samples, seed: int) -> Callable[[str], Trained]:
    return cache(lambda source: fit(model, inputs[source], train.labels, seed))


@cache
def _samples(folder: Path, split: str) -> Samples:
    return load_samples(str(folder), split="train" if split == "train" else "test")


def pieces(data: Path, store: Path) -> dict[str, list[Piece]]:
    """Every experiment, in the order in which they are run."""
    mnist, fashion, clean = data / "mnist", data / "fashion_mnist", (0.0,)
    omniglot = data / "omniglot"
    return {
        "omniglot": [*drawing_pieces("omniglot", omniglot / "omniglot28.npz", store, STANDARD, "lenet")],
        "few": [*few_pieces(mnist, store, 15, FEW[:-1], "lenet")],
        "mnist-50": [*noise_pieces("mnist, 50 per class", mnist, store, 50, 15, (0.0, FIXED, 0.3, 0.1, 0.4, 0.5), "lenet")],
        "fashion-50": [*noise_pieces("fashion, 50 per class", fashion, store, 50, 15, clean, "lenet")],
        "mnist-50-vit": [*noise_pieces("mnist, 50 per class", mnist, store, 50, 15, clean, "vit")],
        "mnist-750": [*noise_pieces("mnist, 750 per class", mnist, store, 750, 30, clean, "lenet")],
        "few-750": [*few_pieces(mnist, store, 30, FEW[-1:], "lenet")],
        "omniglot-105": [*drawing_pieces("omniglot at 105x105", omniglot / "omniglot105_8alphabets.npz", store, NATIVE, "lenet")],
        "mnist-750-all": [*noise_pieces("mnist, 750 per class", mnist, store, 750, 30, (FIXED, 0.3, 0.4, 0.1, 0.5), "lenet")],
    }


def main() -> None:
    """Computes what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", help="experiments, separated by commas; all by default")
    options = parser.parse_args()
    experiments = pieces(options.data, options.cache)
    for name in options.only.split(",") if options.only else experiments:
        for key, rows, measure in experiments[name]:
            found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"pieces": {}}
            known = found["pieces"].get(key, [])
            if missing := {row: parts for row, parts in rows.items() if row not in {record["row"] for record in known}}:
                records = [*known, *measure(missing)]
                found["pieces"][key] = sorted(records, key=lambda record: list(rows).index(record["row"]))
                RESULTS.write_text(_text(found["pieces"]), encoding="utf-8")


def _text(found: dict[str, list[Record]]) -> str:
    """JSON with a line for each record."""
    parts = [f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, records)) + "\n]" for key, records in found.items()]
    return f'{{"machine": {json.dumps(surroundings())},\n"pieces": {{\n' + ",\n".join(parts) + "\n}}\n"


if __name__ == "__main__":
    main()
