"""The six variants, trained plainly and through bounds: accuracies, accuracies under each attack, certificates, time.

    python benchmarks/variants.py [--train | --train-only] [--data FOLDER] [--checkpoints FOLDER] [NAME ...]

Each NAME is a recipe; by default all of ``TABLES``, those on MNIST where ``--data`` gives its folder. ``--train`` follows the
recipes whose checkpoint is neither shipped nor in ``--checkpoints``; what has no checkpoint is left out. Every piece is
written to results/variants.json as soon as it is known and is not measured again while its checkpoint stays the same, so a run
that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import surroundings

from neurocert.certify.campaign.campaign import campaign
from neurocert.certify.problem import Problem, make_problem
from neurocert.certify.training.robust import train
from neurocert.certify.verifiers.margins import METHODS, Method, capture_problem, margin_bounds
from neurocert.models import checkpoints
from neurocert.models.checkpoints import Checkpoint
from neurocert.models.data.samples import Samples
from neurocert.models.data.source import load_samples
from neurocert.models.networks.classifier import Classifier
from neurocert.models.training.history import Epoch
from neurocert.models.training.objective import measure
from neurocert.models.training.recipe import BUILT_IN, load_recipe
from neurocert.perturbations.attacks import Attack
from neurocert.perturbations.attacks.suite import attacks
from neurocert.perturbations.balls import LinfBall

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "variants.json"
VARIANTS = ("ann", "ann-flex", "snn", "snn-flex", "snn-bp", "snn-bp-flex")
BOUNDS = ("linear", "optimised")
EPSILONS = (0.002, 0.02, 0.1)
"""In the maximum norm: what spiking networks stand without, what the digits are trained for, what MNIST is trained for."""
STAGES = (("clean", "interval"), ("attack",), ("linear", "optimised"))
"""Kinds of pieces; bounds follow attacks, for what is broken is not bounded."""
BATCH, SEED = 8, 0


@dataclass(frozen=True)
class Table:
    """What is asked of the networks of one data set.

    Attributes:
        names: recipes.
        samples: first test images that are attacked, and bounded linearly as far as ``seconds`` last. Intervals bound all.
        seconds: of processor time after which a method begins no other batch at a radius.
    """

    names: tuple[str, ...]
    samples: int
    seconds: float


TABLES = {
    "digits": Table(tuple(f"digits-vgg6-{v}{way}" for way in ("", "-robust") for v in VARIANTS), 20, 30.0),
    "mnist": Table(
        (
            *(f"mnist-vgg6-small-{v}{way}" for way in ("", "-robust") for v in VARIANTS),
            "mnist-flex-ann-robust",
            "mnist-conv-lif-robust",
        ),
        10,
        30.0,
    ),
}


def main() -> None:
    """Trains what is wanted, then measures: what is cheap of all networks first."""
    options = _options()
    torch.set_num_threads(1)
    sources = {BUILT_IN: BUILT_IN} | ({"mnist": options.data} if options.data else {})
    wanted = [(source, name) for source in sources for name in TABLES[source].names if name in options.names or not options.names]
    for source, name in wanted if options.train or options.train_only else []:
        if _path(name, options.checkpoints) is None:
            _train(name, sources[source], options.checkpoints)
    for kinds in () if options.train_only else STAGES:
        for source, name in wanted:
            if path := _path(name, options.checkpoints):
                _measure(source, kinds, checkpoints.load(path), load_samples(sources[source], "test"), _minutes(path))


def _train(name: str, data: str, folder: Path) -> None:
    """Follows a recipe and keeps the checkpoint, with the CPU minutes that it took beside it."""
    recipe, begun = load_recipe(name), time.process_time()

    def on_epoch(epoch: Epoch) -> None:
        score = f"{epoch.validation.correct}/{epoch.validation.n} {epoch.counts}, {epoch.clean.correct} correct"
        _say(f"{name}: epoch {epoch.number}/{epoch.of}, loss {epoch.loss:.4f}, {score}, {time.process_time() - begun:.0f} s")

    network, metadata = train(recipe, data=None if data == BUILT_IN else data, on_epoch=on_epoch)
    path = folder / f"{name}{checkpoints.SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps({"cpu_minutes": round((time.process_time() - begun) / 60, 2)}) + "\n")
    checkpoints.save(path, network, metadata)


def _path(name: str, folder: Path) -> Path | None:
    """Where a network's checkpoint is: one of this run, or kept beside this script, or shipped."""
    own = (parent / f"{name}{checkpoints.SUFFIX}" for parent in (folder, HERE / "checkpoints"))
    return next((path for path in own if path.exists()), checkpoints.resolve(name) if name in checkpoints.shipped() else None)


def _minutes(path: Path) -> float | None:
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text())["cpu_minutes"] if beside.exists() else None


def _measure(source: str, kinds: tuple[str, ...], checkpoint: Checkpoint, test: Samples, minutes: float | None) -> None:
    """Measures what is not known of this very checkpoint, of the kinds that are asked for, and writes after each piece."""
    name, table = checkpoint.metadata.provenance.recipe.name, TABLES[source]
    for key, piece in _pieces(table, checkpoint.network, test.take(range(table.samples)), test):
        row = _row(_known(), source, checkpoint, minutes)
        if key.split()[0] in kinds and key not in row:
            found = piece(row)
            known = _known()  # again: another run may have written in the meantime
            rows = known.setdefault(source, {})
            rows[name] = _row(known, source, checkpoint, minutes) | {key: found}
            known[source] = {other: rows[other] for other in table.names if other in rows}
            known["machine"], known["epsilons"] = surroundings(), EPSILONS
            known["samples"] = {source: table.samples for source, table in TABLES.items()}
            RESULTS.write_text(json.dumps(known, indent=1) + "\n")
            _say(f"{name}: {key}: {json.dumps(found)}")


def _known() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _row(known: dict[str, Any], source: str, checkpoint: Checkpoint, minutes: float | None) -> dict[str, Any]:
    """What is known of this very checkpoint."""
    row = known.get(source, {}).get(checkpoint.metadata.provenance.recipe.name, {})
    if row.get("checkpoint_sha256") == checkpoint.sha256:
        return row
    return {"checkpoint_sha256": checkpoint.sha256, "training_cpu_minutes": minutes, **_setting(checkpoint)}


def _setting(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "semantics": checkpoint.semantics.describe(),
        "parameters": sum(parameter.numel() for parameter in checkpoint.network.parameters()),
        "recipe_sha256": checkpoint.metadata.provenance.recipe.sha256,
    }


Piece = Callable[[dict[str, Any]], Any]
"""Takes what is known already of a network."""


def _pieces(table: Table, network: Classifier, few: Samples, test: Samples) -> Iterator[tuple[str, Piece]]:
    """What there is to know of a network, cheap things first."""
    balls = [LinfBall(epsilon) for epsilon in EPSILONS]
    problem = make_problem(network, few.inputs, few.labels, balls[0])
    yield "clean", partial(_clean, network, test)
    for ball in balls:
        yield f"interval {ball.epsilon:g}", _unless_hopeless("interval", ball, len(test), partial(_by_intervals, network, test, ball))
    for attack in attacks():
        yield f"attack {attack.name}", partial(_attacked, problem, balls, attack)
    for ball in balls:
        for name in BOUNDS:
            certified = partial(_certified, problem.with_ball(ball), METHODS[name], table.seconds)
            yield f"{name} {ball.epsilon:g}", _unless_hopeless(name, ball, len(few), certified)


def _unless_hopeless(method: str, ball: LinfBall, n: int, piece: Piece) -> Piece:
    """What certifies nothing in some ball is not asked about a larger one, and has certified nothing there."""
    smaller = [f"{method} {epsilon:g}" for epsilon in EPSILONS if epsilon < ball.epsilon]
    return lambda row: _proved([], n, 0, 0.0) if any(row.get(key, {}).get("count") == 0 for key in smaller) else piece(row)


def _clean(network: Classifier, test: Samples, row: dict[str, Any]) -> dict[str, Any]:
    measured = measure(network, test)
    return {"count": measured.score.correct, "n": measured.score.n, "balanced": round(measured.balanced, 6)}


def _attacked(problem: Problem, balls: list[LinfBall], attack: Attack, row: dict[str, Any]) -> dict[str, Any]:
    """The samples that are misclassified or that the attack breaks, at each radius."""
    begun = time.process_time()
    outcomes = campaign(problem, tuple(balls), (), (attack,), SEED, lambda text, done, steps: None)
    wrong: dict[str, list[str]] = {f"{ball.epsilon:g}": [] for ball in balls}
    for outcome in outcomes:
        margin = outcome.attacks[attack.name]
        if margin is None or margin <= 0:
            wrong[f"{outcome.epsilon:g}"].append(str(outcome.sample))
    seconds = round(time.process_time() - begun, 1)
    return {"wrong": {radius: " ".join(samples) for radius, samples in wrong.items()}, "cpu_seconds": seconds}


def _by_intervals(network: Classifier, test: Samples, ball: LinfBall, row: dict[str, Any]) -> dict[str, Any]:
    """How many of all test images are certified by intervals."""
    problem, begun = make_problem(network, test.inputs, test.labels, ball), time.process_time()
    correct = (problem.margins(problem.inputs) > 0).nonzero()[:, 0].tolist()
    lower = margin_bounds(problem, capture_problem(problem), METHODS["interval"], correct).lower
    return _proved(lower[lower > 0].tolist(), len(test), len(correct), time.process_time() - begun)


def _certified(problem: Problem, method: Method, seconds: float, row: dict[str, Any]) -> dict[str, Any]:
    """How many of the first samples are certified. Those that are misclassified or broken cannot be, and are not tried."""
    radius, begun = f"{problem.ball.epsilon:g}", time.process_time()
    wrong = {int(index) for attack in attacks() for index in row[f"attack {attack.name}"]["wrong"][radius].split()}
    open_samples, graph = [index for index in range(len(problem.inputs)) if index not in wrong], capture_problem(problem)
    lowers: dict[int, float] = {}
    for start in range(0, len(open_samples), BATCH):
        if time.process_time() - begun < seconds:
            batch = open_samples[start : start + BATCH]
            lower = margin_bounds(problem, graph, method, batch).lower[batch]
            lowers |= dict(zip(batch, lower.tolist(), strict=True))
    n = len(problem.inputs) if len(lowers) == len(open_samples) else max(lowers) + 1
    return _proved([lower for lower in lowers.values() if lower > 0], n, len(lowers), time.process_time() - begun)


def _proved(margins: list[float], n: int, tried: int, seconds: float) -> dict[str, Any]:
    return {
        "count": len(margins),
        "n": n,
        "mean_margin": math.fsum(margins) / len(margins) if margins else None,
        "cpu_seconds_per_sample": round(seconds / tried, 4) if tried else None,
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    names = [name for table in TABLES.values() for name in table.names]
    parser = argparse.ArgumentParser(description="Train, attack and certify the six variants.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names, []], help="a recipe")
    parser.add_argument("--train", action="store_true", help="follow the recipes that have no checkpoint yet")
    parser.add_argument("--train-only", action="store_true", help="train, and measure nothing")
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's four files")
    parser.add_argument("--checkpoints", type=Path, default=Path("variants"), metavar="FOLDER", help="where new checkpoints go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
