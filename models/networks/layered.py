"""Networks whose layers follow one another: synapses, then neurons that are ReLUs or spike, and at the end a readout."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurocert.models.layers.lif import LIF
from neurocert.models.layers.normalise import Normalise
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.semantics import Semantics


class Layered(Classifier):
    """Normalised input -> (synapses -> neurons), layer after layer -> readout.

    Static semantics: neurons are ReLUs, one pass. Spiking semantics: neurons are LIF, the input's current is computed
    once (direct encoding) and presented at each of T steps, the T outputs are averaged or summed.

    Args:
        inputs, semantics, classes: see ``Classifier``.
        mean, std: normalisation per channel, in input units.
        blocks: the first layers' synapses, from images to images.
        features: numbers in the last block's output.
        hidden: sizes of the fully connected layers.
        surrogate: the spike's derivative in training and attacks.
    """

    def __init__(
        self,
        inputs: InputSpace,
        semantics: Semantics,
        classes: tuple[str, ...],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        blocks: Sequence[nn.Module],
        features: int,
        hidden: Sequence[int],
        surrogate: str,
    ) -> None:
        super().__init__(inputs, semantics, classes)
        self.normalise = Normalise(mean, std)
        synapses = list(blocks)
        for index, units in enumerate(hidden):
            linear = nn.Linear(features, units)
            synapses.append(nn.Sequential(nn.Flatten(), linear) if index == 0 else linear)
            features = units
        self.synapses = nn.ModuleList(synapses)
        self.neurons = nn.ModuleList(nn.ReLU() if semantics.spiking is None else LIF(semantics.spiking, surrogate) for _ in synapses)
        readout = nn.Linear(features, len(classes))
        self.readout = readout if hidden else nn.Sequential(nn.Flatten(), readout)

    def forward(self, image: Tensor) -> Tensor:
        """Args: (B, C, H, W) in input units. Returns: logits (B, classes)."""
        current = self.synapses[0](self.normalise(image))
        return self._static(current) if self.semantics.spiking is None else self._spiking(current)

    def _static(self, signal: Tensor) -> Tensor:
        signal = self.neurons[0](signal)
        for synapse, neuron in zip(self.synapses[1:], self.neurons[1:], strict=True):
            signal = neuron(synapse(signal))
        return self.readout(signal)

    def _spiking(self, current: Tensor) -> Tensor:
        spiking = self.semantics.spiking
        assert spiking is not None
        states: list[Tensor | None] = [None] * len(self.neurons)
        total: Tensor | None = None
        for _ in range(spiking.time_steps):
            signal = current
            for layer, neuron in enumerate(self.neurons):
                if layer > 0:
                    signal = self.synapses[layer](signal)
                states[layer], signal = neuron(states[layer], signal)
            logits = self.readout(signal)
            total = logits if total is None else total + logits
        assert total is not None
        return total / spiking.time_steps if spiking.readout == "mean" else total
