"""Training a spiking preprocessor and its classifier by a recipe with a table [snan]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from neurocert.models.data.samples import Batches, Samples
from neurocert.models.errors import DataError, RecipeError
from neurocert.models.schema import CheckpointMetadata, Source, explain
from neurocert.models.snan.hybrid import Hybrid
from neurocert.models.snan.network import Network, create
from neurocert.models.snan.preprocessor import Preprocessor
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint, situation
from neurocert.models.training import loop
from neurocert.models.training.recipe import Recipe, SnanSpec
from neurocert.perturbations.impulse import invert


class Trained(NamedTuple):
    """What ``hybrid_files.save`` takes: a hybrid, its classifier's metadata, and what its spiking network was shown."""

    hybrid: Hybrid
    classifier: CheckpointMetadata
    trained_on: Source | None
    classes: tuple[int, ...]


def train(recipe: Recipe, *, data: str | None = None, device: str = "cpu", on_epoch: Callable[[loop.Epoch], None] | None = None) -> Trained:
    """Shows images to a spiking network, then trains the classifier on maps of the recipe's images; deterministic.

    Arguments as in ``loop.train``, whose rule for the best epoch holds here too.

    Raises:
        RecipeError: a recipe without a table [snan], or with settings that are none.
        DataError: data that cannot be read, or whose images are not square with one channel.
        InputError: fewer images of a class than the recipe asks for, or a situation with absent classes.
    """
    spec = recipe.snan
    if spec is None:
        raise RecipeError(f"recipe {recipe.name} has no table [snan]", "use neurocert.models.training.loop.train")
    splits = loop.load_splits(recipe, data)
    raw, validation, test = (_in_memory(part) for part in (splits.train, splits.validation, splits.test))
    channels, height, width = raw.inputs.shape[1:]
    if channels != 1 or height != width:
        raise DataError(f"{raw.name}: images are {channels}x{height}x{width}, expected square ones with one channel")
    chosen = [_choose(raw, spec.per_class, spec), *(_choose(samples, spec.held_out, spec) for samples in (validation, test))]
    generator = torch.Generator().manual_seed(spec.seed)
    network, classes, trained_on = create(_settings(recipe, spec), spec.seed), (), None
    if spec.spiking:
        shown = situation(raw.labels, spec.shown, generator, spec.situation)
        classes, trained_on = tuple(sorted(set(raw.labels[shown].tolist()))), Source(name=raw.name, sha256=raw.sha256)
        network = imprint(network, Preprocessor(network, height).binarise(raw.inputs[shown]))
    maps = [_maps(samples, network, spec, noise, generator) for samples, noise in zip(chosen, (spec.noise, spec.noise, 0.0), strict=True)]
    classifier, metadata = loop.train(recipe, splits=loop.Splits(*maps), device=device, on_epoch=on_epoch)
    return Trained(Hybrid(Preprocessor(network, height), classifier, spec.spiking), metadata, trained_on, classes)


def few_shots(recipe: Recipe, per_class: int) -> Recipe:
    """The recipe with so many images of each class for the classifier, and at most as many for the spiking network.

    Raises:
        RecipeError: a recipe without a table [snan].
    """
    if recipe.snan is None:
        raise RecipeError(f"recipe {recipe.name} has no table [snan]", "name the recipe that the hybrid was trained by")
    spec = recipe.snan.model_copy(update={"per_class": per_class, "shown": min(per_class, recipe.snan.shown)})
    return recipe.model_copy(update={"snan": spec})


def require_enough(recipe: Recipe, data: str | None) -> None:
    """Raises InputError where the recipe's data, or the data given instead, have fewer images of a class than it asks for."""
    assert recipe.snan is not None
    _choose(_in_memory(loop.load_splits(recipe, data).train), recipe.snan.per_class, recipe.snan)


def _in_memory(split: Batches) -> Samples:
    if not isinstance(split, Samples):
        raise DataError("a folder of pictures cannot be shown to a spiking network", "give IDX files, such as MNIST's, or the digits")
    return split


def _choose(samples: Samples, count: int, spec: SnanSpec) -> Samples:
    return samples.take(situation(samples.labels, count, torch.Generator().manual_seed(spec.seed)))


def _maps(samples: Samples, network: Network, spec: SnanSpec, noise: float, generator: torch.Generator) -> Samples:
    """The same samples as the classifier sees them; their hash is that of the images."""
    preprocessor = Preprocessor(network, samples.inputs.shape[-1])
    binary = invert(torch.from_numpy(preprocessor.binarise(samples.inputs)).float(), noise, generator).numpy() > 0.5
    maps = Hybrid(preprocessor, nn.Identity(), spec.spiking).maps(binary)
    return Samples(maps, samples.labels, samples.name, samples.sha256)


def _settings(recipe: Recipe, spec: SnanSpec) -> Settings:
    if unknown := sorted(spec.settings.keys() - Settings.__dataclass_fields__.keys()):
        known = ", ".join(Settings.__dataclass_fields__)
        raise RecipeError(f"recipe {recipe.name}: snan.settings: {unknown[0]}: there is no such setting", f"known: {known}")
    try:
        return TypeAdapter(Settings).validate_python(spec.settings)
    except (ValidationError, TypeError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else str(error)
        raise RecipeError(f"recipe {recipe.name}: snan.settings: {reason}", "see neurocert.models.snan.settings.Settings") from error
