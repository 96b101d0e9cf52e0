"""Which samples of a data set a network is asked about."""

from __future__ import annotations

from dataclasses import dataclass

from neurocert.certify.errors import ConfigError
from neurocert.models.data.samples import Samples, require_fit
from neurocert.models.data.source import load_samples
from neurocert.models.networks.classifier import Classifier

DEFAULT_SAMPLES = 100


@dataclass(frozen=True, eq=False)
class Selection:
    """Samples of a data set.

    Attributes:
        data: the whole test split.
        indices: of ``samples`` in it.
    """

    data: Samples
    indices: list[int]
    samples: Samples


def select(network: Classifier, source: str, samples: int | tuple[int, ...] | None) -> Selection:
    """The first so many, or those named, or by default the first hundred.

    Raises:
        DataError: a source that cannot be read, or whose samples the network cannot be asked about.
        ConfigError: more samples than there are, or an index outside the data.
    """
    data = load_samples(source)
    require_fit(data, network.inputs, len(network.classes))
    indices = chosen_indices(samples, data)
    return Selection(data, indices, data.take(indices))


def chosen_indices(samples: int | tuple[int, ...] | None, data: Samples) -> list[int]:
    """Indices that ``select`` chooses.

    Raises:
        ConfigError: more than there are, or an index outside the data.
    """
    if samples is None:
        return list(range(min(DEFAULT_SAMPLES, len(data))))
    highest = samples - 1 if isinstance(samples, int) else max(samples)
    if highest >= len(data):
        raise ConfigError(f"samples: {data.name} has {len(data)} samples (0..{len(data) - 1}), asked for number {highest}")
    return list(range(samples)) if isinstance(samples, int) else list(samples)
