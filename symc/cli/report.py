"""What a verb hands back: the same facts as JSON and as text; and what it tells while it works."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from symc.core.errors import SymcError

T = TypeVar("T")
SHOWN_EVERY_S = 0.1


@dataclass(frozen=True)
class Report:
    """The result of a verb: `data` is printed with --json (a list: one line for each item), `text` without."""

    data: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    text: str
    exit_code: int = 0


class UsageError(SymcError):
    """The arguments of a command are at fault (exit code 2); everything else is the model's or the data's (1)."""


def complain(message: str) -> None:
    """Tells at once of a fault that does not end the command."""
    if sys.stderr is not None:  # None: the caller closed it
        print(f"symc: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Names the file in the error of a write that fails (a full disk's error names none)."""
    try:
        yield
    except OSError as error:
        raise SymcError(f"writing {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Shows on a terminal what is being done, and nothing anywhere else."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    print(f"\r\x1b[K{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def counted(items: Iterable[T], what: str, n_items: int) -> Iterator[T]:
    """The items, while a terminal shows how many of them are done."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield from items
        return
    shown = 0.0
    try:
        for n_done, item in enumerate(items):
            if time.monotonic() - shown >= SHOWN_EVERY_S:
                print(f"\r\x1b[K{what}: {n_done} of {n_items} ...", end="", file=sys.stderr, flush=True)
                shown = time.monotonic()
            yield item
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
