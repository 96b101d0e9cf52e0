"""``certify train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neurocert.certify.cli.console import answer, progress
from neurocert.certify.training import hybrid, robust
from neurocert.models import checkpoints
from neurocert.models.files import require_writable
from neurocert.models.schema import CheckpointMetadata
from neurocert.models.snan import hybrid_files
from neurocert.models.training.loop import Epoch
from neurocert.models.training.recipe import Recipe, load_recipe


def train(name: str, out: str, data: str | None, device: str) -> None:
    """Trains by a recipe, writes the checkpoint, prints what came out."""
    recipe, path = load_recipe(name), Path(out)
    require_writable(path)
    with progress() as step:

        def on_epoch(epoch: Epoch) -> None:
            score = epoch.validation
            step(f"loss {epoch.loss:.4f}, {score.correct}/{score.n} {epoch.counts} on validation", epoch.number, epoch.of)

        metadata = _follow(recipe, path, data, device, on_epoch)
    origin = metadata.provenance
    scores = ", ".join(f"{name} {score.correct}/{score.n}" for name, score in origin.accuracy)
    answer(f"{recipe.name}: epoch {origin.best_epoch} of {origin.epochs}, best on validation; correct: {scores}", f"Checkpoint: {path}")


def _follow(recipe: Recipe, path: Path, data: str | None, device: str, on_epoch: Callable[[Epoch], None]) -> CheckpointMetadata:
    """Trains and writes a network, or a hybrid; returns what its file says of the classifier."""
    if recipe.snan is not None:
        made = hybrid.train(recipe, data=data, device=device, on_epoch=on_epoch)
        hybrid_files.save(path, *made)
        return made.classifier
    network, metadata = robust.train(recipe, data=data, device=device, on_epoch=on_epoch)
    checkpoints.save(path, network, metadata)
    return metadata
