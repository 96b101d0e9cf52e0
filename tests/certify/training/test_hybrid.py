"""A hybrid is what its recipe says, and survives its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors

from neurocert.certify.training import hybrid
from neurocert.models import checkpoints
from neurocert.models.data.source import load_samples
from neurocert.models.errors import CheckpointError, InputError, RecipeError
from neurocert.models.snan import hybrid_files
from neurocert.models.training import loop
from neurocert.models.training.recipe import Recipe, load_recipe, parse_recipe, recipes

Change = Callable[[dict[str, torch.Tensor]], None]


def changed(recipe: Recipe, **fields: Any) -> Recipe:
    assert recipe.snan is not None
    return recipe.model_copy(update={"snan": recipe.snan.model_copy(update=fields)})


def test_the_same_recipe_gives_the_same_bytes(small_recipe: Recipe, hybrid_file: Path, tmp_path: Path) -> None:
    hybrid_files.save(tmp_path / "again.safetensors", *hybrid.train(small_recipe))
    assert (tmp_path / "again.safetensors").read_bytes() == hybrid_file.read_bytes()


def test_a_hybrid_survives_its_file(trained_hybrid: hybrid.Trained, hybrid_file: Path) -> None:
    stored, images = hybrid_files.load(hybrid_file), load_samples("digits").inputs[:8]
    assert torch.equal(stored.hybrid(images), trained_hybrid.hybrid(images))
    assert stored.metadata.snan.classes == tuple(range(10)) and stored.metadata.spiking


def test_stored_accuracy_is_that_of_the_stored_hybrid(hybrid_file: Path) -> None:
    stored, data = hybrid_files.load(hybrid_file), load_samples("digits")
    score = stored.metadata.classifier.provenance.accuracy.test
    generator = torch.Generator().manual_seed(1)
    chosen = data.take(hybrid.situation(data.labels, 3, generator))
    assert (int((stored.hybrid(chosen.inputs) == chosen.labels).sum()), len(chosen)) == (score.correct, score.n)


def test_the_control_has_learned_nothing_and_sees_resampled_images(control_file: Path) -> None:
    stored, images = hybrid_files.load(control_file), load_samples("digits").inputs[:3]
    binary = stored.hybrid.preprocessor.binarise(images)
    assert torch.equal(stored.hybrid.maps(binary), stored.hybrid.preprocessor.shrink(binary))
    assert len(np.unique(stored.hybrid.preprocessor.network.excitatory_weights)) == 1
    assert stored.metadata.snan.classes == () and stored.metadata.snan.trained_on is None


def test_a_situation_is_what_the_spiking_network_was_shown(small_recipe: Recipe) -> None:
    assert hybrid.train(changed(small_recipe, situation=(3, 1))).classes == (1, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"situation": (1, 12)}, r"situation names classes \[1, 12\]"),
        ({"per_class": 10_000}, "got 10000 samples for each class, expected 1 to"),
        ({"settings": {"excitatory": 1}}, r"excitatory is 1, expected a side of 2 to"),
        ({"settings": {"neurons": 9}}, r"snan.settings: neurons: "),
        ({"settings": {"excitatory": "many"}}, r"snan.settings: excitatory: "),
    ],
)
def test_what_cannot_be_trained_says_why(small_recipe: Recipe, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hybrid.train(changed(small_recipe, **fields))


def test_each_training_refuses_the_others_recipes(small_recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="a spiking network before its classifier"):
        loop.train(small_recipe)
    with pytest.raises(RecipeError, match=r"has no table \[snan\]"):
        hybrid.train(load_recipe("digits-flex-ann"))


def test_no_recipe_is_both_robust_and_spiking() -> None:
    text = (Path(checkpoints.__file__).parent / "recipes" / "digits-flex-ann-robust.toml").read_bytes()
    with pytest.raises(RecipeError, match=r"both tables \[robust\] and \[snan\]"):
        parse_recipe(text + b"\n[snan]\nseed = 1\nper_class = 1\nheld_out = 1\nshown = 1\n")


def test_shipped_hybrids_have_controls_that_differ_in_nothing_else() -> None:
    pairs = [(load_recipe(name), load_recipe(f"{name}-control")) for name in recipes() if f"{name}-control" in recipes()]
    assert len(pairs) == 2
    for spiking, control in pairs:
        assert changed(control, spiking=True).model_dump(exclude={"name", "description"}) == spiking.model_dump(
            exclude={"name", "description"}
        )


def _target(tensors: dict[str, torch.Tensor]) -> None:
    tensors["snan.excitatory_targets"][0, 0] = 169


def _weights(tensors: dict[str, torch.Tensor]) -> None:
    tensors["classifier.readout.weight"][0, 0] += 1


def _stray(tensors: dict[str, torch.Tensor]) -> None:
    tensors["more"] = torch.zeros(1)


def _missing(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["snan.calcium"]


@pytest.mark.parametrize(
    ("change", "message"),
    [(_target, "sha256"), (_weights, "sha256"), (_stray, "holds a tensor 'more'"), (_missing, "holds tensors")],
)
def test_a_damaged_hybrid_is_refused(hybrid_file: Path, tmp_path: Path, change: Change, message: str) -> None:
    data = hybrid_file.read_bytes()
    tensors, note = checkpoints.parse(data)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    (tmp_path / "bad.safetensors").write_bytes(safetensors.save(tensors, metadata={checkpoints.KEY: note}))
    with pytest.raises(CheckpointError, match=message):
        hybrid_files.load(tmp_path / "bad.safetensors")


def test_hybrids_and_classifiers_are_not_taken_for_each_other(hybrid_file: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 'snan-hybrid', expected a classifier alone"):
        checkpoints.load(hybrid_file)
    with pytest.raises(CheckpointError, match="holds a classifier alone, expected a classifier behind an SNAN"):
        hybrid_files.load(checkpoints.resolve("digits-flex-ann"))
