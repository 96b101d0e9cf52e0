"""A network survives its file; a file that is not what it says is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from neurocert.models.checkpoints import tensors_sha256
from neurocert.models.errors import CheckpointError, InputError
from neurocert.models.schema import Source
from neurocert.models.snan.files import load, save
from neurocert.models.snan.network import Network
from neurocert.models.snan.presentation import present

SOURCE = Source(name="three bars", sha256="0" * 64)
Change = Callable[[dict[str, Tensor], dict[str, Any]], None]


@pytest.fixture
def stored(trained: Network, tmp_path: Path) -> Path:
    save(tmp_path / "bars.safetensors", trained, SOURCE, (0, 1, 2))
    return tmp_path / "bars.safetensors"


def test_a_network_survives_its_file(trained: Network, patterns: np.ndarray, stored: Path) -> None:
    network, metadata = load(stored)
    assert (network.settings, network.seed, metadata.classes, metadata.trained_on) == (trained.settings, 3, (0, 1, 2), SOURCE)
    assert np.array_equal(network.calcium, trained.calcium)
    assert np.array_equal(present(network, patterns), present(trained, patterns))


def test_the_same_network_gives_the_same_bytes(trained: Network, stored: Path, tmp_path: Path) -> None:
    save(tmp_path / "again.safetensors", trained, SOURCE, (0, 1, 2))
    assert (tmp_path / "again.safetensors").read_bytes() == stored.read_bytes()


def _sizes(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    note["settings"]["excitatory"] = 14


def _target(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    tensors["excitatory_targets"][0, 0] = 169


def _weight(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    tensors["inhibitory_weights"][0, 0] = 50001


def _negative(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    tensors["inhibitory_targets"][0, 0] = -1


def _calcium(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    tensors["calcium"][0, 0] = torch.nan


def _missing(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    del tensors["calcium"]


def _setting(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    note["settings"]["neuron"]["e"] = 1.0


def _default(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    del note["settings"]["modulation"]["strength"]


def _seed(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    note["seed"] = "3"


def _below(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    note["seed"] = -1


def _version(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    note["format_version"] = 2


def _never(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    note["settings"]["modulation"]["interval"] = 0.0


def _everywhere(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    tensors["excitatory_targets"][:] = 0


def _dtype(tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    tensors["excitatory_weights"] = tensors["excitatory_weights"].float()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_sizes, r"excitatory_targets: shape \(169, 40\), expected \(196, 40\)"),
        (_target, "excitatory_targets: uint16 up to 169, expected uint16 below 169"),
        (_weight, "inhibitory_weights: uint16 up to 50001"),
        (_negative, "inhibitory_targets: values from -1"),
        (_calcium, "calcium map: .*expected finite numbers"),
        (_missing, "holds tensors"),
        (_setting, "bad SNAN metadata"),
        (_default, "missing, unknown or converted"),
        (_seed, "seed: "),
        (_below, "seed: Input should be greater than or equal to 0"),
        (_version, "format_version: Input should be 1, got 2"),
        (_never, "modulation.interval is 0.0, expected at least dt"),
        (_everywhere, "excitatory_targets: 6760 synapses reach one neuron, expected at most 2684"),
        (_dtype, "expected a matrix of int32"),
    ],
)
def test_a_file_that_does_not_fit_itself_is_refused(stored: Path, change: Change, message: str) -> None:
    data = stored.read_bytes()
    note = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["neurocert"])
    tensors = safetensors.load(data)
    change(tensors, note)
    note["tensors_sha256"] = tensors_sha256(tensors)
    stored.write_bytes(safetensors.save(tensors, metadata={"neurocert": json.dumps(note)}))
    with pytest.raises(CheckpointError, match=message):
        load(stored)


def test_changed_tensors_are_noticed(stored: Path) -> None:
    data = bytearray(stored.read_bytes())
    data[-200] ^= 1
    stored.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="does not hold the tensors"):
        load(stored)


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"\x80nothing")
    with pytest.raises(CheckpointError, match="is a Python pickle"):
        load(tmp_path / "no.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "absent.safetensors")


def test_a_network_whose_connections_do_not_match_its_sizes_cannot_be_made(trained: Network) -> None:
    with pytest.raises(InputError, match=r"inhibitory_targets: shape \(35, 50\), expected \(36, 50\)"):
        replace(trained, inhibitory_targets=trained.inhibitory_targets[1:])
