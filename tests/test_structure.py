"""The house holds: imports point downward, files stay small, and nothing dangerous or private is in them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "perturbations", "analysis", "certify")
FLOORS = (  # certify's files and folders from the bottom up
    {"errors", "deadline", "config"},
    {"bounds"},
    {"problem", "certificate", "selection"},
    {"verifiers", "backends", "training"},
    {"sensitivity"},
    {"campaign"},
    {"reports"},
    {"runner", "analyser", "api", "snan_study", "self_test", "testing"},
    {"cli"},
)
MAX_LINES = 450
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec"}
SAFE_VALUES = {"allow_pickle": False, "weights_only": True}
PRIVATE = tuple(  # in two parts, so that this file does not hold what it looks for
    (first + second).encode()
    for first, second in (("pypi", ".org"), ("files.python", "hosted"), ("registry.npm", "js"), ("/wo", "rk/"), ("/ro", "ot/"))
)
UNPUBLISHED = {
    ".git",
    ".hypothesis",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
    "certify-report",
    "certify-analysis",
    "certify-snan",
}

SOURCES = {
    ".".join(("neurocert", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): file
    for room in ROOMS
    for file in sorted((ROOT / room).rglob("*.py"))
}
every_module = pytest.mark.parametrize("module", SOURCES)


def tree(module: str) -> ast.Module:
    """The syntax of one module of the product."""
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def imported(syntax: ast.Module) -> Iterator[str]:
    """Dotted name of every module that a file imports, wherever in it."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            names = (f"{source}.{name.name}" for name in node.names)
            yield from (name if name in SOURCES else source for name in names)


def height(module: str) -> tuple[int, int]:
    """Room and floor of a module of the product; the table of contents is on top of its house."""
    _, room, *path = module.split(".")
    if room != "certify":
        return ROOMS.index(room), 0
    floors = [floor for floor, names in enumerate(FLOORS) if path and path[0] in names]
    return ROOMS.index(room), floors[0] if path else len(FLOORS)


def upward(module: str, syntax: ast.Module) -> list[str]:
    """The modules above it that a module of the product imports."""
    ours = (name for name in imported(syntax) if name.startswith("neurocert."))
    return [name for name in ours if height(name) > height(module)]


def bare(syntax: ast.Module) -> list[str]:
    """The imports of a room by its folder's name, or relative to the file."""
    return [name for name in imported(syntax) if name.partition(".")[0] in {"", *ROOMS}]


def unsafe(syntax: ast.Module) -> list[str]:
    """What could run code from a file that a user was given."""
    modules = [name for name in imported(syntax) if name.partition(".")[0] in UNSAFE_MODULES]
    calls = [node for node in ast.walk(syntax) if isinstance(node, ast.Call)]
    return modules + [name for call in calls for name in unsafe_parts(call)]


def unsafe_parts(call: ast.Call) -> Iterator[str]:
    """The function of a call, and those of its keywords, that run code from data."""
    function = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if function in UNSAFE_CALLS:
        yield function
    if function == "torch.load" and "weights_only" not in keywords:
        yield "torch.load without weights_only"  # the oldest torch that is supported would unpickle
    yield from (f"{name}={keywords[name]}" for name, value in SAFE_VALUES.items() if keywords.get(name, str(value)) != str(value))


def published() -> Iterator[Path]:
    """Every file of the project that a reader of the repository sees."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in UNPUBLISHED and not name.endswith(".egg-info")]
        yield from (Path(folder, name) for name in files if name not in UNPUBLISHED)


@every_module
def test_imports_point_downward(module: str) -> None:
    assert not upward(module, tree(module))


@every_module
def test_rooms_are_imported_by_their_full_name(module: str) -> None:
    assert not bare(tree(module))


@every_module
def test_no_module_runs_code_from_data(module: str) -> None:
    assert not unsafe(tree(module))


@every_module
def test_every_public_module_says_what_it_is(module: str) -> None:
    private = any(part.startswith("_") for part in module.split("."))
    assert private or ast.get_docstring(tree(module))


def test_every_module_of_certify_has_a_floor() -> None:
    names = {module.split(".")[2] for module in SOURCES if module.startswith("neurocert.certify.")}
    assert names <= set(chain.from_iterable(FLOORS)), "give the new name a place in FLOORS"


def test_files_stay_readable() -> None:
    long = {str(file): lines for file in published() if file.suffix == ".py" and (lines := file.read_bytes().count(b"\n")) > MAX_LINES}
    assert not long


def test_no_file_names_this_machine_or_a_registry() -> None:
    found = {str(file): name for file in published() for name in PRIVATE if name in file.read_bytes()}
    assert not found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("neurocert.models.checkpoints", "import neurocert.perturbations.balls"),
        ("neurocert.analysis.routing", "def f():\n    from neurocert import certify"),
        ("neurocert.certify.bounds.graph", "from neurocert.certify import cli"),
        ("neurocert.certify.reports.html", "from neurocert.certify import verify"),
    ],
)
def test_an_import_that_points_upward_is_seen(module: str, source: str) -> None:
    assert upward(module, ast.parse(source))


@pytest.mark.parametrize("source", ["import models", "from certify.bounds import graph", "from . import graph", "from .graph import Node"])
def test_a_bare_import_is_seen(source: str) -> None:
    assert bare(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "eval(text)",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
    ],
)
def test_code_from_data_is_seen(source: str) -> None:
    assert unsafe(ast.parse(source))


@pytest.mark.parametrize("source", ["network.eval()", "np.load(path, allow_pickle=False)", "torch.load(path, weights_only=True)"])
def test_harmless_neighbours_pass(source: str) -> None:
    assert not unsafe(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    ["import neurocert.certify", "import sys; sys.argv = ['certify', '--help']; from neurocert.certify.cli.main import main; main()"],
)
def test_torch_waits_until_it_is_needed(source: str) -> None:
    watch = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    done = subprocess.run([sys.executable, "-c", f"{watch}\n{source}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()) == (0, ["False"]), done.stderr
