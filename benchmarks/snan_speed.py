"""Time and memory of one 30 ms presentation to a trained 79 x 79 network.

    OMP_NUM_THREADS=1 python benchmarks/snan_speed.py

The network has learned twenty characters (10 pulses each); the images are these characters, one fifth of their pixels inverted.
Writes results/snan_speed.json: core seconds per image, by batch size and by the number of spikes. Core seconds are the time that
all threads together spend computing; other work on the machine lengthens what a clock shows, but hardly these.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from letters import draw
from measuring import surroundings

from neurocert.models.snan.network import Network, create
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.presentation import present
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint
from neurocert.perturbations.impulse import invert

RESULTS = Path(__file__).parent / "results" / "snan_speed.json"
TARGET_CORE_SECONDS, TARGET_GIB = 0.1, 2.0  # 0.05 s per image on two cores, amortised over a batch of 100
WORKERS, REPEATS = 2, 2
BATCHES = (1, 10, 100, 200)
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.4)


def main() -> None:
    """Measures everything and writes it."""
    images = draw(79, 0.75, np.random.default_rng(0)).reshape(20, -1)
    network = imprint(create(Settings(), 0), np.repeat(images, 10, 0))
    noisy = invert(torch.from_numpy(np.tile(images, (10, 1))).float(), 0.2, torch.Generator().manual_seed(0)).numpy() > 0.5
    batches = {size: _measure(network, noisy[:size]) for size in BATCHES}
    gibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    random = np.random.default_rng(1)
    by_spikes = [_measure(network, random.random((40, images.shape[1])) < density) for density in DENSITIES]
    found = {
        "machine": surroundings(),
        "workers": WORKERS,
        "by batch": batches,
        "by spikes": by_spikes,
        "peak GiB": round(gibibytes, 3),
        "targets": {"core seconds per image": TARGET_CORE_SECONDS, "GiB": TARGET_GIB},
        "met": batches[100]["core seconds per image"] <= TARGET_CORE_SECONDS and gibibytes <= TARGET_GIB,
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _measure(network: Network, images: Mask) -> dict[str, Any]:
    """The cheapest of several presentations of a batch."""
    costs, counts = [], np.zeros(0)
    for _ in range(REPEATS):
        begun = time.process_time(), time.perf_counter()
        counts = present(network, images, workers=WORKERS)
        costs.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    core, clock = (round(min(values) / len(images), 4) for values in zip(*costs, strict=True))
    return {"spikes per image": int(counts.sum()) // len(images), "core seconds per image": core, "seconds per image": clock}


if __name__ == "__main__":
    main()
