from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocert.models.errors import RecipeError
from neurocert.models.semantics import ClipNeurons, FactorLeak, Spiking
from neurocert.models.training.recipe import AugmentationSpec, Recipe, load_recipe, parse_recipe, recipes

STATIC = """
name = "small"
description = "a small network"
classes = ["a", "b"]
semantics = "static"

[architecture]
name = "flex-vgg"
parameters = { blocks = [[2, 2]], hidden = [] }

[data]
source = "digits"

[training]
seed = 0
epochs = 2
batch_size = 10
optimiser = "sgd"
learning_rate = 1
"""
ROBUST = {"norm": "linf", "epsilon": 0.1, "warm_up_epochs": 0, "ramp_epochs": 1}


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    document = tomllib.loads(STATIC)
    change(document)
    return document


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            document = document[parent]
        document[last] = value

    return change


def text_of(document: dict[str, Any]) -> bytes:
    """TOML with every value inline."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
        if isinstance(value, bool):
            return str(value).lower()
        return repr(value)

    return "\n".join(f"{key} = {inline(value)}" for key, value in document.items()).encode()


@pytest.mark.parametrize("name", recipes())
def test_recipes_of_the_package(name: str) -> None:
    assert load_recipe(name).name == name


def test_static_and_spiking() -> None:
    assert parse_recipe(STATIC.encode()).semantics.value().spiking is None
    expected = Spiking(1.0, ">", "hard", 0.0, "in-step", FactorLeak(0.5), 4, "direct", "mean")
    assert load_recipe("digits-flex-snn").semantics.value().spiking == expected


def test_hash_is_of_the_content() -> None:
    recipe = parse_recipe(STATIC.encode())
    assert parse_recipe(("# a remark\n" + STATIC + "momentum = 0.9\n").encode()).sha256 == recipe.sha256
    assert parse_recipe((STATIC + "momentum = 0.8\n").encode()).sha256 != recipe.sha256
    assert Recipe.model_validate_json(recipe.model_dump_json()).sha256 == recipe.sha256


ABSENT = ',"robust":null,"masks":null,"augmentation":null,"snan":null'


def test_hash_of_a_recipe_without_bounds_knows_nothing_of_them() -> None:
    """Checkpoints name the hash of their recipe; a table that is not there must not change it."""
    recipe, robust = parse_recipe(STATIC.encode()), Recipe.model_validate(changed(put("robust", ROBUST)) | {"semantics": "static"})
    assert recipe.sha256 == hashlib.sha256(recipe.model_dump_json().replace(ABSENT, "").encode()).hexdigest()
    assert (
        robust.sha256
        == hashlib.sha256(
            robust.model_dump_json().replace(',"linear":null', "").replace(ABSENT.replace(',"robust":null', ""), "").encode()
        ).hexdigest()
    )
    assert robust.sha256 not in {recipe.sha256, Recipe.model_validate(changed(put("robust", ROBUST | {"epsilon": 0.2}))).sha256}


def test_nothing_in_a_file_reaches_the_terminal_raw(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(STATIC.replace("name", '"\\u001b[2J\\n"', 1))
    with pytest.raises(RecipeError, match=r"\\x1b\[2J\\n: Extra inputs") as error:
        load_recipe(path)
    assert str(error.value).isprintable()


def test_file_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(STATIC)
    assert load_recipe(path).name == "small"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("training"), "training: Field required"),
        (lambda document: document["training"].pop("seed"), "training.seed: Field required"),
        (put("training.epochs", 0), "training.epochs: Input should be greater than or equal to 1, got 0"),
        (put("training.epochs", 1.5), "training.epochs: Input should be a valid integer"),
        (put("training.learning_rate", -0.1), "training.learning_rate: Input should be greater than 0, got -0.1"),
        (put("training.learning_rate", float("nan")), "training.learning_rate: Input should be"),
        (put("training.optimiser", "lion"), "training.optimiser: Input should be 'sgd' or 'adam', got 'lion'"),
        (put("training.l1", True), "training.l1: Input should be a valid number, got True"),
        (put("training.dropout", 0.5), "training.dropout: Extra inputs are not permitted"),
        (put("data.low", 1.0), "data: got low 1.0 and high 1.0, expected low < high"),
        (put("classes", ["a"]), "classes: Tuple should have at least 2 items"),
        (put("semantics", "spiking"), r"semantics: got 'spiking', expected \"static\" or a table \[semantics.spiking\]"),
        (put("semantics", {"spiking": {"threshold": 1.0}}), "semantics.spiking.comparison: Field required"),
        (put("robust", {"norm": "linf"}), "robust.epsilon: Field required"),
        (put("robust", ROBUST | {"norm": "l2"}), "robust.norm: Input should be 'linf', got 'l2'"),
        (put("robust", ROBUST | {"epsilon": 0.0}), "robust.epsilon: Input should be greater than 0, got 0.0"),
        (put("robust", ROBUST | {"stretch": 0.5}), "robust.stretch: Input should be greater than or equal to 1, got 0.5"),
        (put("robust", ROBUST | {"clean_weight": 1.5}), "robust.clean_weight: Input should be less than or equal to 1, got 1.5"),
        (put("robust", ROBUST | {"radius": 0.1}), "robust.radius: Extra inputs are not permitted"),
        (put("robust", ROBUST | {"ramp_epochs": 2}), "robust: warm-up and ramp take 2 epochs of 2, expected some left at full radius"),
        (put("robust", ROBUST | {"linear": {"start": 2.0}}), "robust.linear.start: Input should be less than or equal to 1, got 2.0"),
        (put("robust", ROBUST | {"linear": {"start": 0.0}}), "robust.linear: got start 0 and end 0, expected one of them above 0"),
        (put("robust", ROBUST | {"linear": {"share": 0.5}}), "robust.linear.share: Extra inputs are not permitted"),
        (put("masks", {"penalty": "l2"}), "masks.penalty: Input should be 'squared' or 'l1', got 'l2'"),
        (put("masks", {"target": 1.5}), "masks.target: Input should be less than or equal to 1, got 1.5"),
        (put("masks", {"freeze_after": 2}), "masks.freeze_after is 2 of 2 epochs, expected some left after it"),
        (put("augmentation", {"rotate": 3}), "augmentation.rotate: Extra inputs are not permitted"),
        (put("architecture.name", "resnet"), "unknown architecture 'resnet'"),
        (put("architecture.parameters", {"blocks": [[2, 9]], "hidden": []}), "blocks.0.1: Input should be less than or equal to 8, got 9"),
    ],
)
def test_refuses_with_the_fields_path(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text_of(changed(change)))
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(path)
    assert error.value.message.startswith(f"{path}: is not a recipe: ") and error.value.hint is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a recipe: name: Field required"),
        (b"a = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"a = " + b"[" * 50_000, "is not TOML"),
    ],
)
def test_not_toml(data: bytes, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(data)


@pytest.mark.parametrize("name", ["digits", "nowhere/a.toml", "", "a\0b"])
def test_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(name)
    assert error.value.hint is not None and "digits-flex-ann" in error.value.hint


@given(data=st.binary(max_size=200) | st.text(alphabet="[]{}=\"'.,# \n\ta1-_:Z+", max_size=60).map(str.encode))
def test_any_bytes_are_a_recipe_error(data: bytes) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(data)


@given(place=st.integers(0, len(STATIC) - 1), new=st.text(alphabet="[]{}=\"'.,# \nae1-", max_size=2), cut=st.integers(0, 2))
def test_a_changed_recipe_is_a_recipe_or_an_error(place: int, new: str, cut: int) -> None:
    try:
        recipe = parse_recipe((STATIC[:place] + new + STATIC[place + cut :]).encode())
    except RecipeError:
        return
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


VARIANTS = {
    "ann": (False, None),
    "ann-flex": (True, None),
    "snn": (False, ClipNeurons),
    "snn-flex": (True, ClipNeurons),
    "snn-bp": (False, Spiking),
    "snn-bp-flex": (True, Spiking),
}


LESS_DECAY = {"mnist-vgg6-small-snn-bp-flex": 1e-4}
"""Where the thesis's decay keeps a narrow network from learning, as docs/decisions.md says."""


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", ["digits-vgg6", "mnist-vgg6-small", "mnist-vgg6", "cifar10-vgg11", "imagenet100-vgg16"])
def test_the_six_variants(family: str, variant: str) -> None:
    recipe, (flex, neurons) = load_recipe(f"{family}-{variant}"), VARIANTS[variant]
    assert recipe.name == f"{family}-{variant}"
    assert recipe.architecture.parameters["flex"] is flex
    spiking = recipe.semantics.value().spiking
    assert type(spiking) is (neurons or type(None))
    if isinstance(spiking, Spiking):
        assert (spiking.threshold, spiking.leak, spiking.reset, spiking.reset_value) == (1.0, FactorLeak(0.95), "hard", 0.0)
    training, decay = recipe.training, LESS_DECAY.get(recipe.name, 5e-4)
    assert (training.optimiser, training.momentum, training.weight_decay, training.schedule) == ("sgd", 0.9, decay, "cosine")


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "rate", "dropout"),
    [("mnist-vgg6", 120, 128, 0.01, 0.3), ("cifar10-vgg11", 120, 128, 0.1, 0.2), ("imagenet100-vgg16", 180, 256, 0.1, 0.2)],
)
def test_full_size_recipes_are_the_theses(name: str, epochs: int, batch: int, rate: float, dropout: float) -> None:
    recipe = load_recipe(f"{name}-snn-bp-flex")
    assert (recipe.training.epochs, recipe.training.batch_size, recipe.training.learning_rate) == (epochs, batch, rate)
    assert recipe.architecture.parameters["dropout"] == dropout and recipe.architecture.parameters["width"] == 1
    spiking = recipe.semantics.value().spiking
    assert spiking is not None and spiking.time_steps == 10
    assert recipe.masks is not None and recipe.masks.penalty == "squared"
    assert recipe.augmentation == (None if name == "mnist-vgg6" else AugmentationSpec(crop=4, flip=True))
