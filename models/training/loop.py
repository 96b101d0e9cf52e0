"""Training by a recipe: seeded, on one thread, and silent; progress goes to a callback."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor, nn

from neurocert.models.checkpoints import tensors_sha256
from neurocert.models.data.digits import Split
from neurocert.models.data.samples import Batches, Samples, require_fit
from neurocert.models.data.source import open_split
from neurocert.models.errors import DataError, RecipeError
from neurocert.models.masks import observed_masks
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build, check_parameters
from neurocert.models.schema import (
    FORMAT_VERSION,
    Accuracy,
    ArchitectureSpec,
    CheckpointMetadata,
    History,
    InputsSpec,
    NormalisationSpec,
    Provenance,
    Source,
    Versions,
)
from neurocert.models.training.augmentation import varied
from neurocert.models.training.history import Epoch, after_epoch, history
from neurocert.models.training.masks import freeze_masks, mask_penalty, require_masks
from neurocert.models.training.objective import EVALUATION_BATCH, CrossEntropy, MakeObjective, Objective, device_of, evaluate
from neurocert.models.training.recipe import BUILT_IN, Recipe, TrainingSpec

NORMALISATION_SAMPLES = 10_000
"""At most so many images of a split that does not fit into memory are read to measure its normalisation."""
WORST = (-1, 0.0)


@dataclass(frozen=True)
class Splits:
    """The three parts of a data source; ``test`` is looked at once, after everything is chosen."""

    train: Batches
    validation: Batches
    test: Batches


def train(
    recipe: Recipe,
    *,
    data: str | None = None,
    device: str = "cpu",
    splits: Splits | None = None,
    objective: MakeObjective | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[Classifier, CheckpointMetadata]:
    """Trains a network and measures it; ``checkpoints.save`` takes what comes out.

    The stored weights are those of the epoch in which most validation samples count for the objective (are correct, for
    the plain one); ties go to the lower validation loss.
    A re-run gives identical results on one machine, and the same within float noise on another.

    Args:
        recipe: what to train, on what, and how.
        data: folder of the data that the recipe only names; not for the built-in digits.
        device: where to compute, such as "cuda"; random numbers are drawn on the CPU wherever that is.
        splits: what is learned instead of the recipe's data as it is, such as maps made of it.
        objective: what to minimise; by default cross-entropy, which serves recipes without a table [robust] only.
        on_epoch: called after each epoch.

    Raises:
        RecipeError: data missing or not wanted, a robust recipe without its objective, a device that is not there, a mask
            penalty without masks, or the loss stopped being finite.
        DataError: data that cannot be read or does not fit.
    """
    if recipe.robust is not None and objective is None:
        raise RecipeError(
            f"recipe {recipe.name} trains through bounds, which cross-entropy knows nothing of",
            "use neurocert.certify.training.robust.train",
        )
    if recipe.snan is not None and splits is None:
        raise RecipeError(
            f"recipe {recipe.name} has a spiking network before its classifier", "use neurocert.certify.training.hybrid.train"
        )
    place, splits = _device(device), splits or load_splits(recipe, data)
    with _reproducible(recipe.training.seed):
        inputs = InputSpace(splits.train.shape, recipe.data.low, recipe.data.high)
        for samples in (splits.train, splits.validation, splits.test):
            require_fit(samples, inputs, len(recipe.classes))
        normalisation = measure_normalisation(splits.train)
        network = build(
            recipe.architecture.name,
            recipe.architecture.parameters,
            inputs=inputs,
            semantics=recipe.semantics.value(),
            classes=recipe.classes,
            mean=normalisation.mean,
            std=normalisation.std,
        ).to(place)
        aim = (objective or CrossEntropy)(network, recipe)
        best, epochs = _fit(network, aim, recipe, splits, on_epoch or (lambda epoch: None))
        accuracy = Accuracy(
            train=evaluate(network, splits.train)[0],
            validation=evaluate(network, splits.validation)[0],
            test=evaluate(network, splits.test)[0],
        )
    return network.cpu(), _describe(network.cpu(), recipe, splits, normalisation, best, accuracy, history(epochs))


def load_splits(recipe: Recipe, data: str | None) -> Splits:
    """The recipe's data, or the data at the path ``data`` where the recipe only names it."""
    source = recipe.data.source
    if source == BUILT_IN and data not in (None, BUILT_IN):
        raise RecipeError(
            f"recipe {recipe.name} trains on {BUILT_IN}, got data {data!r}", "leave the data out, or copy the recipe and name the new data"
        )
    if source != BUILT_IN and data is None:
        raise RecipeError(
            f"recipe {recipe.name} trains on {source!r}, which does not come with the package", "give its folder with --data PATH"
        )
    names: tuple[Split, Split, Split] = ("train", "validation", "test")
    return Splits(*(open_split(data or source, name) for name in names))


def measure_normalisation(samples: Batches) -> NormalisationSpec:
    """Mean and standard deviation per channel, to six decimals so that machines agree."""
    if isinstance(samples, Samples):
        std, mean = torch.std_mean(samples.inputs.double(), dim=(0, 2, 3), correction=0)
    else:
        std, mean = _running_std_mean(samples)
    if constant := [channel for channel, value in enumerate(std.tolist()) if value < 1e-6]:
        raise DataError(f"{samples.name}: channel {constant[0]} is constant over the training split")
    return NormalisationSpec(mean=tuple(round(m, 6) for m in mean.tolist()), std=tuple(round(s, 6) for s in std.tolist()))


def _running_std_mean(samples: Batches) -> tuple[Tensor, Tensor]:
    """Of at most ``NORMALISATION_SAMPLES`` evenly spread samples, batch by batch."""
    step = max(1, len(samples) // NORMALISATION_SAMPLES)
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for indices in torch.arange(0, len(samples), step).split(EVALUATION_BATCH):
        values = samples.batch(indices)[0].double().transpose(0, 1).flatten(1)
        count, total, squares = count + values.shape[1], total + values.sum(1), squares + values.square().sum(1)
    mean = total / count
    return (squares / count - mean.square()).clamp(min=0).sqrt(), mean


def _fit(
    network: Classifier, objective: Objective, recipe: Recipe, splits: Splits, on_epoch: Callable[[Epoch], None]
) -> tuple[int, list[Epoch]]:
    """Trains ``network``, leaves the best epoch's weights in it, and returns that epoch's number and all epochs."""
    spec, masks = recipe.training, recipe.masks
    require_masks(network, masks)
    optimiser = _optimiser(network, spec)
    best_rank, best_epoch, best_weights, epochs = WORST, 0, {}, []
    for number in range(1, spec.epochs + 1):
        _set_learning_rate(optimiser, spec, number)
        loss = _epoch(network, objective, splits.train, recipe, optimiser, number)
        if masks is not None and masks.freeze_after == number:
            freeze_masks(network, splits.train)
            best_rank = WORST  # the network is another one from now on
        score, validation_loss = objective.evaluate(splits.validation)
        if not (math.isfinite(loss) and math.isfinite(validation_loss)):
            message = (
                f"recipe {recipe.name}: in epoch {number} of {spec.epochs} the loss is {loss}, on the validation split {validation_loss}"
            )
            raise RecipeError(message, "lower the learning rate")
        rank = (score.correct, -validation_loss)
        if rank > best_rank:
            best_rank, best_epoch, best_weights = rank, number, copy.deepcopy(network.state_dict())
        judged = (score, validation_loss)
        both = (splits.train, splits.validation)
        epochs.append(after_epoch(network, both, number=number, of=spec.epochs, loss=loss, judged=judged, counts=objective.counts))
        on_epoch(epochs[-1])
    network.load_state_dict(best_weights)
    return best_epoch, epochs


def _epoch(
    network: Classifier, objective: Objective, samples: Batches, recipe: Recipe, optimiser: torch.optim.Optimizer, number: int
) -> float:
    """One pass in random order; a last batch of one sample is left out, for batch norm has no variance there."""
    network.train()
    losses, spec, device = [], recipe.training, device_of(network)
    batches = torch.randperm(len(samples)).split(spec.batch_size)
    for index, batch in enumerate(batches):
        if len(batch) < 2:
            continue
        images, labels = samples.batch(batch)
        inputs = varied(images, recipe, network.inputs).to(device)
        with observed_masks(network) as masks:
            loss = objective.loss(inputs, labels.to(device), number - 1 + index / len(batches))
        loss = loss + spec.l1 * sum(weight.abs().sum() for weight in _weights(network)) + mask_penalty(masks, recipe.masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return math.fsum(losses) / len(losses) if losses else math.nan


def _weights(network: nn.Module) -> Iterator[Tensor]:
    return (module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))


def _device(name: str) -> torch.device:
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"cannot compute on device {name!r}: {str(error).splitlines()[0]}", "cpu is always there") from error


def _optimiser(network: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    if spec.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), spec.learning_rate, momentum=spec.momentum, weight_decay=spec.weight_decay)
    return torch.optim.Adam(network.parameters(), spec.learning_rate, weight_decay=spec.weight_decay)


def _set_learning_rate(optimiser: torch.optim.Optimizer, spec: TrainingSpec, epoch: int) -> None:
    share = 0.5 * (1.0 + math.cos(math.pi * (epoch - 1) / spec.epochs)) if spec.schedule == "cosine" else 1.0
    for group in optimiser.param_groups:
        group["lr"] = spec.learning_rate * share


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread and a seeded generator inside; both as they were afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _describe(
    network: Classifier,
    recipe: Recipe,
    splits: Splits,
    normalisation: NormalisationSpec,
    best_epoch: int,
    accuracy: Accuracy,
    curves: History,
) -> CheckpointMetadata:
    architecture = recipe.architecture
    parameters = check_parameters(architecture.name, architecture.parameters)
    if recipe.masks is not None and recipe.masks.freeze_after is not None:
        parameters["mask"] = "frozen"
    channels, height, width = network.inputs.shape
    return CheckpointMetadata(
        format_version=FORMAT_VERSION,
        architecture=ArchitectureSpec(name=architecture.name, parameters=parameters),
        semantics=recipe.semantics,
        inputs=InputsSpec(shape=(channels, height, width), low=network.inputs.low, high=network.inputs.high),
        normalisation=normalisation,
        classes=recipe.classes,
        provenance=Provenance(
            recipe=Source(name=recipe.name, sha256=recipe.sha256),
            data=Source(name=recipe.data.source, sha256=splits.train.sha256),
            seed=recipe.training.seed,
            epochs=recipe.training.epochs,
            best_epoch=best_epoch,
            versions=Versions(torch=torch.__version__, neurocert=version("neurocert")),
            accuracy=accuracy,
        ),
        tensors_sha256=tensors_sha256(network.state_dict()),
        history=curves,
    )
