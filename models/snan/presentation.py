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
        InputError: images of another shape or type.
    """
    neurons = network.settings.excitatory**2
    if images.dtype != np.bool_ or images.ndim != 2 or images.shape[1] != neurons:
        raise InputError(f"images are {images.dtype} {images.shape}, expected bool (B, {neurons}): one pixel for each excitatory neuron")
    stimulus = np.where(images, network.settings.protocol.test_current, 0.0)
    if torch.device(device).type != "cpu":
        from neurocert.models.snan.tensor_engine import count_spikes

        return count_spikes(network, torch.from_numpy(stimulus), torch.device(device)).numpy()
    if not len(images):
        return np.zeros(images.shape, np.int64)
    parts = [stimulus[first : first + COPIES] for first in range(0, len(stimulus), COPIES)]
    with ThreadPoolExecutor(workers or torch.get_num_threads()) as pool:
        return np.concatenate(list(pool.map(lambda part: _count(network, part), parts)))


def _count(network: Network, stimulus: Floats) -> Counts:
    settings, simulation = network.settings, Simulation(network, len(stimulus))
    counts = np.zeros(stimulus.shape, np.int64)
    for step in range(settings.steps(settings.protocol.window)):
        counts += simulation.step(stimulus if step < settings.steps(settings.protocol.test_pulse) else None)
    return counts
