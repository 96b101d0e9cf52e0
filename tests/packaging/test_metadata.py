"""What pyproject.toml says of the packages and of the requirements, against the tree and against the lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
NEEDED_BY_PEERS = {"appdirs", "tqdm"}
REQUIREMENTS = [*PROJECT["dependencies"], *(item for extra in PROJECT["optional-dependencies"].values() for item in extra)]


def pins(file: str) -> dict[str, str]:
    """Version by lower-case name of every line of a file of requirements/ that is not a comment."""
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    exact = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if not line.startswith("#")]
    assert None not in exact, lines
    return {match[1].lower(): match[2] for match in exact if match}


def test_the_listed_packages_are_the_folders_of_the_tree() -> None:
    inits = (init for room in ("analysis", "certify", "models", "perturbations") for init in (ROOT / room).rglob("__init__.py"))
    folders = sorted(".".join(("neurocert", *init.parent.relative_to(ROOT).parts)) for init in inits)
    assert PYPROJECT["tool"]["setuptools"]["packages"] == folders


def test_the_metadata_has_lower_bounds_only() -> None:
    assert not [item for item in REQUIREMENTS if not re.fullmatch(r"[\w-]+(\[\w+\])?>=[\d.]+", item)]


def test_the_lock_pins_every_requirement() -> None:
    names = {re.split(r"\[|>=", item)[0].lower() for item in REQUIREMENTS}
    assert names <= set(pins("lock.txt"))


def test_the_lock_pins_the_torch_that_the_project_is_tried_with() -> None:
    assert pins("lock.txt")["torch"] == "2.13.0"


def test_the_peers_stay_out_of_the_lock_and_of_the_metadata() -> None:
    peers = set(pins("peers.txt"))
    assert peers == {"auto-lirpa", "torchattacks", *NEEDED_BY_PEERS}
    assert not peers & {re.split(r"\[|>=", item)[0].lower() for item in REQUIREMENTS}
    assert not peers & set(pins("lock.txt"))
