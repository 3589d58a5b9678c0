"""Writes files whole or not at all: under another name first, which then takes the place of the file."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import SymcError
from .reading import not_opened, require_name


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path` (a link: beside what it leads to), which takes its place when all is written.

    It is removed when something fails. An empty file is written where it is, and emptied then. Raises SymcError where
    the file cannot be written, and for what is there but no file: a device would be lost.
    """
    try:
        if _is_stream(path):
            raise SymcError(f"writing {path}: it is a device, a pipe or a socket, expected a file")
        with _in_place_of(path) as unfinished:
            yield unfinished
    except OSError as error:
        raise SymcError(f"writing {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The same, open to be written, for names that users give: a device or a pipe is written as it comes.

    Raises ArgumentTypeError for what is no path, MissingFileError where there is no such folder, SymcError where the
    file cannot be written otherwise.
    """
    require_name(path)
    try:
        if _is_stream(Path(path)):
            with open(path, "wb") as file:
                yield file
        else:
            with _in_place_of(Path(path)) as unfinished, open(unfinished, "wb") as file:
                yield file
    except OSError as error:
        raise not_opened(path, error) from error


def _is_stream(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


@contextlib.contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    final = path.resolve()
    if final.is_file() and final.stat().st_size == 0:  # who has it open (a NamedTemporaryFile) sees what it then holds
        with _emptied_after_failure(final):
            yield final
        return
    unfinished = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        yield unfinished
        if final.is_file():
            unfinished.chmod(stat.S_IMODE(final.stat().st_mode))
        os.replace(unfinished, final)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


@contextlib.contextmanager
def _emptied_after_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.truncate(path, 0)
        raise
