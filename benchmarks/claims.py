"""The thesis's claims as hypotheses: six variants, several seeds each, differences paired by seed.

    OMP_NUM_THREADS=1 python benchmarks/claims.py [--seeds 1,2,3] [VARIANT ...]

Each recipe digits-vgg6-VARIANT is followed with each seed (what ships is taken as it is: it is the recipe with seed 1) and
measured. Results are kept in results/claims.json after each network, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from measuring import surroundings

from neurocert.analysis.curves import trapezoid
from neurocert.analysis.hessian import Hessian
from neurocert.analysis.loss_landscape import landscape, random_direction
from neurocert.analysis.spectrum import random_runs, top, trace
from neurocert.analysis.statistics import mean_interval
from neurocert.certify.problem import Problem, make_problem
from neurocert.certify.verifiers.margins import METHODS, capture_problem, margin_bounds
from neurocert.certify.verifiers.verify import replay, search
from neurocert.models import checkpoints
from neurocert.models.data.samples import Samples
from neurocert.models.data.source import load_samples
from neurocert.models.metrics import balanced_accuracy, top1
from neurocert.models.networks.classifier import Classifier
from neurocert.models.training.loop import train
from neurocert.models.training.recipe import load_recipe
from neurocert.perturbations.attacks import Attack
from neurocert.perturbations.attacks.gradient import PGD
from neurocert.perturbations.attacks.refined import Refined
from neurocert.perturbations.attacks.square import Square
from neurocert.perturbations.attacks.surrogates import Surrogates
from neurocert.perturbations.balls import LinfBall

RESULTS = Path(__file__).parent / "results" / "claims.json"
VARIANTS = ("ann", "ann-flex", "snn", "snn-flex", "snn-bp", "snn-bp-flex")
SHIPPED_SEED, SEED_OF_SEARCH = 1, 0
LEAST_SEEDS = 3
ATTACKED, CERTIFIED, CURVED = 40, 8, 100
"""Test images attacked, test images bounded, training images under the loss's curvature."""
RADII = (0.05, 0.1, 0.2, 0.3)
CERTIFIED_RADII = (0.002, 0.01)
GRADIENTS, LOGITS = PGD(), Square(queries=300)
BOTH = Refined(Surrogates(PGD(steps=10, restarts=1)), walkers=1, rounds=1, search_on=Square(queries=500, area=0.03))
"""The thesis's attack; one that sees logits alone; and one through every surrogate, continued by logits."""
LANCZOS_STEPS, PROBES = 12, 16
PLANES, PLANE_RADIUS, PLANE_POINTS = 3, 0.5, 7

FLEX = (("ann-flex", "ann"), ("snn-flex", "snn"), ("snn-bp-flex", "snn-bp"))
SPIKES = (("snn", "ann"), ("snn-bp", "ann"), ("snn-flex", "ann-flex"), ("snn-bp-flex", "ann-flex"))


@dataclass(frozen=True)
class Claim:
    """Of each pair, the first is better than the second.

    Attributes:
        text: what the thesis says.
        measure: by which number.
        sign: 1 where more of it is better, -1 where less is.
        pairs: of variants.
    """

    text: str
    measure: str
    sign: int
    pairs: Sequence[tuple[str, str]]


CLAIMS = (
    Claim("Flex is more accurate", "balanced accuracy", 1, FLEX),
    Claim("Flex is more robust", "area, PGD alone", 1, FLEX),
    Claim("Flex is more robust", "area, worst attack", 1, FLEX),
    Claim("Flex is more robust", "certified", 1, FLEX),
    Claim("Flex is flatter", "top eigenvalue", -1, FLEX),
    Claim("Flex is flatter", "trace", -1, FLEX),
    Claim("Flex is flatter", "rise", -1, FLEX),
    Claim("spiking is more robust", "area, PGD alone", 1, SPIKES),
    Claim("spiking is more robust", "area, worst attack", 1, SPIKES),
    Claim("spiking is more robust", "certified", 1, SPIKES),
)


def main() -> None:
    """Measures what is missing, seed after seed, and judges the claims after each network."""
    options = _options()
    torch.set_num_threads(1)
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    for seed in map(int, options.seeds.split(",")):
        for variant in options.variants or VARIANTS:
            if any((row["variant"], row["seed"]) == (variant, seed) for row in rows):
                continue
            rows = [*rows, _row(variant, seed)]
            sys.stdout.write(json.dumps(rows[-1]) + "\n")
            sys.stdout.flush()
            _write(rows)
    _write(rows)


def _write(rows: list[dict[str, Any]]) -> None:
    found = {"machine": surroundings(), "settings": _settings(), "rows": rows, "claims": [_judged(claim, rows) for claim in CLAIMS]}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _settings() -> dict[str, Any]:
    return {
        "attacked": ATTACKED,
        "certified": CERTIFIED,
        "curved": CURVED,
        "radii": RADII,
        "certified_radii": CERTIFIED_RADII,
        "attacks": [attack.describe() for attack in (GRADIENTS, LOGITS, BOTH)],
        "plane": {"radius": PLANE_RADIUS, "points": PLANE_POINTS, "planes": PLANES},
    }


def _judged(claim: Claim, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A claim holds where every pair's interval lies on its side of 0, does not where one lies on the other, else is undecided.

    A pair of fewer seeds than ``LEAST_SEEDS`` says nothing.
    """
    values = {(row["variant"], row["seed"]): row["measures"][claim.measure] for row in rows}
    pairs = [_paired(values, better, worse) for better, worse in claim.pairs]
    ends = [sorted(claim.sign * end for end in pair["interval_95"]) for pair in pairs if pair["seeds"] >= LEAST_SEEDS]
    if any(upper < 0 for _, upper in ends):
        verdict = "does not hold"
    else:
        verdict = "holds" if len(ends) == len(pairs) and all(lower > 0 for lower, _ in ends) else "undecided"
    return {
        "claim": claim.text,
        "measure": claim.measure,
        "better": "more" if claim.sign > 0 else "less",
        "pairs": pairs,
        "verdict": verdict,
    }


def _paired(values: dict[tuple[str, int], float], first: str, second: str) -> dict[str, Any]:
    seeds = sorted(seed for variant, seed in values if variant == first and (second, seed) in values)
    differences = [values[first, seed] - values[second, seed] for seed in seeds]
    interval = [_rounded(end) for end in mean_interval(differences)] if len(seeds) > 1 else None
    mean = _rounded(fmean(differences)) if seeds else None
    return {"first": first, "second": second, "seeds": len(seeds), "mean": mean, "interval_95": interval}


def _row(variant: str, seed: int) -> dict[str, Any]:
    begun = time.process_time()
    network = _network(f"digits-vgg6-{variant}", seed)
    trained = time.process_time()
    test, training = load_samples("digits", "test"), load_samples("digits", "train").take(range(CURVED))
    with torch.no_grad():
        predicted = network(test.inputs).argmax(1)
    attacked, masking = _attacked(network, test.take(range(ATTACKED)))
    certified, flat = _certified(network, test.take(range(CERTIFIED))), _flatness(network, training)
    measures = {
        "accuracy": top1(predicted, test.labels),
        "balanced accuracy": balanced_accuracy(predicted, test.labels),
        "area, PGD alone": _area(attacked["pgd"]),
        "area, worst attack": _area(attacked["worst"]),
        "certified": certified[-1] / CERTIFIED,
        **{name: flat.pop(name) for name in ("top eigenvalue", "trace", "rise")},
    }
    return {
        "variant": variant,
        "seed": seed,
        "measures": {name: _rounded(value) for name, value in measures.items()},
        "attacked": attacked,
        "certified": certified,
        "masking": masking,
        "curvature": flat,
        "training_cpu_seconds": None if seed == SHIPPED_SEED else round(trained - begun, 1),
        "measuring_cpu_seconds": round(time.process_time() - trained, 1),
    }


def _network(name: str, seed: int) -> Classifier:
    if seed == SHIPPED_SEED:
        return checkpoints.load(name).network
    recipe = load_recipe(name)
    return train(recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})}))[0].eval()


def _attacked(network: Classifier, samples: Samples) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """Counts still right at 0 and at each radius, by attack; and the signs of masked gradients."""
    problem = make_problem(network, samples.inputs, samples.labels, LinfBall(RADII[-1]))
    correct = (problem.margins(problem.inputs) > 0).nonzero()[:, 0].tolist()
    left = dict.fromkeys(("pgd", "square", "worst"), correct)
    counts = {name: [len(correct)] for name in left}
    for radius in RADII:
        here = problem.with_ball(LinfBall(radius))
        for name, attack in (("pgd", GRADIENTS), ("square", LOGITS)):
            left[name] = _unbroken(here, attack, left[name])
        both = [index for index in left["worst"] if index in left["pgd"] and index in left["square"]]
        left["worst"] = _unbroken(here, BOTH, both)
        for name, indices in left.items():
            counts[name].append(len(indices))
    beaten = [radius for radius, pgd, square in zip((0.0, *RADII), counts["pgd"], counts["square"], strict=True) if square < pgd]
    saturated = len(_unbroken(problem.with_ball(LinfBall(network.inputs.high - network.inputs.low)), GRADIENTS, left["pgd"]))
    return counts, {"square_beats_pgd_at": beaten, "left_on_whole_range": saturated}


def _unbroken(problem: Problem, attack: Attack, indices: list[int]) -> list[int]:
    """Those of the samples that an attack does not break."""
    if not indices:
        return []
    with torch.random.fork_rng():
        points = search(problem, attack, indices, SEED_OF_SEARCH).points
    return [index for index, point in zip(indices, points, strict=True) if replay(problem, index, point) is None]


def _area(counts: list[int]) -> float:
    """Mean accuracy over the radii from 0 on."""
    return trapezoid((0.0, *RADII), [count / ATTACKED for count in counts]) / RADII[-1]


def _certified(network: Classifier, samples: Samples) -> list[int]:
    """Counts at each radius; a larger one is tried where the smaller was certified."""
    problem = make_problem(network, samples.inputs, samples.labels, LinfBall(CERTIFIED_RADII[0]))
    left, counts = (problem.margins(problem.inputs) > 0).nonzero()[:, 0].tolist(), []
    for radius in CERTIFIED_RADII:
        here = problem.with_ball(LinfBall(radius))
        lower = margin_bounds(here, capture_problem(here), METHODS["linear"], left).lower if left else problem.margins(problem.inputs)
        left = [index for index in left if float(lower[index]) > 0]
        counts.append(len(left))
    return counts


def _flatness(network: Classifier, samples: Samples) -> dict[str, Any]:
    """The extreme eigenvalue and trace of the loss's Hessian, and the loss's mean rise over random planes."""
    precise, inputs = copy.deepcopy(network).double(), samples.inputs.double()
    hessian = Hessian(precise, inputs, samples.labels)
    eigenvalue = top(random_runs(hessian, LANCZOS_STEPS, 1, SEED_OF_SEARCH, keep=0), 1)[0]
    estimate = trace(hessian, PROBES, SEED_OF_SEARCH)
    rises = [_rise(network, samples, seed) for seed in range(PLANES)]
    return {
        "top eigenvalue": eigenvalue.value,
        "trace": estimate.mean,
        "rise": fmean(rises),
        "converged": eigenvalue.converged,
        "trace_standard_error": _rounded(estimate.standard_error),
        "loss": _rounded(hessian.loss),
        "dimension": hessian.dimension,
        "derivative": hessian.derivative,
    }


def _rise(network: Classifier, samples: Samples, seed: int) -> float:
    first, second = (random_direction(network, 2 * seed + index) for index in range(2))
    plane = landscape(network, samples.inputs, samples.labels, first, second, radius=PLANE_RADIUS, points=PLANE_POINTS)
    return plane.mean_rise


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Test the thesis's claims over several seeds.")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", choices=[*VARIANTS, []], help="by default all six")
    parser.add_argument("--seeds", default="1,2,3", help="of the trainings, such as 1,2,3")
    return parser.parse_args()


if __name__ == "__main__":
    main()
