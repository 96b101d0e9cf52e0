"""The presentation of images computed by PyTorch, for devices that the compiled code does not run on.

Same equations in the same order; conductances are the same exact sums. So counts agree with those of the CPU wherever the two
exponential functions agree to the release unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurocert.models.snan.modulation import NEVER
from neurocert.models.snan.network import Network
from neurocert.models.snan.neurons import ONSET_POTENTIAL, ONSET_RECOVERY, Neuron
from neurocert.models.snan.synapses import CONDUCTANCE_UNIT, RELEASE_STEPS, SILENT_SLOPES
from neurocert.models.snan.syncytium import whole_number

MAX_EVENTS = 2**25
"""Synapses that transmit at once: 0.5 GiB."""


def count_spikes(network: Network, stimulus: Tensor, device: torch.device) -> Tensor:
    """Spikes int64 (B, E), on the CPU, of one presentation; see ``presentation.present``.

    Args:
        stimulus: float64 (B, E), mV.
    """
    settings, parts = network.settings, _Constants.of(network, device)
    cell, synapse, modulation = settings.neuron, settings.synapse, settings.modulation
    stimulus, dt = stimulus.to(device), 1e3 * settings.dt
    copies = len(stimulus)
    outer = _onset(copies, settings.excitatory**2, device)
    inner = _onset(copies, settings.inhibitory**2, device)
    current, inner_current = torch.zeros_like(outer[0]), torch.zeros_like(inner[0])
    seen = torch.full((copies, len(parts.needed)), NEVER, device=device)
    until, counts = seen.clone(), torch.zeros(stimulus.shape, dtype=torch.int64, device=device)
    for step in range(settings.steps(settings.protocol.window)):
        shown = step < settings.steps(settings.protocol.test_pulse)
        outer = _advance(*outer, stimulus + current if shown else current, dt, cell)
        inner = _advance(*inner, inner_current, dt, cell)
        spikes = outer[0] >= cell.peak
        counts += spikes
        seen[_together(spikes, parts) >= parts.needed] = step
        potential, inner_potential = outer[0], inner[0]
        excitation = _transmit(potential, *parts.excitatory, synapse.slope, potential.shape[1])
        inhibition = _transmit(inner_potential, *parts.inhibitory, synapse.slope, potential.shape[1])
        onward = _transmit(potential, *parts.interneuron, synapse.slope, inner_potential.shape[1])
        gain = torch.where(step <= until[:, parts.owner], 1.0 + modulation.strength, 1.0)
        excited = gain * excitation * (synapse.excitatory_reversal - potential)
        current = excited.clamp(min=0.0) + inhibition * (synapse.inhibitory_reversal - potential)
        inner_current = onward * (synapse.excitatory_reversal - inner_potential)
        if (step + 1) % settings.steps(modulation.interval) == 0:
            recent = step - seen <= settings.steps(modulation.window)
            until[recent & parts.high] = step + settings.steps(modulation.duration)
    return counts.cpu()


@dataclass(frozen=True, eq=False)
class _Constants:
    """The arrays of a network on a device: (targets, weights) of each link, and the zones."""

    excitatory: tuple[Tensor, Tensor]
    interneuron: tuple[Tensor, Tensor]
    inhibitory: tuple[Tensor, Tensor]
    members: Tensor
    owner: Tensor
    needed: Tensor
    high: Tensor

    @classmethod
    def of(cls, network: Network, device: torch.device) -> _Constants:
        def moved(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device)

        zones, constants = network.zones, network.settings.modulation
        return cls(
            (moved(network.excitatory_targets), moved(network.excitatory_weights)),
            (moved(network.interneuron_targets), moved(network.interneuron_weights)),
            (moved(network.inhibitory_targets), moved(network.inhibitory_weights)),
            moved(np.where(zones.members < 0, len(zones.sizes), zones.members)),
            moved(zones.owner),
            moved(whole_number(constants.share, zones.sizes)),
            torch.from_numpy(network.calcium.reshape(-1) > constants.calcium).to(device),
        )


def _onset(copies: int, neurons: int, device: torch.device) -> tuple[Tensor, Tensor]:
    potential = torch.full((copies, neurons), ONSET_POTENTIAL, dtype=torch.float64, device=device)
    return potential, torch.full_like(potential, ONSET_RECOVERY)


def _advance(potential: Tensor, recovery: Tensor, current: Tensor, dt: float, cell: Neuron) -> tuple[Tensor, Tensor]:
    """``neurons.advance``, not in place."""
    spiked = potential >= cell.peak
    v, u = potential.masked_fill(spiked, cell.c), torch.where(spiked, recovery + cell.d, recovery)
    v = v + dt * (0.04 * (v * v) + 5.0 * v + 140.0 + current - u)
    return v.clamp(max=cell.peak), u + dt * (cell.a * (cell.b * v - u))


def _transmit(potential: Tensor, targets: Tensor, weights: Tensor, slope: float, neurons: int) -> Tensor:
    """``synapses.transmit``: exact sums of integers, as conductances (B, neurons)."""
    sums = torch.zeros(len(potential) * neurons, dtype=torch.int64, device=potential.device)
    image, source = (potential > -SILENT_SLOPES * slope).nonzero(as_tuple=True)
    released = torch.floor(RELEASE_STEPS / (1.0 + torch.exp(-potential[image, source] / slope)) + 0.5).long()
    most = max(1, MAX_EVENTS // targets.shape[1])
    for first in range(0, len(source), most):
        part = slice(first, first + most)
        index = image[part, None] * neurons + targets[source[part]]
        sums.index_add_(0, index.flatten(), (weights[source[part]] * released[part, None]).flatten())
    return sums.view(len(potential), neurons).double() * CONDUCTANCE_UNIT


def _together(spikes: Tensor, parts: _Constants) -> Tensor:
    """How many neurons of each zone (B, Z) spike."""
    count = torch.zeros(len(spikes), len(parts.needed) + 1, dtype=torch.int64, device=spikes.device)
    members = parts.members.flatten()
    return count.index_add_(1, members, spikes.long().repeat_interleave(4, 1))[:, :-1]
