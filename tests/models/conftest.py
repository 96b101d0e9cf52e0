from __future__ import annotations

from typing import Any

import pytest
import torch

from neurocert.models.checkpoints import tensors_sha256
from neurocert.models.networks.classifier import Classifier, InputSpace
from neurocert.models.registry import build
from neurocert.models.schema import CheckpointMetadata

SPIKING = {
    "threshold": 0.5,
    "comparison": ">=",
    "reset": "soft",
    "reset_value": 0.0,
    "reset_timing": "delayed",
    "leak": {"kind": "euler", "dt": 0.001, "tau": 0.01},
    "time_steps": 3,
    "encoding": "direct",
    "readout": "sum",
}
METADATA: dict[str, Any] = {
    "format_version": 1,
    "architecture": {"name": "flex-vgg", "parameters": {"blocks": [[2, 2]], "hidden": [3]}},
    "semantics": {"spiking": SPIKING},
    "inputs": {"shape": [1, 4, 4], "low": -1.0, "high": 2.0},
    "normalisation": {"mean": [0.25], "std": [0.5]},
    "classes": ["no", "yes"],
    "provenance": {
        "recipe": {"name": "by-hand", "sha256": "1" * 64},
        "data": {"name": "none", "sha256": "2" * 64},
        "seed": 0,
        "epochs": 2,
        "best_epoch": 1,
        "versions": {"torch": "2.13.0", "neurocert": "0.1.0"},
        "accuracy": {split: {"correct": 1, "n": 2} for split in ("train", "validation", "test")},
    },
    "tensors_sha256": "0" * 64,
}


def small_network() -> tuple[Classifier, CheckpointMetadata]:
    metadata = CheckpointMetadata.model_validate(METADATA)
    torch.manual_seed(0)
    network = build(
        metadata.architecture.name,
        metadata.architecture.parameters,
        inputs=InputSpace((1, 4, 4), -1.0, 2.0),
        semantics=metadata.semantics.value(),
        classes=metadata.classes,
        mean=metadata.normalisation.mean,
        std=metadata.normalisation.std,
    )
    return network, metadata.model_copy(update={"tensors_sha256": tensors_sha256(network.state_dict())})


@pytest.fixture
def made() -> tuple[Classifier, CheckpointMetadata]:
    """A small spiking network with fresh weights, and metadata that describe it."""
    return small_network()


@pytest.fixture(scope="session")
def described() -> CheckpointMetadata:
    """The metadata of ``made``."""
    return small_network()[1]
