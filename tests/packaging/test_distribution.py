"""The four ways to install the project, each imported from three places, and what the two archives hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("packaging")  # one worker builds everything once

ROOT = Path(__file__).parents[2]
ROOMS = ("analysis", "certify", "models", "perturbations")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
OFFLINE = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
STRICT = ("--config-settings", "editable_mode=strict")
FIND_THE_ROOMS = """
from importlib.util import find_spec
from neurocert import certify
print(certify.__file__)
for room in ("analysis", "models", "perturbations"):
    print(find_spec(f"neurocert.{room}").origin)
"""
IMPORT_EVERYTHING = """
import pkgutil
import neurocert
def fail(name):
    raise
for module in pkgutil.walk_packages(neurocert.__path__, "neurocert.", onerror=fail):
    if not module.name.endswith("__main__"):
        __import__(module.name)
        print(module.name)
"""


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command that must succeed; its errors are the failure's message."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: object, cwd: Path) -> str:
    """Run this interpreter's pip."""
    return run(sys.executable, "-m", "pip", *arguments, cwd=cwd)


def copy_of_the_tree(folder: Path) -> Path:
    """The project as a clone has it: nothing built, nothing hidden."""
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
    return Path(shutil.copytree(ROOT, folder, ignore=unwanted))


@dataclass(frozen=True)
class Installation:
    """An environment with the project installed in one way.

    `source` is the tree that it was made from, `home` the folder that the package must be imported from.
    """

    python: Path
    source: Path
    home: Path


def empty_environment(folder: Path) -> tuple[Path, Path]:
    """The interpreter and site-packages of a new environment that sees the installed dependencies, but not this project."""
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin" / "python", site


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("archives")
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, folder, cwd=copy_of_the_tree(folder / "tree"))
    pip("wheel", *OFFLINE, "--wheel-dir", folder, sdist_of(folder), cwd=folder)
    return folder


def sdist_of(folder: Path) -> Path:
    """The only sdist of a folder."""
    (archive,) = folder.glob("*.tar.gz")
    return archive


def wheel_of(folder: Path) -> Path:
    """The only wheel of a folder."""
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def wheel_files(archives: Path) -> dict[str, bytes]:
    """The wheel's files and what is in them."""
    with zipfile.ZipFile(wheel_of(archives)) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


@pytest.fixture(scope="module", params=["wheel", "sdist", "editable", "strict"])
def installation(request: pytest.FixtureRequest, archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The project installed in each way that a user may choose."""
    folder = tmp_path_factory.mktemp(request.param)
    source = copy_of_the_tree(folder / "clone")
    python, site = empty_environment(folder / "environment")
    what = {
        "wheel": (wheel_of(archives),),
        "sdist": (sdist_of(archives),),
        "editable": ("--editable", source),
        "strict": (*STRICT, "--editable", source),
    }[request.param]
    pip("--python", python, "install", *OFFLINE, *what, cwd=folder)
    return Installation(python, source, {"editable": source, "strict": source / "build"}.get(request.param, site / "neurocert"))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another project, whose own packages have the names of ours and must not be imported."""
    folder = tmp_path_factory.mktemp("crowded")
    for name in ("models", "analysis", "tests"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('imported the user\\'s own {name}')\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("place", ["elsewhere", "root of the clone", "crowded"])
def test_every_installation_imports_from_every_place(place: str, installation: Installation, crowded: Path, tmp_path: Path) -> None:
    cwd = {"elsewhere": tmp_path, "root of the clone": installation.source, "crowded": crowded}[place]
    files = run(installation.python, "-c", FIND_THE_ROOMS, cwd=cwd).splitlines()
    assert {Path(file).parent.name for file in files} == set(ROOMS)
    assert all(Path(file).is_relative_to(installation.home) for file in files), files


@pytest.mark.parametrize("installation", ["wheel"], indirect=True)
def test_every_module_imports_beside_packages_of_the_same_names(installation: Installation, crowded: Path) -> None:
    modules = run(installation.python, "-c", IMPORT_EVERYTHING, cwd=crowded).split()
    assert set(PACKAGES) <= set(modules)


def test_every_installation_knows_its_version(installation: Installation, tmp_path: Path) -> None:
    version = run(installation.python, "-c", "import importlib.metadata as m; print(m.version('neurocert'))", cwd=tmp_path)
    assert version.strip() == PROJECT["project"]["version"]


def test_every_installation_has_the_command(installation: Installation, crowded: Path) -> None:
    assert "Usage" in run(installation.python.with_name("certify"), "--help", cwd=crowded)


def test_every_installation_has_the_package_data(installation: Installation, tmp_path: Path) -> None:
    show = (
        "from importlib.resources import files\n"
        "print(*(item.name for item in (files('neurocert.models') / 'shipped').iterdir() if item.name.endswith('.safetensors')))"
    )
    assert run(installation.python, "-c", show, cwd=tmp_path).split()


def test_the_wheel_holds_every_file_of_the_rooms(wheel_files: dict[str, bytes]) -> None:
    kinds = ("**/*.py", "py.typed", "shipped/*.safetensors", "recipes/*.toml", "reports/templates/*")
    expected = {f"neurocert/{file.relative_to(ROOT)}" for room in ROOMS for kind in kinds for file in (ROOT / room).glob(kind)}
    assert {name for name in wheel_files if name.startswith("neurocert/")} == expected


@pytest.mark.parametrize(
    "kind",
    ["models/shipped/*.safetensors", "models/recipes/*.toml", "certify/reports/templates/*", *(f"{room}/py.typed" for room in ROOMS)],
)
def test_the_wheel_holds_each_kind_of_package_data(kind: str, wheel_files: dict[str, bytes]) -> None:
    found = {name: data for name, data in wheel_files.items() if Path(name).match(f"neurocert/{kind}")}
    assert found
    assert all(data == (ROOT / name.removeprefix("neurocert/")).read_bytes() for name, data in found.items())


def test_the_wheel_says_and_holds_its_licence(wheel_files: dict[str, bytes]) -> None:
    information = f"neurocert-{PROJECT['project']['version']}.dist-info"
    assert wheel_files[f"{information}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"\nLicense-Expression: Apache-2.0\n" in wheel_files[f"{information}/METADATA"]


def test_the_sdist_holds_what_a_packager_needs(archives: Path) -> None:
    with tarfile.open(sdist_of(archives)) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    needed = {"LICENSE", "Makefile", "README.md", "pyproject.toml", "requirements/lock.txt", "requirements/peers.txt"}
    assert needed <= names
    assert f"tests/packaging/{Path(__file__).name}" in names
