"""A hybrid small enough to be trained for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurocert.certify.training import hybrid
from neurocert.models.snan import hybrid_files
from neurocert.models.training.recipe import Recipe, parse_recipe

SMALL_HYBRID = b"""
name = "small-hybrid"
description = "LeNet behind 13 x 13 spiking neurons"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
semantics = "static"
architecture = { name = "lenet", parameters = { channels = [4, 4, 8], hidden = [16] } }
data = { source = "digits" }

[snan]
seed = 1
per_class = 12
held_out = 3
shown = 2

[snan.settings]
excitatory = 13
inhibitory = 6
excitatory_links = { fan_out = 40, length = 4.0 }
interneuron_links = { fan_out = 5, length = 2.0 }
inhibitory_links = { fan_out = 50, length = 20.0 }

[training]
seed = 1
epochs = 15
batch_size = 16
optimiser = "adam"
learning_rate = 0.01
"""


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    return parse_recipe(SMALL_HYBRID)


@pytest.fixture(scope="session")
def trained_hybrid(small_recipe: Recipe) -> hybrid.Trained:
    return hybrid.train(small_recipe)


@pytest.fixture(scope="session")
def hybrid_file(trained_hybrid: hybrid.Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hybrid") / "small.safetensors"
    hybrid_files.save(path, *trained_hybrid)
    return path


@pytest.fixture(scope="session")
def control_file(small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert small_recipe.snan is not None
    control = small_recipe.model_copy(update={"snan": small_recipe.snan.model_copy(update={"spiking": False})})
    path = tmp_path_factory.mktemp("control") / "control.safetensors"
    hybrid_files.save(path, *hybrid.train(control))
    return path
