"""auto_LiRPA beside a current torch and numpy, and without its marks on the process.

Release 0.3, the one that a package index has, uses three names that have since gone. ``library`` and ``contained`` put a
name back only where it is absent, so the 0.7 line, which needs none of them, runs untouched.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import torch

from neurocert.certify.errors import InputError

RECURSION_LIMIT = 20_000
"""auto_LiRPA walks a graph recursively, a few frames for each of its nodes."""
GONE_MODULE = "numpy.lib.arraysetops"
EXPORTER_STATE = ("torch.onnx._internal.torchscript_exporter._globals", "torch.onnx._globals")
"""Where the state of torch's ONNX exporter lives, newest first."""


def library() -> ModuleType:
    """The package auto_LiRPA; call what it offers inside ``contained``.

    Raises:
        InputError: it is not installed, or does not run beside this torch.
    """
    if importlib.util.find_spec("auto_LiRPA") is None:
        raise InputError(
            "auto_LiRPA is not installed", "pip install --no-deps -r requirements/peers.txt; --no-deps, or it asks for a torch of years ago"
        )
    try:
        with contained():
            found = importlib.import_module("auto_LiRPA")
            _accept_duplicates(found.BoundedModule)
            return found
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"auto_LiRPA cannot be imported beside torch {torch.__version__}: {error}",
            "install requirements/peers.txt with --no-deps, or a release of the 0.7 line and what it requires",
        ) from error


@contextmanager
def contained() -> Iterator[None]:
    """Inside, the names that auto_LiRPA expects exist and torch defaults to float64; afterwards the process is as before.

    What it changes when it is imported and when it converts a network: logging, warning filters, the recursion limit,
    flags of TorchScript and of the ONNX exporter, import hooks (through setuptools), an empty folder among the user's data.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(record=True))
        for restore in (_logging(), _recursion_limit(), _default_dtype(), _script_flags(), _exporter(), _import_hooks(), _data_folder()):
            stack.callback(restore)
        sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_LIMIT))
        torch.set_default_dtype(torch.float64)  # in which it makes its identity matrices
        _exporter_state().autograd_inlining = False  # our operators are autograd functions, to be seen whole
        for owner, name, value in _names():
            if not hasattr(owner, name):
                setattr(owner, name, value)
                stack.callback(delattr, owner, name)
        if importlib.util.find_spec("numpy.lib") and not _exists(GONE_MODULE):
            sys.modules[GONE_MODULE] = ModuleType(GONE_MODULE)
            vars(sys.modules[GONE_MODULE])["isin"] = numpy.isin
            stack.callback(sys.modules.pop, GONE_MODULE)
        yield


def _names() -> tuple[tuple[Any, str, Any], ...]:
    """(owner, name, stand-in) of what release 0.3 looks for in torch."""
    helper = importlib.import_module("torch.onnx.symbolic_helper")

    def set_version(version: int) -> None:
        _exporter_state().export_onnx_opset_version = version

    def attribute(node: Any, key: str) -> Any:
        return getattr(node, node.kindOf(key))(key)

    return (helper, "_set_opset_version", set_version), (torch._C.Node, "__getitem__", attribute)


def _accept_duplicates(bounded_module: Any) -> None:
    """Gives a method that release 0.3 overrides the argument that torch has passed to it since 2.0."""
    members = bounded_module._named_members
    if "remove_duplicate" not in inspect.signature(members).parameters:

        def named_members(self: Any, *arguments: Any, remove_duplicate: bool = True, **keywords: Any) -> Any:
            return members(self, *arguments, **keywords)

        bounded_module._named_members = named_members


def _exists(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None


def _exporter_state() -> Any:
    name = next(name for name in EXPORTER_STATE if _exists(name))
    return importlib.import_module(name).GLOBALS


def _logging() -> Callable[[], None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def restore() -> None:
        root.handlers[:] = handlers
        root.setLevel(level)

    return restore


def _recursion_limit() -> Callable[[], None]:
    limit = sys.getrecursionlimit()
    return lambda: sys.setrecursionlimit(limit)


def _default_dtype() -> Callable[[], None]:
    dtype = torch.get_default_dtype()
    return lambda: torch.set_default_dtype(dtype)


def _script_flags() -> Callable[[], None]:
    """The setters are all there is: each returns the value before."""
    setters = (torch._C._jit_set_profiling_executor, torch._C._jit_set_profiling_mode)
    before = [setter(True) for setter in setters]

    def restore() -> None:
        for setter, value in zip(setters, before, strict=True):
            setter(value)

    restore()
    return restore


def _exporter() -> Callable[[], None]:
    state = _exporter_state()
    before = dict(vars(state))

    def restore() -> None:
        vars(state).clear()
        vars(state).update(before)

    return restore


def _import_hooks() -> Callable[[], None]:
    hooks = list(sys.meta_path)

    def restore() -> None:
        sys.meta_path[:] = hooks

    return restore


def _data_folder() -> Callable[[], None]:
    """Removes the folder that auto_LiRPA makes for the user, with the parents made for it, if it was not there before."""
    if importlib.util.find_spec("appdirs") is None:
        return lambda: None
    folder = Path(importlib.import_module("appdirs").user_data_dir("auto_LiRPA"))
    made = [path for path in (folder, *folder.parents) if not path.exists()]

    def restore() -> None:
        for path in made:
            if path.is_dir() and not os.listdir(path):
                path.rmdir()

    return restore
