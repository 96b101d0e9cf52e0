"""Reading and writing whole files so that a user's mistake is an ``InputError`` and no output is ever half-written."""

from __future__ import annotations

import os
from pathlib import Path

from neurocert.models.errors import InputError


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes.

    Raises:
        InputError: no such file, a directory, a device, too large, or not readable; the message does not repeat the path.
    """
    try:
        if path.is_dir():
            raise InputError("is a directory, expected a file")
        if not path.exists():
            raise InputError("no such file")
        if not path.is_file():
            raise InputError("is not a regular file")
        if (size := path.stat().st_size) > limit:
            raise InputError(f"has {size} bytes, at most {limit} are read")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read: {error}") from error


def printable(text: str) -> str:
    """``text`` that came from a file, on one line, with everything escaped that could steer a terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` to ``path`` through a temporary file beside it: afterwards the file is the old one or the new one.

    Raises:
        InputError: the folder is missing or not writable, or the disk is full.
    """
    temporary = path.parent / f".neurocert-{os.getpid()}.tmp"
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be written: {reason}", "give a path in a folder that exists and is writable") from error
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def require_writable(path: Path) -> None:
    """Checks, before a long computation, that ``write_atomically`` will be able to write ``path``.

    Raises:
        InputError: the folder is missing or not writable, or the path is a directory.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected a file", "give the path of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: {path.parent} is not a directory", "make it first, or choose another")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written: {path.parent} is not writable", "choose another directory")
