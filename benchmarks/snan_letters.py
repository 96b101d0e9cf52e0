"""The situation-associated letters: recall from noisy cues, with and without the astrocytes' modulation.

    OMP_NUM_THREADS=1 python benchmarks/snan_letters.py

Twenty characters are learned (10 pulses each). Then seven of them, with 5 % of the pixels inverted, raise calcium; in ten cycles
one new character is shown and seven are tested with 20 % inverted. Score of a test: the mean of the true positive and the true
negative rate of "more than 2 spikes in 30 ms" against the clean character. 1.1 s and 7.24 s of model time.
Protocol: Gordleeva et al. (2023). Writes results/snan_letters.json.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from letters import draw
from measuring import surroundings
from numpy.typing import NDArray

from neurocert.models.snan.network import Network, create
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.simulation import Simulation
from neurocert.models.snan.syncytium import Syncytium
from neurocert.models.snan.training import imprint
from neurocert.perturbations.impulse import invert

RESULTS = Path(__file__).parent / "results" / "snan_letters.json"
SEEDS = (0, 1, 2)
REFERENCE = {"with modulation": 0.92, "without": 0.87}
KNOWN, CYCLES, PULSES = 7, 10, 10
NOISE_LEARNING, NOISE_TEST, HEIGHT = 0.05, 0.2, 0.75
START, PERIOD, PULSE = 200, 50, 20
PAUSE, TEST_PERIOD, TEST_PULSE, WINDOW = 6500, 700, 200, 300
RECALL = 2
Images = NDArray[np.bool_]


@dataclass(frozen=True)
class Event:
    """One stimulus: what is shown, from which step, for how many, and the clean image of a test."""

    image: Images
    onset: int
    steps: int
    current: float
    clean: Images | None = None


def schedule(images: Images, generator: torch.Generator, random: np.random.Generator) -> list[Event]:
    """The stimuli of the test phase, in time."""
    strong, weak = 80.0, 8.0
    known, new = list(images[:KNOWN]), images[KNOWN : KNOWN + CYCLES]
    events, onset = [], START
    for image in known:
        events += [Event(_noisy(image, NOISE_LEARNING, generator), onset + k * PERIOD, PULSE, strong) for k in range(PULSES)]
        onset += PULSES * PERIOD
    onset += PAUSE - PERIOD
    for image in new:
        events += [Event(_noisy(image, NOISE_LEARNING, generator), onset + k * PERIOD, PULSE, strong) for k in range(PULSES)]
        onset = events[-1].onset + PULSE + TEST_PERIOD
        for test in known:
            events.append(Event(_noisy(test, NOISE_TEST, generator), onset, TEST_PULSE, weak, test))
            onset += TEST_PERIOD
        onset += TEST_PULSE
        known[random.integers(KNOWN)] = image
        known = [known[index] for index in random.permutation(KNOWN)]
    return events


def _noisy(image: Images, share: float, generator: torch.Generator) -> Images:
    return invert(torch.tensor(image[None], dtype=torch.float32), share, generator)[0].numpy() > 0.5


def recall(network: Network, events: list[Event]) -> list[float]:
    """The score of each test, in one continuous run."""
    simulation, syncytium, scores = Simulation(network), Syncytium(network.settings), []
    begins = {event.onset: event for event in events}
    now, counts = None, np.zeros(network.settings.excitatory**2, np.int64)
    for step in range(events[-1].onset + WINDOW):
        if step in begins:
            now = begins[step]
            counts, stimulus = np.zeros_like(counts), np.where(now.image.reshape(1, -1), now.current, 0.0)
        shown = stimulus if now is not None and step < now.onset + now.steps else None
        counts += simulation.step(shown, onset=step + 1 in begins, astrocytes=syncytium)[0]
        if now is not None and now.clean is not None and step == now.onset + WINDOW - 1:
            scores.append(balanced(counts > RECALL, now.clean.reshape(-1)))
    return scores


def balanced(recalled: Images, clean: Images) -> float:
    """Mean of the true positive and the true negative rate."""
    return float((recalled[clean].mean() + (~recalled[~clean]).mean()) / 2)


def measure(seed: int) -> dict[str, Any]:
    """One seed: characters' places and order, connections, noise."""
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    images = random.permutation(draw(79, HEIGHT, random))
    network = create(Settings(), seed)
    begun = time.perf_counter()
    learned = imprint(network, np.repeat(images.reshape(len(images), -1), PULSES, 0), astrocytes=False)
    events = schedule(images, generator, random)
    scores = recall(learned, events)
    seconds = time.perf_counter() - begun
    flat = replace(learned, settings=replace(learned.settings, modulation=learned.settings.modulation._replace(strength=0.0)))
    without = recall(flat, events)
    return {
        "seed": seed,
        "tests": len(scores),
        "with modulation": round(float(np.mean(scores)), 4),
        "without": round(float(np.mean(without)), 4),
        "seconds": round(seconds, 1),
        "model seconds": round((len(images) * PULSES * PERIOD + events[-1].onset + WINDOW) * Settings().dt, 2),
    }


def main() -> None:
    """All seeds; the time is that of learning and the run with modulation."""
    rows = [measure(seed) for seed in SEEDS]
    means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in REFERENCE}
    met = {name: abs(means[name] - reference) <= 0.01 for name, reference in REFERENCE.items()}
    found = {"machine": surroundings(), "reference": REFERENCE, "mean": means, "within 0.01": met, "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
