from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurocert.models.checkpoints import encode, load, save
from neurocert.models.errors import DataError, RecipeError
from neurocert.models.training.loop import Epoch, evaluate, load_splits, measure_normalisation, train
from neurocert.models.training.recipe import Recipe, load_recipe

SPIKING = load_recipe("digits-flex-snn").semantics.model_dump()
STATIC = {"spiking": None}
TRAINING = {"seed": 5, "epochs": 3, "batch_size": 16, "optimiser": "adam", "learning_rate": 0.02, "l1": 1e-4, "input_noise": 0.05}


def recipe(semantics: dict[str, Any] = STATIC, source: str = "stripes", **training: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "description": "a small network",
            "classes": ["across", "down"],
            "architecture": {"name": "flex-vgg", "parameters": {"blocks": [[3, 2]], "hidden": [4]}},
            "semantics": semantics,
            "data": {"source": source},
            "training": TRAINING | training,
        }
    )


def stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 6x6 images of stripes: across (0) or down (1)."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    across = np.broadcast_to(np.arange(6)[:, None] % 2, (6, 6))
    images = np.where(labels[:, None, None] == 0, across, across.T) * 120 + generator.integers(0, 135, (count, 6, 6))
    return images.astype(np.uint8), labels


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray) -> None:
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        (folder / f"{prefix}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """MNIST-like files of stripes: 220 training, 20 validation, 50 test images."""
    write_idx(tmp_path, "train", *stripes(240, seed=0))
    write_idx(tmp_path, "t10k", *stripes(50, seed=1))
    return str(tmp_path)


@pytest.mark.parametrize("semantics", [STATIC, SPIKING], ids=["static", "spiking"])
def test_learns_and_describes_itself(tmp_path: Path, folder: str, semantics: dict[str, Any]) -> None:
    network, metadata = train(recipe(semantics, epochs=8), data=folder)
    splits = load_splits(recipe(), folder)
    accuracy = metadata.provenance.accuracy
    assert accuracy.test.correct >= 48 and accuracy.test.n == 50
    assert (accuracy.train, accuracy.validation, accuracy.test) == tuple(
        evaluate(network, samples)[0] for samples in (splits.train, splits.validation, splits.test)
    )
    assert metadata.provenance.data.model_dump() == {"name": "stripes", "sha256": splits.train.sha256}
    assert metadata.provenance.recipe.sha256 == recipe(semantics, epochs=8).sha256
    save(tmp_path / "small.safetensors", network, metadata)
    assert load(tmp_path / "small.safetensors").metadata == metadata


@pytest.mark.parametrize("semantics", [STATIC, SPIKING], ids=["static", "spiking"])
def test_same_recipe_same_bytes(folder: str, semantics: dict[str, Any]) -> None:
    first, second, other = (encode(*train(recipe(semantics, seed=seed), data=folder)) for seed in (5, 5, 6))
    assert first == second
    assert first != other


def test_leaves_threads_and_random_generator_alone(folder: str) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        train(recipe(epochs=1), data=folder, on_epoch=lambda epoch: seen.append(torch.get_num_threads()))
        assert seen == [1]
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)


def test_keeps_the_best_epoch_on_validation(folder: str) -> None:
    images, labels = stripes(240, seed=0)
    write_idx(Path(folder), "train", images, labels ^ (np.random.default_rng(3).random(240) < 0.3))
    epochs: list[Epoch] = []
    noisy = recipe(epochs=12, learning_rate=0.1, schedule="constant")
    network, metadata = train(noisy, data=folder, on_epoch=epochs.append)
    assert [epoch.number for epoch in epochs] == list(range(1, 13))
    best = max(epochs, key=lambda epoch: (epoch.validation.correct, -epoch.validation_loss))
    assert best.number < len(epochs), "the last epoch is the best one: this recipe tests nothing"
    assert metadata.provenance.best_epoch == best.number
    assert evaluate(network, load_splits(noisy, folder).validation) == (best.validation, pytest.approx(best.validation_loss, rel=1e-6))


def test_never_chooses_by_the_test_split(folder: str) -> None:
    _, metadata = train(recipe(), data=folder)
    images, labels = stripes(50, seed=2)
    write_idx(Path(folder), "t10k", images, 1 - labels)
    _, other = train(recipe(), data=folder)
    assert metadata.tensors_sha256 == other.tensors_sha256
    assert metadata.provenance.best_epoch == other.provenance.best_epoch
    assert metadata.provenance.accuracy.test != other.provenance.accuracy.test


def test_normalisation_is_of_the_training_split(folder: str) -> None:
    _, metadata = train(recipe(epochs=1), data=folder)
    pixels = load_splits(recipe(), folder).train.inputs.double()
    assert metadata.normalisation.mean == (pytest.approx(pixels.mean().item(), abs=1e-6),)
    assert metadata.normalisation.std == (pytest.approx(pixels.std(correction=0).item(), abs=1e-6),)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_penalties_shrink_weights(folder: str, optimiser: str) -> None:
    def size(**penalty: float) -> float:
        settings: dict[str, Any] = TRAINING | {"optimiser": optimiser, "epochs": 4, "l1": 0.0} | penalty
        network, _ = train(recipe(**settings), data=folder)
        return sum(tensor.abs().sum().item() for name, tensor in network.named_parameters() if name.endswith("weight") and tensor.ndim > 1)

    assert size(l1=0.02) < 0.8 * size()
    assert size(weight_decay=0.3) < 0.8 * size()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"batch_size": 20},
        {"optimiser": "adam"},
        {"learning_rate": 0.03},
        {"momentum": 0.5},
        {"schedule": "constant"},
        {"weight_decay": 0.01},
        {"l1": 0.0},
        {"label_smoothing": 0.1},
        {"input_noise": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_counts(folder: str, change: dict[str, Any]) -> None:
    settings: dict[str, Any] = TRAINING | {"optimiser": "sgd", "epochs": 2}
    hashes = {train(recipe(**changed), data=folder)[1].tensors_sha256 for changed in (settings, settings | change)}
    assert len(hashes) == 2


def test_divergence_is_an_error(folder: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe small: in epoch \d+ of 20 the loss is (nan|inf)") as error:
        train(recipe(optimiser="sgd", learning_rate=100, momentum=0.99, weight_decay=1.0, epochs=20), data=folder)
    assert error.value.hint == "lower the learning rate"


def test_data_that_the_user_must_give() -> None:
    with pytest.raises(RecipeError, match="recipe mnist-flex-ann trains on 'mnist'") as error:
        train(load_recipe("mnist-flex-ann"))
    assert error.value.hint == "give its folder with --data PATH"


def test_data_that_the_recipe_does_not_name(folder: str) -> None:
    with pytest.raises(RecipeError, match="trains on digits, got data"):
        train(recipe(source="digits"), data=folder)


def test_label_without_a_class(folder: str) -> None:
    images, labels = stripes(50, seed=1)
    write_idx(Path(folder), "t10k", images, labels + 1)
    with pytest.raises(DataError, match=r"/test: a label is 2, the network has classes 0\.\.1"):
        train(recipe(), data=folder)


def test_constant_channel(folder: str) -> None:
    images, labels = stripes(240, seed=0)
    write_idx(Path(folder), "train", images * 0 + 9, labels)
    with pytest.raises(DataError, match="channel 0 is constant over the training split"):
        measure_normalisation(load_splits(recipe(), folder).train)


def test_digits_recipe_starts_as_the_shipped_one_did() -> None:
    """One epoch of the committed recipe, through the built-in data."""
    shipped = load_recipe("digits-flex-ann")
    short = shipped.model_copy(update={"training": shipped.training.model_copy(update={"epochs": 1})})
    _, metadata = train(short)
    assert metadata.provenance.accuracy.validation.correct > 200
    assert metadata.inputs.shape == (1, 8, 8)
