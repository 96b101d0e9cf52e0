"""A spiking neuron-astrocyte network (SNAN) as a value: its settings, its connections, and what it has learned.

Source: "The Neuromorphic Supremacy", section 5.1; Gordleeva et al. (2023) for the situation-based network that it builds on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurocert.models.errors import InputError
from neurocert.models.snan.connectivity import connect
from neurocert.models.snan.neurons import Floats
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.synapses import RELEASE_STEPS, WEIGHT_UNIT, Indices
from neurocert.models.snan.zones import Zones, zones

LARGEST_SUM = int(2**63 / RELEASE_STEPS) - 1
"""Units of weight that may reach one neuron: a conductance, in units of weight times release, is kept in 64 bits."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network with the weights and the calcium map that it has.

    Neurons are counted row by row. Weights are whole numbers of ``WEIGHT_UNIT``, one for each synapse.

    Attributes:
        settings: sizes and constants.
        seed: of the connections.
        excitatory_targets: (E, K_EE), the postsynaptic neurons of each excitatory neuron in its own layer.
        interneuron_targets: (E, K_EI), those in the inhibitory layer.
        inhibitory_targets: (I, K_IE), the excitatory ones of each inhibitory neuron.
        excitatory_weights, inhibitory_weights: (E, K_EE) and (I, K_IE).
        calcium: (R, C), uM, of the astrocytes; constant while images are presented.
    """

    settings: Settings
    seed: int
    excitatory_targets: Indices
    interneuron_targets: Indices
    inhibitory_targets: Indices
    excitatory_weights: Indices
    inhibitory_weights: Indices
    calcium: Floats

    def __post_init__(self) -> None:
        sides, links = (self.settings.excitatory, self.settings.inhibitory), self.settings
        self._require("excitatory_targets", sides[0], links.excitatory_links.fan_out, sides[0] ** 2)
        self._require("interneuron_targets", sides[0], links.interneuron_links.fan_out, sides[1] ** 2)
        self._require("inhibitory_targets", sides[1], links.inhibitory_links.fan_out, sides[0] ** 2)
        most = units(links.plasticity.ceiling) + 1
        self._require("excitatory_weights", sides[0], links.excitatory_links.fan_out, most)
        self._require("inhibitory_weights", sides[1], links.inhibitory_links.fan_out, most)
        self._require_sums("excitatory_targets", most - 1)
        self._require_sums("interneuron_targets", units(links.interneuron_weight))
        self._require_sums("inhibitory_targets", most - 1)
        grid = (self.zones.side, self.zones.side)
        if self.calcium.shape != grid or not bool(np.isfinite(self.calcium).all()):
            raise InputError(f"calcium map: shape {self.calcium.shape}, expected finite numbers of shape {grid}")

    def _require(self, name: str, side: int, fan_out: int, limit: int) -> None:
        """Checks that an array belongs to layers of these sizes."""
        array, shape = getattr(self, name), (side * side, fan_out)
        if array.shape != shape:
            raise InputError(f"{name}: shape {array.shape}, expected {shape} for these layers", "connectivity and sizes do not match")
        if array.dtype != np.uint16 or int(array.max()) >= limit:
            raise InputError(
                f"{name}: {array.dtype} up to {array.max()}, expected uint16 below {limit}", "they do not belong to these sizes"
            )

    def _require_sums(self, name: str, weight: int) -> None:
        """Checks that a conductance, the sum over all that reach one neuron, stays within the whole numbers that it is kept in."""
        reaching, most = int(np.bincount(getattr(self, name).reshape(-1)).max()), LARGEST_SUM // max(weight, 1)
        if reaching > most:
            raise InputError(f"{name}: {reaching} synapses reach one neuron, expected at most {most}", "use a smaller fan-out")

    def require_images(self, images: NDArray[np.bool_]) -> None:
        """Raises InputError unless binary images are bool (B, E)."""
        neurons = self.settings.excitatory**2
        if images.dtype != np.bool_ or images.ndim != 2 or images.shape[1] != neurons:
            raise InputError(
                f"images are {images.dtype} {images.shape}, expected bool (B, {neurons}): one pixel for each excitatory neuron"
            )

    @cached_property
    def zones(self) -> Zones:
        return zones(self.settings.excitatory)

    @cached_property
    def interneuron_weights(self) -> Indices | np.ndarray:
        """(E, K_EI), all the same."""
        return np.full(self.interneuron_targets.shape, units(self.settings.interneuron_weight), np.uint32)

    def with_calcium(self, calcium: Floats) -> Network:
        """The same network with another calcium map."""
        return replace(self, calcium=calcium)


def create(settings: Settings, seed: int) -> Network:
    """A network that has learned nothing: random connections, initial weights, calcium at its initial value everywhere.

    Raises:
        InputError: a seed below 0, or links that do not fit the layers.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"SNAN: seed is {seed!r}, expected a whole number >= 0")
    generator = np.random.default_rng(seed)
    inner, outer = settings.excitatory, settings.inhibitory
    excitatory = connect(inner, inner, settings.excitatory_links, generator, itself=True)
    interneuron = connect(inner, outer, settings.interneuron_links, generator)
    inhibitory = connect(outer, inner, settings.inhibitory_links, generator)
    first, side = units(settings.plasticity.initial), zones(inner).side
    return Network(
        settings,
        seed,
        excitatory,
        interneuron,
        inhibitory,
        np.full_like(excitatory, first),
        np.full_like(inhibitory, first),
        np.full((side, side), settings.astrocyte.calcium),
    )


def units(weight: float) -> int:
    """A weight as the nearest whole number of ``WEIGHT_UNIT``."""
    return round(weight / WEIGHT_UNIT)
