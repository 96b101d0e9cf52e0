"""Looks for violations among a million (network, set, point) triples: random networks, sets and points, descents included."""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections import Counter
from pathlib import Path

import torch

from neurocert.certify.errors import NumericalFailure
from neurocert.certify.testing import conformance
from neurocert.certify.testing.networks import IMAGE, random_network
from neurocert.perturbations.balls import L1Ball, L2Ball, LinfBall

RESULTS = Path(__file__).parent / "results" / "soundness.json"
BATCH = 8
KINDS = (LinfBall, L2Ball, L1Ball)


def main() -> None:
    """Runs until the wanted number of triples is reached, and writes what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triples", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun, tried, count = time.process_time(), Counter[str](), 0
    found: list[str] = []
    seed = options.seed
    while count < options.triples:
        points, kind, problems = examined(seed)
        count, seed = count + points, seed + 1
        tried[kind] += points
        found += problems
    result = {
        "machine": {"processor": platform.machine(), "python": platform.python_version(), "torch": torch.__version__, "threads": 1},
        "seeds": [options.seed, seed - 1],
        "networks": seed - options.seed,
        "triples": count,
        "by_set_and_dtype": dict(sorted(tried.items())),
        "violations": len(found),
        "first": found[:10],
        "cpu_seconds": round(time.process_time() - begun, 1),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))  # noqa: T201


def examined(seed: int) -> tuple[int, str, list[str]]:
    """(points tried, kind of set and dtype, violations) of one random network."""
    choose, generator = random.Random(seed), torch.Generator().manual_seed(seed)  # noqa: S311
    network, dtype = random_network(seed), choose.choice((torch.float32, torch.float32, torch.float64))
    kind, radius = choose.choice(KINDS), choose.choice((0.0, 1e-6, 0.003, 0.03, 0.3))
    centres = torch.rand(BATCH, *IMAGE, generator=generator) * 2 - 1
    centres = (centres * 4).round() / 4 if choose.random() < 0.25 else centres
    ball = kind(radius, -1.0, 1.0)
    name = f"{ball.norm}, {str(dtype).removeprefix('torch.')}"
    try:
        problems = conformance.violations(network.to(dtype), centres.to(dtype), ball, seed=seed)
    except NumericalFailure:
        return 0, f"{name}, no bound", []
    outputs = network(centres[:1].to(dtype)).numel()
    points = 1 + 2 * conformance.POINTS + 6 * min(outputs, conformance.DESCENTS)
    return points * BATCH, name, [f"seed {seed}: {problem}" for problem in problems]


if __name__ == "__main__":
    main()
