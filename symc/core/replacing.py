"""Writes files whole or not at all: under another name first, which then takes the place of the file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import SymcError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path` (a link: beside what it leads to), which takes its place when all is written.

    It is removed when something fails. Raises SymcError where the file cannot be written, and for what is there but no
    file: a device would be lost.
    """
    try:
        final = path.resolve()
        if final.exists() and not (final.is_file() or final.is_dir()):
            raise SymcError(f"writing {path}: it is a device, a pipe or a socket, expected a file")
        unfinished = final.with_name(f".{final.name}.{os.getpid()}")
        try:
            yield unfinished
            os.replace(unfinished, final)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
    except OSError as error:
        raise SymcError(f"writing {path}: {error.strerror or error}") from error
