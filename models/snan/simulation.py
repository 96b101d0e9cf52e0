"""One time step of the network after another, for several copies of it at once."""

from __future__ import annotations

import numpy as np

from neurocert.models.snan import modulation, neurons, synapses
from neurocert.models.snan.learning import Learning
from neurocert.models.snan.network import Network
from neurocert.models.snan.neurons import ACTIVE, ONSET_POTENTIAL, ONSET_RECOVERY, Floats
from neurocert.models.snan.plasticity import Mask
from neurocert.models.snan.syncytium import Syncytium, whole_number


class Simulation:
    """The changing state of B copies of a network that share weights and calcium; see ``step`` for the order of events.

    Attributes:
        potential: (B, E), mV, of the excitatory neurons, all of which begin in the state of an onset.
    """

    def __init__(self, network: Network, copies: int = 1) -> None:
        self.network, self.settings, self.clock = network, network.settings, 0
        cells, interneurons = (copies, self.settings.excitatory**2), (copies, self.settings.inhibitory**2)
        self.potential, self._recovery, self._current = np.empty(cells), np.empty(cells), np.zeros(cells)
        self._inner_potential, self._inner_recovery, self._inner_current = (np.zeros(interneurons) for _ in range(3))
        self._excitation, self._inhibition = np.zeros(cells, np.int64), np.zeros(cells, np.int64)
        self._inner_excitation = np.zeros(interneurons, np.int64)
        self._gain = np.ones(cells)
        self._seen = np.full((copies, len(network.zones.sizes)), modulation.NEVER)
        self._until = np.full_like(self._seen, modulation.NEVER)
        self._needed = whole_number(self.settings.modulation.share, network.zones.sizes)
        self.onset()

    def onset(self) -> None:
        """Gives every neuron the state of an onset; currents, glutamate, calcium and modulation stay as they are."""
        for potential, recovery in ((self.potential, self._recovery), (self._inner_potential, self._inner_recovery)):
            potential[:], recovery[:] = ONSET_POTENTIAL, ONSET_RECOVERY

    @property
    def spikes(self) -> Mask:
        """(B, E): the excitatory neurons at their peak."""
        return self.potential >= self.settings.neuron.peak

    def step(
        self,
        stimulus: Floats | None,
        *,
        onset: bool = False,
        feedback: bool = True,
        learning: Learning | None = None,
        astrocytes: Syncytium | None = None,
    ) -> Mask:
        """Advances everything by dt: neurons, (onset), (learning), synaptic currents for the next step, (astrocytes).

        Args:
            stimulus: current (B, E) in mV into excitatory neurons; None for none.
            onset: a stimulus begins with the next step.
            feedback: whether excitatory neurons receive synaptic currents; they do not while learning.
            learning: changes its weights; without it weights are the network's.
            astrocytes: advance with the first copy's spikes; without them calcium is the network's.

        Returns:
            (B, E): the excitatory neurons that spiked.
        """
        dt, cell = 1e3 * self.settings.dt, self.settings.neuron
        current = self._current if stimulus is None else stimulus + self._current
        neurons.advance(self.potential, self._recovery, current, dt, cell)
        neurons.advance(self._inner_potential, self._inner_recovery, self._inner_current, dt, cell)
        spikes = self.spikes
        modulation.watch(self.potential, cell.peak, self.network.zones.members, self._needed, self.clock, self._seen)
        active = (self.potential[0] > ACTIVE, self._inner_potential[0] > ACTIVE) if learning else None
        if onset:
            self.onset()
        if learning and active:
            learning.advance(*active, onset)
        self._transmit(feedback)
        if astrocytes:
            astrocytes.advance(self.potential[0] >= cell.peak)
        self._modulate(astrocytes.calcium if astrocytes else self.network.calcium)
        self.clock += 1
        return spikes

    def _transmit(self, feedback: bool) -> None:
        """The synaptic currents that the potentials of this step cause."""
        network, synapse = self.network, self.settings.synapse
        synapses.transmit(self.potential, network.interneuron_targets, network.interneuron_weights, synapse.slope, self._inner_excitation)
        synapses.inhibitory_current(self._inner_potential, self._inner_excitation, synapse, self._inner_current)
        if not feedback:
            self._current[:] = 0.0
            return
        synapses.transmit(self.potential, network.excitatory_targets, network.excitatory_weights, synapse.slope, self._excitation)
        synapses.transmit(self._inner_potential, network.inhibitory_targets, network.inhibitory_weights, synapse.slope, self._inhibition)
        modulation.gains(self._until, self.clock, network.zones.owner, self.settings.modulation.strength, self._gain)
        synapses.excitatory_current(self.potential, self._excitation, self._inhibition, self._gain, synapse, self._current)

    def _modulate(self, calcium: Floats) -> None:
        """Looks, every now and then, which zones the astrocytes modulate from the next step on."""
        constants, steps = self.settings.modulation, self.settings.steps
        if (self.clock + 1) % steps(constants.interval) == 0:
            high = calcium.reshape(-1) > constants.calcium
            modulation.decide(self._seen, high, self.clock, steps(constants.window), steps(constants.duration), self._until)
