from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from neurocert.certify.backends.compatibility import library
from neurocert.certify.errors import InputError

STATE = """
import logging, os, sys, warnings
import numpy, torch
from torch.onnx import symbolic_helper
from neurocert.certify.backends import compatibility

def state():
    root = logging.getLogger()
    flags = [setter(True) for setter in (torch._C._jit_set_profiling_executor, torch._C._jit_set_profiling_mode)]
    for setter, value in zip((torch._C._jit_set_profiling_executor, torch._C._jit_set_profiling_mode), flags):
        setter(value)
    return {
        "logging": (list(root.handlers), root.level),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "recursion": sys.getrecursionlimit(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "flags": flags,
        "exporter": dict(vars(compatibility._exporter_state())),
        "hooks": list(sys.meta_path),
        "names": (hasattr(symbolic_helper, "_set_opset_version"), hasattr(torch._C.Node, "__getitem__")),
        "module": "numpy.lib.arraysetops" in sys.modules,
        "home": [folder for folder, _, _ in os.walk(os.environ["HOME"])],
    }
"""
LOADED = """
import sys
import numpy, torch.onnx.symbolic_helper
from neurocert.certify.backends.compatibility import library
before = set(sys.modules)
library()
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*(name for name in new - set(sys.stdlib_module_names) if not name.startswith("_sysconfigdata")))
"""
REQUIREMENTS = {  # setuptools comes through torch's C++ extensions, with what it carries along; graphviz is the 0.7 line's
    "appdirs", "tqdm", "packaging", "numpy", "torch",
    "setuptools", "_distutils_hack", "distutils", "backports", "jaraco", "more_itertools",
    "graphviz",
}  # fmt: skip
USES = {
    "import": "compatibility.library()",
    "bounds": """
from torch import nn
from neurocert.certify.backends.auto_lirpa import lower_margins
from neurocert.certify.problem import make_problem
from neurocert.perturbations.balls import LinfBall
network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
assert not lower_margins(make_problem(network, torch.rand(2, 3), torch.tensor([0, 1]), LinfBall(0.1)), [0, 1]).lower.isnan().any()
""",
    "failure": """
from torch import nn
from neurocert.certify.backends.auto_lirpa import bounded_module
from neurocert.certify.errors import InputError
try:
    bounded_module(nn.Sequential(nn.Linear(3, 4), nn.Hardswish()).eval(), torch.rand(1, 3))
except InputError:
    pass
else:
    raise SystemExit("nothing was refused")
""",
}


@pytest.mark.usefixtures("peer")
@pytest.mark.parametrize("use", USES)
def test_nothing_is_left_changed(use: str, tmp_path: Path) -> None:
    source = f"{STATE}\nbefore = state()\n{USES[use]}\nafter = state()\nassert 'auto_LiRPA' in sys.modules\n"
    source += "print([key for key in before if before[key] != after[key]])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, env=_environment(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stdout + done.stderr


@pytest.mark.usefixtures("peer")
def test_only_the_package_and_what_it_needs_is_loaded(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False, env=_environment(tmp_path))
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert set(done.stdout.split()) <= {"auto_LiRPA", *REQUIREMENTS}


def test_without_the_package_the_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "auto_LiRPA" else find(name, *rest))
    with pytest.raises(InputError, match="not installed") as caught:
        library()
    assert "requirements/peers.txt" in (caught.value.hint or "")


def _environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
