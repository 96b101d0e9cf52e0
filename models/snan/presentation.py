"""Presenting images to a network that no longer learns: how often does each excitatory neuron spike?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from neurocert.models.errors import InputError
from neurocert.models.snan.network import Network
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.simulation import Simulation

COPIES = 8
"""Images that advance together on one core: what they need fits its cache."""
Counts = NDArray[np.int64]


def present(network: Network, images: Mask, device: str | torch.device = "cpu", workers: int | None = None) -> Counts:
    """Spikes of each excitatory neuron while each image alone is presented to the network in the state of an onset.

    Weights and calcium are the network's; nothing is carried from one image to the next, so the result for an image does not
    depend on the others, on their number, or on the number of workers.

    Args:
        images: bool (B, E), the pixels in the order of the neurons.
        device: "cpu" for compiled code; any other device computes the same with PyTorch.
        workers: threads on the CPU; as many as PyTorch uses by default.

    Returns:
        (B, E), counted during ``protocol.window`` seconds.

    Raises:
        InputError: images of another shape or type, another device, or constants with which potentials leave the finite numbers.
    """
    network.require_images(images)
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}, expected a number of threads >= 1")
    place, current = _device(device), network.settings.protocol.test_current
    if place.type != "cpu":
        from neurocert.models.snan.tensor_engine import count_spikes

        return count_spikes(network, torch.from_numpy(np.where(images, current, 0.0)), place).numpy()
    if not len(images):
        return np.zeros(images.shape, np.int64)
    parts = [images[first : first + COPIES] for first in range(0, len(images), COPIES)]
    with ThreadPoolExecutor(workers or torch.get_num_threads()) as pool:
        return np.concatenate(list(pool.map(lambda part: _count(network, np.where(part, current, 0.0)), parts)))


def _device(name: str | torch.device) -> torch.device:
    """A device that is there."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device is {str(name)!r}, which this PyTorch cannot use", "use 'cpu', or 'cuda' where there is one") from error


def _count(network: Network, stimulus: Floats) -> Counts:
    settings, simulation = network.settings, Simulation(network, len(stimulus))
    counts = np.zeros(stimulus.shape, np.int64)
    for step in range(settings.steps(settings.protocol.window)):
        counts += simulation.step(stimulus if step < settings.steps(settings.protocol.test_pulse) else None)
    if not np.isfinite(simulation.potential).all():
        raise InputError("presentation: potentials are no finite numbers", "these constants make steps of dt unstable; use a smaller dt")
    return counts
