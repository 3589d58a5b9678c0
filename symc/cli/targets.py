"""The files a verb writes: named, not there yet or given up with --force, and written whole or not at all."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from .report import UsageError

N_LISTED = 3


def add_force_argument(parser: argparse.ArgumentParser) -> None:
    """--force, of every verb that writes files."""
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")


def require_free(paths: Iterable[str | Path], args: argparse.Namespace) -> None:
    """To be called before the long work. Raises UsageError for files that are there, unless --force gives them up."""
    paths = [Path(path) for path in paths]
    if any(str(path) == "-" for path in paths):
        raise UsageError("-: expected the name of a file; nothing but the report goes to standard output (or ./-)")
    there = [str(path) for path in paths if os.path.lexists(path) and not path.is_dir()]
    if there and not args.force:
        more = f" and {len(there) - N_LISTED} more" if len(there) > N_LISTED else ""
        verb = "exist" if len(there) > 1 else "exists"
        raise UsageError(f"{', '.join(there[:N_LISTED])}{more} {verb}: give --force to overwrite")
