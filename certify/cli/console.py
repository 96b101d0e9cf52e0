"""Where words go: answers to stdout; progress, remarks and errors to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from neurocert.models.files import printable

Step = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all)."""


def answer(*parts: Any) -> None:
    """Prints renderables, or text as it is, to stdout."""
    _print(sys.stdout, parts)


def remark(text: str) -> None:
    """Prints one line to stderr, with nothing in it that could steer a terminal."""
    _print(sys.stderr, (printable(text),))


def write(text: str) -> None:
    """Writes a document to stdout as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


@contextmanager
def progress() -> Iterator[Step]:
    """A bar on stderr while the block runs; silent where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda text, done, steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda text, done, steps: bar.update(task, description=printable(text), completed=done, total=steps)


def named(step: Step, name: str) -> Step:
    """The same, saying of which of several networks."""
    return lambda text, done, steps: step(f"{name}: {text}", done, steps)


def grid(rows: Iterable[Sequence[str]]) -> Any:
    """A table; the first row is the head."""
    from rich import box
    from rich.table import Table

    head, *body = rows
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in body:
        table.add_row(*row)
    return table


def _print(stream: Any, parts: tuple[Any, ...]) -> None:
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
