"""Every registered layer is met by some test's network; what is met is read off the captured graphs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from neurocert.certify.bounds.compositions import COMPOSITIONS
from neurocert.certify.bounds.graph import trace
from neurocert.certify.bounds.registry import layer_name, rules

HERE = Path(__file__).parent


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"cases_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def met() -> set[Any]:
    """Module classes and functions in the graphs of this folder's cases, and what the first layers' tests name themselves."""
    first = module(HERE.parent / "test_layers.py")
    found = {layer for layers, _ in first.CASES.values() for layer in layers} | set(first.LEARNED_ELSEWHERE)
    for path in (HERE / "test_cases.py", HERE / "test_networks.py"):
        for shape, build in module(path).CASES.values():
            network = build().eval()
            layers = [node.layer for node in trace(network, shape).nodes]
            found |= {type(layer) if isinstance(layer, nn.Module) else layer.target for layer in layers}
    return found


def test_every_registered_layer_has_a_case() -> None:
    found = met()
    missing = [layer_name(layer) for rule in rules() for layer in rule.layers if layer not in found]
    assert not missing, f"give these a case in CASES: {missing}"


def test_every_composition_has_a_case() -> None:
    source = "".join((HERE / name).read_text(encoding="utf-8") for name in ("test_cases.py", "test_networks.py"))
    missing = [layer_name(layer) for layer in COMPOSITIONS if layer_name(layer) not in source]
    assert not missing, f"give these a case in CASES: {missing}"
