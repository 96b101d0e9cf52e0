"""One-shot learning: every image once, as a short strong pulse; then weights and calcium stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neurocert.models.errors import InputError
from neurocert.models.snan.learning import Learning
from neurocert.models.snan.network import Network
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.simulation import Simulation
from neurocert.models.snan.syncytium import Syncytium


def imprint(network: Network, images: Mask, *, astrocytes: bool = True) -> Network:
    """The network after it has been shown binary images one after another, and a pause.

    Excitatory neurons receive no synaptic current meanwhile, so that only the images decide what fires together.

    Args:
        images: bool (N, E), in the order of presentation; pixels in the order of the neurons.
        astrocytes: whether they listen; without them calcium stays as it was.

    Returns:
        A network of its own, with new weights and the calcium map at the end of the pause.

    Raises:
        InputError: images of another shape or type.
    """
    network.require_images(images)
    learned = replace(network, excitatory_weights=network.excitatory_weights.copy(), inhibitory_weights=network.inhibitory_weights.copy())
    settings, protocol = network.settings, network.settings.protocol
    simulation, learning = Simulation(learned), Learning(learned)
    syncytium = Syncytium(settings) if astrocytes else None
    period, pulse = settings.steps(protocol.training_period), settings.steps(protocol.training_pulse)
    for image in images:
        stimulus = np.where(image, protocol.training_current, 0.0)[None]
        for step in range(period):
            current = stimulus if step < pulse else None
            simulation.step(current, onset=step == period - 1, feedback=False, learning=learning, astrocytes=syncytium)
    if syncytium is None:
        return learned
    for _ in range(settings.steps(protocol.pause)):
        simulation.step(None, feedback=False, astrocytes=syncytium)
    return learned.with_calcium(syncytium.calcium)


def situation(labels: Tensor, per_class: int, generator: torch.Generator, classes: tuple[int, ...] | None = None) -> list[int]:
    """What a network is shown: indices of ``per_class`` random samples of each class, in random order.

    Args:
        labels: int64 (N,).
        classes: the situation; all classes by default.

    Raises:
        InputError: a class named twice or absent from the labels, or with fewer samples than asked for.
    """
    present = tuple(sorted(set(labels.tolist())))
    chosen = present if classes is None else classes
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(present):
        raise InputError(f"situation names classes {list(chosen)}, expected different ones of {list(present)}, which the labels have")
    indices = []
    for label in chosen:
        members = (labels == label).nonzero()[:, 0]
        if not 1 <= per_class <= len(members):
            raise InputError(f"got {per_class} samples for each class, expected 1 to {len(members)}, which class {label} has")
        indices.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    shown = torch.cat(indices)
    return shown[torch.randperm(len(shown), generator=generator)].tolist()
