"""Reads files that somebody else wrote: one error for all that stands in the way of their bytes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from .errors import ArgumentTypeError, MissingFileError, SymcError


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The bytes of a file, to be read in any order; a pipe's are fetched at once.

    Raises ArgumentTypeError for what is no path, MissingFileError, and SymcError where a file cannot be read and for a
    device, which may have no end.
    """
    require_name(path)
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise SymcError(f'Open "{os.fspath(path)}": it is a device, expected a file or a pipe')
            yield file if stat.S_ISREG(mode) else io.BytesIO(file.read())
    except OSError as error:
        raise not_opened(path, error) from error


def require_name(path: str | os.PathLike[str]) -> None:
    """Raises ArgumentTypeError for what is no path, SymcError for a name that no file can have."""
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(f"expected the path of a file, got {type(path).__name__}")
    if "\0" in os.fspath(path):
        raise SymcError(f'Open "{os.fspath(path)}": no file\'s name has a NUL in it')


def not_opened(path: str | os.PathLike[str], error: OSError) -> SymcError:
    """What is raised where the system refuses to open, read or write a file."""
    kind = MissingFileError if error.errno == errno.ENOENT else SymcError
    return kind(f'Open "{os.fspath(path)}": {error.strerror or error}')


def contents(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file or pipe; raises what `reading` does."""
    with reading(path) as file:
        return file.read()


def size_of(file: BinaryIO) -> int:
    """How many bytes a file that `reading` gave has; it is read from its beginning afterwards."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size_bytes
