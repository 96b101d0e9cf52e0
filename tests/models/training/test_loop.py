from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurocert.models.checkpoints import encode, load, save
from neurocert.models.data.samples import Batches
from neurocert.models.errors import CheckpointError, DataError, InputError, RecipeError
from neurocert.models.masks import mean_masks, routing
from neurocert.models.metrics import balanced_accuracy, top1
from neurocert.models.training.loop import Epoch, evaluate, load_splits, measure_normalisation, train
from neurocert.models.training.recipe import Recipe, load_recipe

SPIKING = load_recipe("digits-flex-snn").semantics.model_dump()
STATIC = {"spiking": None}
TRAINING = {"seed": 5, "epochs": 3, "batch_size": 16, "optimiser": "adam", "learning_rate": 0.02, "l1": 1e-4, "input_noise": 0.05}


def recipe(semantics: dict[str, Any] = STATIC, source: str = "stripes", tables: dict[str, Any] | None = None, **training: Any) -> Recipe:
    return Recipe.model_validate(
        (tables or {})
        | {
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


def test_history_is_what_each_epoch_measured(folder: str) -> None:
    epochs: list[Epoch] = []
    network, metadata = train(recipe(epochs=4), data=folder, on_epoch=epochs.append)
    history, best = metadata.history, metadata.provenance.best_epoch - 1
    assert history is not None
    assert history.loss == tuple(round(epoch.loss, 6) for epoch in epochs)
    assert history.validation == tuple(round(epoch.validation.correct / 20, 6) for epoch in epochs)
    (layer,) = history.routing
    assert layer.layer == "synapses.0.0"
    splits = load_splits(recipe(), folder)
    (routed,) = routing(network, splits.validation.batch(torch.arange(20))[0])
    assert layer.conv_ratio[best] == pytest.approx(routed.conv_ratio, abs=1e-6)
    assert layer.binariness[best] == pytest.approx(routed.binariness, abs=1e-6)
    predicted = network(splits.validation.batch(torch.arange(20))[0]).argmax(1)
    assert history.balanced[best] == pytest.approx(balanced_accuracy(predicted, splits.validation.labels), abs=1e-6)
    shown, labels = splits.train.batch(torch.arange(20))
    assert history.train[best] == pytest.approx(top1(network(shown).argmax(1), labels), abs=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_mask_penalty_draws_the_masks_to_its_target(folder: str, target: float) -> None:
    def share(weight: float) -> float:
        spec = {"masks": {"weight": weight, "target": target, "penalty": "squared"}}
        network, _ = train(recipe(tables=spec, epochs=6), data=folder)
        inputs, _ = load_splits(recipe(), folder).validation.batch(torch.arange(20))
        return float(mean_masks(network, iter([inputs]))["synapses.0.0"].mean())

    assert abs(share(10.0) - target) < abs(share(0.0) - target) - 0.1


def test_masks_frozen_after_an_epoch_stay_as_they_are(folder: str, tmp_path: Path) -> None:
    network, metadata = train(recipe(tables={"masks": {"freeze_after": 2}}, epochs=5), data=folder)
    assert metadata.architecture.parameters["mask"] == "frozen"
    assert metadata.provenance.best_epoch >= 2
    assert metadata.history is not None
    (layer,) = metadata.history.routing
    assert layer.binariness[0] < 1.0 and layer.binariness[1:] == (1.0,) * 4
    assert len(set(layer.conv_ratio[1:])) == 1
    assert not [name for name, _ in network.named_parameters() if "routing" in name]
    save(tmp_path / "frozen.safetensors", network, metadata)
    loaded = load(tmp_path / "frozen.safetensors").network
    inputs, _ = load_splits(recipe(), folder).test.batch(torch.arange(5))
    assert torch.equal(loaded(inputs), network(inputs))


def test_a_file_whose_masks_are_frozen_holds_them(folder: str, tmp_path: Path) -> None:
    network, metadata = train(recipe(epochs=1), data=folder)
    architecture = metadata.architecture.model_copy(update={"parameters": metadata.architecture.parameters | {"mask": "frozen"}})
    (tmp_path / "a.safetensors").write_bytes(encode(network, metadata.model_copy(update={"architecture": architecture})))
    with pytest.raises(CheckpointError, match=r"missing synapses\.0\.0\.routing\.stored"):
        load(tmp_path / "a.safetensors")


def test_a_recipe_cannot_start_with_frozen_masks(folder: str) -> None:
    frozen = recipe()
    architecture = frozen.architecture.model_copy(update={"parameters": frozen.architecture.parameters | {"mask": "frozen"}})
    with pytest.raises(InputError, match="the mask is frozen, but none is stored"):
        train(frozen.model_copy(update={"architecture": architecture}), data=folder)


def test_a_device_that_is_not_there(folder: str) -> None:
    with pytest.raises(RecipeError, match="cannot compute on device 'abacus'"):
        train(recipe(), data=folder, device="abacus")


def test_normalisation_of_data_read_batch_by_batch(folder: str) -> None:
    class Streamed:
        def __init__(self, samples: Batches) -> None:
            self.samples = samples

        def __getattr__(self, name: str) -> Any:
            return getattr(self.samples, name)

        def __len__(self) -> int:
            return len(self.samples)

    whole = load_splits(recipe(), folder).train
    one, other = measure_normalisation(whole), measure_normalisation(Streamed(whole))  # type: ignore[arg-type]
    assert (one.mean, one.std) == (pytest.approx(other.mean, abs=1e-6), pytest.approx(other.std, abs=1e-6))
