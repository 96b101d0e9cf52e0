"""Networks whose layers follow one another: synapses, then neurons that are ReLUs or spike, and at the end a readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from neurocert.models.layers.encoder import encoder
from neurocert.models.layers.lif import LIF
from neurocert.models.layers.normalise import Normalise
from neurocert.models.layers.step import Step
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.semantics import Semantics, Spiking, StepNeurons


class Layered(Classifier):
    """Normalised input -> (synapses -> neurons), layer after layer -> readout.

    Static semantics: neurons are ReLUs, one pass. Leaky integrate-and-fire: T steps, of which the outputs are averaged or
    summed. With direct encoding the first layer's current is computed once and presented at every step; the other encoders
    turn the input into spikes, which are then normalised as an image is. Steps and clips have no memory, so that under
    direct encoding one pass stands for all T.

    Args:
        inputs, semantics, classes: see ``Classifier``.
        mean, std: normalisation per channel, in input units.
        blocks: the first layers' synapses, from images to images.
        features: numbers in the last block's output.
        hidden: sizes of the fully connected layers.
        surrogate: the spike's derivative in training and attacks.
        dropout: share of the outputs of each fully connected layer that training drops.
        border: zeros put around the image, on each side, before normalisation.
        before_head: what comes between the last block's neurons and the fully connected layers, such as a pooling.

    Raises:
        InputError: latency or rate encoding of inputs outside [0, 1].
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
        dropout: float = 0.0,
        border: int = 0,
        before_head: nn.Module | None = None,
    ) -> None:
        super().__init__(inputs, semantics, classes)
        spiking = semantics.spiking
        self.encoder = None if spiking is None else encoder(spiking.encoding, spiking.time_steps, inputs)
        self.border = nn.ZeroPad2d(border) if border else None
        self.normalise = Normalise(mean, std)
        heads: list[nn.Module] = []
        for units in (*hidden, len(classes)):
            linear = nn.Linear(features, units)
            first = () if before_head is None else (before_head,)
            parts = (*first, nn.Flatten(), linear) if not heads else (nn.Dropout(dropout), linear) if dropout else (linear,)
            heads.append(nn.Sequential(*parts) if len(parts) > 1 else linear)
            features = units
        self.synapses = nn.ModuleList([*blocks, *heads[:-1]])
        self.neurons = nn.ModuleList(_neuron(semantics, surrogate) for _ in self.synapses)
        self.readout = heads[-1]

    def forward(self, image: Tensor) -> Tensor:
        """Args: (B, C, H, W) in input units. Returns: logits (B, classes)."""
        spiking = self.semantics.spiking
        currents = self._at_each_step(self._current, [image] if self.encoder is None else self.encoder(image))
        if spiking is None:
            return self._static(currents[0])
        steps = spiking.time_steps
        remember = isinstance(spiking, Spiking)
        outputs = self._unrolled(currents * (steps // len(currents))) if remember else self._at_each_step(self._static, currents)
        total = outputs[0]
        for output in outputs[1:]:
            total = total + output
        if spiking.readout == "mean":
            return total / len(outputs) if len(outputs) > 1 else total
        return total * (steps // len(outputs)) if len(outputs) < steps else total

    def _current(self, signal: Tensor) -> Tensor:
        """What the first layer's neurons receive."""
        return self.synapses[0](self.normalise(signal if self.border is None else self.border(signal)))

    def _static(self, signal: Tensor) -> Tensor:
        """Logits from the first layer's current, through neurons without memory."""
        signal = self.neurons[0](signal)
        for synapse, neuron in zip(self.synapses[1:], self.neurons[1:], strict=True):
            signal = neuron(synapse(signal))
        return self.readout(signal)

    def _unrolled(self, currents: Sequence[Tensor]) -> list[Tensor]:
        """Logits of each step, from the first layer's current at each step, through neurons that remember their potential."""
        signals = self._fired(0, currents)
        for layer in range(1, len(self.neurons)):
            signals = self._fired(layer, self._at_each_step(self.synapses[layer], signals))
        return self._at_each_step(self.readout, signals)

    def _fired(self, layer: int, currents: Sequence[Tensor]) -> list[Tensor]:
        """What the neurons of a layer say at each step."""
        state, signals = None, []
        for current in currents:
            state, signal = self.neurons[layer](state, current)
            signals.append(signal)
        return signals

    def _at_each_step(self, function: Callable[[Tensor], Tensor], signals: Sequence[Tensor]) -> list[Tensor]:
        """A function of each step alone; in training all steps are one batch, whose statistics a batch norm both uses and keeps."""
        if self.training and len(signals) > 1:
            return list(function(torch.cat(tuple(signals))).chunk(len(signals)))
        return [function(signal) for signal in signals]


def _neuron(semantics: Semantics, surrogate: str) -> nn.Module:
    spiking = semantics.spiking
    if spiking is None:
        return nn.ReLU()
    if isinstance(spiking, Spiking):
        return LIF(spiking, surrogate)
    return Step(spiking.threshold, spiking.comparison, surrogate) if isinstance(spiking, StepNeurons) else nn.Hardtanh(0.0, 1.0)
