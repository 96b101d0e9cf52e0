"""Writes rules.md: what every rule computes and why it is sound, from the rules themselves."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from neurocert.certify.bounds import relaxations
from neurocert.certify.bounds.arithmetic import ARITHMETICS
from neurocert.certify.bounds.registry import layer_name, rules
from neurocert.certify.verifiers.margins import METHODS

PAGE = Path(__file__).with_name("rules.md")
HEAD = """# Rules and relaxations

What the bounds rest on. This page is generated from the code by `python docs/theory/generate.py`; a test holds it up to date.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_methods(), *_arithmetics(), *_rules(), *_relaxations()])


def _methods() -> Iterator[str]:
    yield "## Methods\n"
    for method in METHODS.values():
        yield f"- `{method.name}`: {method.description}."
    yield ""


def _arithmetics() -> Iterator[str]:
    yield "## Arithmetics\n\nA certificate speaks about one of:\n"
    for arithmetic in ARITHMETICS.values():
        yield f"- `{arithmetic.name}`: {arithmetic.statement}."
    yield ""


def _rules() -> Iterator[str]:
    yield "## Rules\n"
    for rule in rules():
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(map(layer_name, rule.layers)))
        optimised = " Its slopes can be optimised." if rule.mixes else ""
        yield f"### {names}\n\n{rule.statement}{optimised}\n\nBounds: {', '.join(rule.domains)}. Source: {rule.source}.\n"


def _relaxations() -> Iterator[str]:
    yield f"## Relaxations\n\n{_text(relaxations)}\n"
    for found in pkgutil.iter_modules(relaxations.__path__):
        module = importlib.import_module(f"{relaxations.__name__}.{found.name}")
        yield f"### {found.name.replace('_', ' ')}\n\n{_text(module)}\n"
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"`{name}`: {_text(function)}\n"


def _text(documented: ModuleType | object) -> str:
    """A docstring without its lists of arguments and results."""
    text = inspect.getdoc(documented) or ""
    return text.split("\nArgs:")[0].split("\nReturns:")[0].strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
