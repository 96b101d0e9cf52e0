"""What the protocols of the spiking preprocessor have in common: inputs of every kind, classifiers, and how both are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurocert.analysis.clusters import clusters
from neurocert.models import filters
from neurocert.models.data.samples import Samples
from neurocert.models.networks.classifier import InputSpace
from neurocert.models.networks.lenet import LeNet
from neurocert.models.networks.vit import VisionTransformer
from neurocert.models.registry import build
from neurocert.models.semantics import Semantics
from neurocert.models.snan import files
from neurocert.models.snan.network import Network, create
from neurocert.models.snan.preprocessor import THRESHOLD, Preprocessor
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.training import imprint, situation
from neurocert.models.training.recipe import Recipe
from neurocert.perturbations.impulse import invert

SITUATION, SITUATION_IMAGES = (0, 1, 2, 3, 4), 50
EPOCHS, BATCH, SHIFT = 50, 128, 5
STANDARD = Settings()
FILTERS = {"median filter": filters.median, "mean filter": filters.mean, "bilateral filter": filters.bilateral}
ROWS = {  # name: what the classifier is trained on, what it is tested on
    "standalone": ("plain", "plain"),
    "resample only": ("resampled", "resampled"),
    **{name: ("resampled", name) for name in FILTERS},
    "SNAN in the test": ("resampled", "SNAN"),
    "SNAN in training and test": ("SNAN", "SNAN"),
    "S-B SNAN in the test": ("resampled", "S-B SNAN"),
    "S-B SNAN in training and test": ("S-B SNAN", "S-B SNAN"),
}
Inputs = dict[str, Tensor]
Trained = LeNet | VisionTransformer


def choose(samples: Samples, per_class: int, seed: int) -> Samples:
    """A random selection of so many images of each class."""
    return samples.take(situation(samples.labels, per_class, torch.Generator().manual_seed(seed)))


def with_few_images(recipe: Recipe, per_class: int) -> Recipe:
    """The recipe with so many images of each class, all of which the spiking network is shown."""
    assert recipe.snan is not None
    spec = recipe.snan.model_copy(update={"per_class": per_class, "shown": per_class, "held_out": 5})
    return recipe.model_copy(update={"snan": spec})


@dataclass(frozen=True)
class Stage:
    """The spiking networks of one split, and the inputs that come out of them, both kept in files between runs.

    Attributes:
        train: what the networks are shown once; the situation-based one sees up to 50 images of five classes of it.
        seed: of connections and noise.
        cache: folder of this split's networks and maps.
        situation_based: whether there is one.
        settings: of the network, that is, its size.
    """

    train: Samples
    seed: int
    cache: Path
    situation_based: bool = True
    settings: Settings = STANDARD

    def inputs(self, name: str, images: Tensor, noise: float) -> Inputs:
        """What each kind of classifier input is for these images, after noise; ``name`` is that of the file."""
        file = self.cache / f"{name}-{noise:g}.npz"
        if not file.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            made = {kind: tensor.numpy() for kind, tensor in self._inputs(images, noise).items()}
            np.savez(file.with_suffix(".part.npz"), allow_pickle=False, **made)
            file.with_suffix(".part.npz").rename(file)
        with np.load(file, allow_pickle=False) as stored:
            return {kind: torch.from_numpy(stored[kind]) for kind in stored.files}

    def _inputs(self, images: Tensor, noise: float) -> Inputs:
        """Noise inverts pixels of the enlarged image; of the original one for the standalone classifier, which has no other."""
        generator = torch.Generator().manual_seed(1000 * self.seed + round(100 * noise))
        size = images.shape[-1]
        empty = Preprocessor(create(self.settings, self.seed), size)
        corrupted = invert(torch.from_numpy(empty.binarise(images)).float(), noise, generator)
        pixels, side = corrupted.numpy() > 0.5, empty.network.settings.excitatory
        made = {name: Preprocessor(self._learned(name, shown, empty), size).maps(pixels) for name, shown in self._shown()}
        made["plain"] = invert((images >= THRESHOLD).float(), noise, generator)
        made["resampled"] = empty.shrink(pixels)
        enlarged = corrupted.reshape(-1, 1, side, side)
        return made | {name: functional.interpolate(apply(enlarged), (size, size), mode="area") for name, apply in FILTERS.items()}

    def _learned(self, name: str, shown: Tensor, empty: Preprocessor) -> Network:
        file = self.cache / f"{name}.safetensors"
        if not file.exists():
            files.save(file, imprint(empty.network, empty.binarise(shown)))
        return files.load(file).network

    def _shown(self) -> Iterator[tuple[str, Tensor]]:
        yield "SNAN", self.train.inputs
        if self.situation_based:
            labels = self.train.labels
            per_class = min(SITUATION_IMAGES, int(labels.bincount().min()))
            yield "S-B SNAN", self.train.inputs[situation(labels, per_class, torch.Generator().manual_seed(self.seed), SITUATION)]


def fit(name: str, inputs: Tensor, labels: Tensor, seed: int) -> Trained:
    """A classifier trained as the paper says: SGD with shifts for lenet, Adam for vit; 50 epochs for both."""
    torch.manual_seed(seed)
    space, classes = InputSpace(tuple(inputs.shape[1:]), 0.0, 1.0), tuple("0123456789")
    network = build(name, {}, inputs=space, semantics=Semantics(None), classes=classes, mean=(float(inputs.mean()),), std=(1.0,)).train()
    assert isinstance(network, LeNet | VisionTransformer)
    plain = name == "lenet"
    optimiser = torch.optim.SGD(network.parameters(), 0.01, 0.9) if plain else torch.optim.Adam(network.parameters(), 3e-4)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 / (1.0 + 0.001 * step) if plain else 1.0)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(inputs)).split(BATCH):
            shown = _shifted(inputs[part]) if plain else inputs[part]
            optimiser.zero_grad()
            functional.cross_entropy(network(shown), labels[part]).backward()
            optimiser.step()
            decay.step()
    return network.eval()


def _shifted(images: Tensor) -> Tensor:
    """Each image moved by up to ``SHIFT`` pixels, zeros coming in."""
    padded = functional.pad(images, (SHIFT,) * 4)
    places = torch.randint(2 * SHIFT + 1, (len(images), 2)).tolist()
    height, width = images.shape[2:]
    return torch.stack([image[:, r : r + height, c : c + width] for image, (r, c) in zip(padded, places, strict=True)])


def scores(
    rows: dict[str, tuple[str, str]],
    fitted: Callable[[str], Trained],
    clean: Inputs,
    noisy: dict[float, Inputs],
    labels: Tensor,
) -> Iterator[dict[str, Any]]:
    """One record for each row, noise level and set of classes: correct of n, and how the clusters lie.

    Situation-based rows are scored on the classes of the situation only, and all others on those as well.

    Args:
        fitted: the classifier for a kind of training input.
        clean, noisy: test inputs without noise, and at each level.
    """
    known = torch.isin(labels, torch.tensor(SITUATION))
    for row, (source, shown) in rows.items():
        parts = {"five": known} if row.startswith("S-B") else {"ten": torch.ones_like(known), "five": known}
        reference, _ = _seen(fitted(source), clean[shown])
        for level, inputs in noisy.items():
            embedded, decided = _seen(fitted(source), inputs[shown])
            for classes, part in parts.items():
                where = clusters(embedded[part], labels[part])
                shift = clusters(reference[part], labels[part]).shift(where)
                geometry = [round(value, 4) for value in (where.size, where.mean_distance, where.least_distance, shift)]
                counts = {"correct": int((decided == labels)[part].sum()), "n": int(part.sum())}
                yield {"row": row, "noise": level, "classes": classes} | counts | {"clusters": geometry}


@torch.no_grad()
def _seen(network: Trained, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and decisions."""
    embedded = network.embed(inputs)
    return embedded, network.readout(embedded).argmax(1)
