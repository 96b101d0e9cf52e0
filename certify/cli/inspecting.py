"""``certify inspect``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from neurocert.certify.bounds.call import Call
from neurocert.certify.bounds.graph import Graph, Node, trace
from neurocert.certify.bounds.registry import layer_name, rule_for
from neurocert.certify.cli.console import answer, write
from neurocert.models.checkpoints import Checkpoint, load


@dataclass(frozen=True)
class LayerLine:
    """One layer of a network.

    Attributes:
        path, layer: where and what it is.
        inputs, outputs: shapes, without the batch.
        calls: how often one forward pass calls it.
        domains: those with a rule for it.
        problem: why it has no bounds; None where it has.
    """

    path: str
    layer: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    calls: int
    domains: tuple[str, ...]
    problem: str | None


def inspect(name: str, *, as_json: bool) -> None:
    """Prints what a checkpoint is."""
    checkpoint = load(name)
    lines = layer_lines(trace(checkpoint.network, checkpoint.network.inputs.shape))
    if as_json:
        write(json.dumps({**_facts(checkpoint), "layers": [asdict(line) for line in lines]}, indent=2))
        return
    answer(_facts_table(checkpoint), "", _layer_table(lines))


def layer_lines(graph: Graph) -> list[LayerLine]:
    """Every layer once, in the order of evaluation."""
    calls = Counter(map(_place, graph.nodes))
    lines: dict[tuple[str, str], LayerLine] = {}
    for node in graph.nodes:
        key, rule = _place(node), rule_for(node.layer)
        sources = tuple(tuple(graph.shape(value)) for value in node.inputs)
        domains = () if rule is None or node.problem else rule.domains
        lines.setdefault(key, LayerLine(*key, sources, tuple(map(tuple, node.shapes)), calls[key], domains, node.problem))
    return list(lines.values())


def _place(node: Node) -> tuple[str, str]:
    """(path, name) of a layer; a function called by a module has that module's path."""
    path = node.path.rpartition(".")[0] if isinstance(node.layer, Call) else node.path
    return path, layer_name(node.layer)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    network = checkpoint.network
    return {
        "checkpoint": checkpoint.name,
        "file": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "semantics": checkpoint.semantics.describe(),
        "metadata": checkpoint.metadata.model_dump(mode="json"),
    }


def _facts_table(checkpoint: Checkpoint) -> Table:
    facts, metadata = _facts(checkpoint), checkpoint.metadata
    origin, inputs = metadata.provenance, metadata.inputs
    accuracy = origin.accuracy
    scores = [(name, getattr(accuracy, name)) for name in ("train", "validation", "test")]
    parameters = ", ".join(f"{name} {value}" for name, value in metadata.architecture.parameters.items())
    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("checkpoint", facts["checkpoint"]),
        ("file", facts["file"]),
        ("sha256", facts["sha256"]),
        ("architecture", f"{metadata.architecture.name}: {parameters}"),
        ("parameters", f"{facts['parameters']:,}"),
        ("semantics", facts["semantics"]),
        ("input", f"{'x'.join(map(str, inputs.shape))} in [{inputs.low:g}, {inputs.high:g}]"),
        ("classes", ", ".join(metadata.classes)),
        ("recipe", f"{origin.recipe.name}, data {origin.data.name}, seed {origin.seed}, epoch {origin.best_epoch} of {origin.epochs}"),
        ("trained by", f"torch {origin.versions.torch}, neurocert {origin.versions.neurocert}"),
        ("correct", ", ".join(f"{name} {score.correct}/{score.n}" for name, score in scores)),
    ):
        grid.add_row(name, str(value))
    return grid


def _layer_table(lines: list[LayerLine]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("path", "layer", "shapes", "calls", "bounds"):
        grid.add_column(name, no_wrap=name == "path")
    for line in lines:
        shapes = f"{_sizes(line.inputs)} -> {_sizes(line.outputs)}"
        grid.add_row(line.path, line.layer, shapes, str(line.calls), line.problem or ", ".join(line.domains))
    return grid


def _sizes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in dict.fromkeys(shapes))
