"""The decorator that compiles a mechanism's inner loop to machine code, without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """``function`` as machine code: IEEE arithmetic in the order written, no fused multiply-add.

    Kept on disk where there is a place for it. A compiled function may call only compiled functions of its own file:
    the cache does not see changes in other files.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no writable folder: compiled again in each process
        return numba.njit(nogil=True, error_model="numpy")(function)
