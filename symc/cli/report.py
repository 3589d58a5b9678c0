"""What a verb hands back: the same facts as JSON and as text; and what it tells while it works."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symc.core.errors import SymcError


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
