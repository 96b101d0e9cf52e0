"""Whatever the bytes, loading ends in a checked network or in a ``CheckpointError``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocert.models.checkpoints import load, resolve
from neurocert.models.errors import CheckpointError

REAL = resolve("digits-flex-ann").read_bytes()
HEADER_END = 8 + int.from_bytes(REAL[:8], "little")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "I64", "BF16", "F8_E4M3", "BOOL", "F4", "nonsense"]),
        "shape": st.lists(st.integers(-1, 2**63), max_size=3),
        "data_offsets": st.lists(st.integers(0, 2**63), min_size=2, max_size=2),
    }
)
METADATA = JSON | st.dictionaries(st.sampled_from(["neurocert", "other"]), st.text(max_size=20) | JSON.map(json.dumps))
HEADER = st.fixed_dictionaries({}, optional={"__metadata__": METADATA, "a": TENSOR, "b": TENSOR})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed") / "a.safetensors"


@given(data=st.binary(max_size=300))
def test_random_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        load(path)


@given(header=JSON | HEADER, body=st.binary(max_size=64))
def test_random_headers(path: Path, header: Any, body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    with pytest.raises(CheckpointError):
        load(path)


@given(kept=st.integers(0, len(REAL) - 1))
def test_truncations(path: Path, kept: int) -> None:
    path.write_bytes(REAL[:kept])
    with pytest.raises(CheckpointError):
        load(path)


@settings(deadline=None)
@given(place=st.integers(HEADER_END, len(REAL) - 1), flip=st.integers(1, 255))
def test_a_changed_weight_never_passes(path: Path, place: int, flip: int) -> None:
    path.write_bytes(REAL[:place] + bytes([REAL[place] ^ flip]) + REAL[place + 1 :])
    with pytest.raises(CheckpointError):
        load(path)


@settings(deadline=None)
@given(place=st.integers(0, HEADER_END - 1), new=st.binary(max_size=3), cut=st.integers(0, 3))
def test_a_changed_header_is_an_error_or_leaves_the_weights(path: Path, place: int, new: bytes, cut: int) -> None:
    path.write_bytes(REAL[:place] + new + REAL[place + cut :])
    try:
        checkpoint = load(path)
    except CheckpointError:
        return
    assert checkpoint.metadata.tensors_sha256.encode() in REAL
