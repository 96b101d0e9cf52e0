"""Time and memory of one 30 ms presentation to a trained 79 x 79 network.

    OMP_NUM_THREADS=1 python benchmarks/snan_speed.py --workers 2

The network has learned twenty characters (10 pulses each); the images are these characters, one fifth of their pixels inverted.
Writes results/snan_speed.json: seconds per image by batch size, and by the number of spikes.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import torch
from letters import draw
from measuring import surroundings, timed

from neurocert.models.snan.network import Network, create
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.presentation import present
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint
from neurocert.perturbations.impulse import invert

RESULTS = Path(__file__).parent / "results" / "snan_speed.json"
TARGET_SECONDS, TARGET_GIB = 0.05, 2.0
BATCHES = (1, 10, 100, 200)
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.4)
REPEATS = 3


def main() -> None:
    """Measures everything once and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    images = draw(79, 0.75, np.random.default_rng(0)).reshape(20, -1)
    network = imprint(create(Settings(), 0), np.repeat(images, 10, 0))
    noisy = invert(torch.from_numpy(np.tile(images, (10, 1))).float(), 0.2, torch.Generator().manual_seed(0)).numpy() > 0.5
    batches = {size: _seconds(network, noisy[:size], workers) for size in BATCHES}
    gibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    random = np.random.default_rng(1)
    by_spikes = [_row(network, random.random((40, images.shape[1])) < density, density, workers) for density in DENSITIES]
    found = {
        "machine": surroundings(),
        "workers": workers,
        "seconds per image by batch": batches,
        "peak GiB": round(gibibytes, 3),
        "targets": {"seconds per image, batch of 100": TARGET_SECONDS, "GiB": TARGET_GIB},
        "met": batches[100] <= TARGET_SECONDS and gibibytes <= TARGET_GIB,
        "by spikes": by_spikes,
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _seconds(network: Network, images: Mask, workers: int) -> float:
    return round(timed(lambda: present(network, images, workers=workers), REPEATS)[1] / len(images), 4)


def _row(network: Network, images: Mask, density: float, workers: int) -> dict[str, Any]:
    counts, seconds = timed(lambda: present(network, images, workers=workers), REPEATS)
    spikes = int(counts.sum()) // len(images)
    return {"share of pixels": density, "spikes per image": spikes, "seconds per image": round(seconds / len(images), 4)}


if __name__ == "__main__":
    main()
