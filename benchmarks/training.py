"""Networks trained through bounds: how long the training took, and what is certified, attacked and correct on the test images.

    python benchmarks/training.py [--train] [--mnist FOLDER] [NAME ...]

Each NAME is a recipe; by default all of ``GOALS`` whose data are there. ``--train`` follows the recipes first and keeps the
checkpoints under checkpoints/; otherwise those (or the shipped ones) are measured again. Writes results/training.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from measuring import surroundings

from neurocert.analysis.statistics import Proportion
from neurocert.certify import Certificate, LinfBall, Verdict, verify
from neurocert.certify.training.robust import train
from neurocert.models import checkpoints
from neurocert.models.checkpoints import Checkpoint
from neurocert.models.data.samples import Samples
from neurocert.models.data.source import load_samples
from neurocert.models.training.loop import Epoch
from neurocert.models.training.recipe import BUILT_IN, Recipe, load_recipe

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "training.json"
GOALS = {  # recipe: share of all test images to be certified by intervals at the recipe's epsilon
    "digits-flex-ann-robust": 0.90,
    "digits-flex-snn-robust": 0.90,
    "mnist-flex-ann-robust": 0.90,
    "mnist-conv-lif-robust": 0.85,
}
LINEAR_SAMPLES = 200
BATCH = 500


def main() -> None:
    """Measures each network in turn and writes what is known after each."""
    options = _options()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
    rows = known["rows"]
    for name in options.names or GOALS:
        recipe = load_recipe(name)
        data = BUILT_IN if recipe.data.source == BUILT_IN else options.mnist
        if data is None:
            _say(f"{name}: skipped, its data are not given (--mnist FOLDER)")
            continue
        if not (options.train or _own(name).exists() or name in checkpoints.shipped()):
            _say(f"{name}: skipped, its checkpoint is not kept here (--train makes it)")
            continue
        minutes = _train(recipe, data) if options.train else rows.get(name, {}).get("training_cpu_minutes")
        rows[name] = _row(recipe, _checkpoint(name), load_samples(data, "test"), minutes)
        _say(f"{name}: {json.dumps(rows[name], indent=1)}")
        RESULTS.write_text(json.dumps({"machine": surroundings(), "rows": rows}, indent=2) + "\n")


def _train(recipe: Recipe, data: str) -> float:
    """Follows a recipe, keeps the checkpoint, returns the CPU minutes it took, validation included."""
    begun = time.process_time()

    def on_epoch(epoch: Epoch) -> None:
        score = f"{epoch.validation.correct}/{epoch.validation.n} {epoch.counts}"
        _say(f"{recipe.name}: epoch {epoch.number}/{epoch.of}, loss {epoch.loss:.4f}, {score}, {time.process_time() - begun:.0f} s")

    network, metadata = train(recipe, data=None if data == BUILT_IN else data, on_epoch=on_epoch)
    path = _own(recipe.name)
    path.parent.mkdir(exist_ok=True)
    checkpoints.save(path, network, metadata)
    return round((time.process_time() - begun) / 60, 2)


def _own(name: str) -> Path:
    return HERE / "checkpoints" / f"{name}{checkpoints.SUFFIX}"


def _checkpoint(name: str) -> Checkpoint:
    return checkpoints.load(_own(name) if _own(name).exists() else name)


def _row(recipe: Recipe, checkpoint: Checkpoint, test: Samples, minutes: float | None) -> dict[str, Any]:
    assert recipe.robust is not None, "every goal is a robust recipe"
    epsilon, few = recipe.robust.epsilon, test.take(range(min(LINEAR_SAMPLES, len(test))))
    everything = _certificates(checkpoint, test, epsilon, "interval", "pgd")
    certified = _count(everything, Verdict.CERTIFIED)
    return {
        "checkpoint_sha256": checkpoint.sha256,
        "recipe_sha256": recipe.sha256,
        "made_by_this_recipe": checkpoint.metadata.provenance.recipe.sha256 == recipe.sha256,
        "torch_of_training": checkpoint.metadata.provenance.versions.torch,
        "seed": recipe.training.seed,
        "semantics": checkpoint.semantics.describe(),
        "parameters": sum(parameter.numel() for parameter in checkpoint.network.parameters()),
        "training_cpu_minutes": minutes,
        "data_sha256": test.sha256,
        "epsilon": epsilon,
        "clean": _share(len(test) - _count(everything, Verdict.MISCLASSIFIED), len(test)),
        "pgd": _share(len(test) - _count(everything, Verdict.MISCLASSIFIED, Verdict.FALSIFIED), len(test)),
        "certified_interval": _share(certified, len(test)),
        "certified_interval_on_first": _share(_count(everything[: len(few)], Verdict.CERTIFIED), len(few)),
        "certified_linear_on_first": _share(_count(_certificates(checkpoint, few, epsilon, "linear", None), Verdict.CERTIFIED), len(few)),
        "goal": GOALS.get(recipe.name),
    }


def _certificates(checkpoint: Checkpoint, samples: Samples, epsilon: float, method: str, attack: str | None) -> list[Certificate]:
    batches = zip(samples.inputs.split(BATCH), samples.labels.split(BATCH), strict=True)
    found = [verify(checkpoint.network, inputs, labels, LinfBall(epsilon), method, attack=attack) for inputs, labels in batches]
    return [certificate for batch in found for certificate in batch]


def _count(certificates: list[Certificate], *verdicts: Verdict) -> int:
    return sum(certificate.verdict in verdicts for certificate in certificates)


def _share(count: int, n: int) -> dict[str, Any]:
    lower, upper = Proportion(count, n).interval()
    return {"count": count, "n": n, "share": round(count / n, 4), "clopper_pearson_95": [round(lower, 4), round(upper, 4)]}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure networks that were trained through bounds.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*GOALS, []], help="a recipe")
    parser.add_argument("--train", action="store_true", help="follow the recipes first")
    parser.add_argument("--mnist", metavar="FOLDER", help="MNIST's four files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
