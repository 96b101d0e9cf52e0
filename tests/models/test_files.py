from __future__ import annotations

from pathlib import Path

import pytest

from neurocert.models.errors import InputError
from neurocert.models.files import read_file, write_atomically


def test_round_trip_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (b"old", b"new"):
        write_atomically(path, data)
        assert read_file(path, limit=3) == data
    assert list(tmp_path.iterdir()) == [path]


def test_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(11))
    with pytest.raises(InputError, match="has 11 bytes, at most 10 are read"):
        read_file(tmp_path / "a", limit=10)


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / ("x" * 5000), b"new")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "a\0b", b"new")
