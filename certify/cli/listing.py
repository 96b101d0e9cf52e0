"""``certify ls``."""

from __future__ import annotations

import json
from collections.abc import Callable

from rich import box
from rich.table import Table

from neurocert.certify.bounds.registry import layer_name, rules
from neurocert.certify.cli.console import answer, write
from neurocert.certify.errors import ConfigError
from neurocert.models import registry
from neurocert.models.checkpoints import load, shipped
from neurocert.models.training.recipe import load_recipe, recipes
from neurocert.perturbations.attacks import attacks, special_attacks
from neurocert.perturbations.named import SETS

Row = dict[str, str]
JSON_ONLY = {"statement"}
"""Too long for a table."""


def listing(what: str, *, as_json: bool) -> None:
    """Prints one of ``LISTS``.

    Raises:
        ConfigError: there is no such list.
    """
    if what not in LISTS:
        raise ConfigError(f"there is no list of {what!r}", f"expected one of {', '.join(LISTS)}")
    rows = LISTS[what]()
    if as_json:
        write(json.dumps(rows, indent=2))
        return
    shown = [name for name in rows[0] if name not in JSON_ONLY]
    grid = Table(*shown, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        grid.add_row(*(row[name] for name in shown))
    answer(grid)


def _models() -> list[Row]:
    return [{"model": name, "parameters": ", ".join(registry.parameters(name))} for name in registry.architectures()]


def _recipes() -> list[Row]:
    loaded = [(name, load_recipe(name)) for name in recipes()]
    return [{"recipe": name, "data": recipe.data.source, "description": recipe.description} for name, recipe in loaded]


def _checkpoints() -> list[Row]:
    loaded = [load(name) for name in shipped()]
    return [
        {
            "checkpoint": checkpoint.name,
            "correct on test": f"{checkpoint.metadata.provenance.accuracy.test.correct}/{checkpoint.metadata.provenance.accuracy.test.n}",
            "semantics": checkpoint.semantics.describe(),
        }
        for checkpoint in loaded
    ]


def _rules() -> list[Row]:
    return [
        {
            "layers": ", ".join(dict.fromkeys(map(layer_name, rule.layers))),
            "bounds": ", ".join(rule.domains),
            "statement": rule.statement,
            "source": rule.source,
        }
        for rule in rules()
    ]


def _attacks() -> list[Row]:
    return [{"attack": attack.name, "description": attack.describe()} for attack in (*attacks(), *special_attacks())]


def _perturbations() -> list[Row]:
    return [{"norm": norm, "class": kind.__name__, "description": (kind.__doc__ or "").splitlines()[0]} for norm, kind in SETS.items()]


LISTS: dict[str, Callable[[], list[Row]]] = {
    "models": _models,
    "recipes": _recipes,
    "checkpoints": _checkpoints,
    "rules": _rules,
    "attacks": _attacks,
    "perturbations": _perturbations,
}
