"""Replays the golden inputs of a .symc file on this machine and compares the outputs with the recorded ones."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from .importing import add_import_argument, import_files
from .opening import add_trust_arguments, require_file
from .report import Report, progress

EXAMPLES = ("symc verify m.symc", "symc verify m.symc --key team.key")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file and whose code may run."""
    parser.add_argument("file", metavar="FILE", help=".symc file")
    add_import_argument(parser)
    add_trust_arguments(parser)


def execute(args: argparse.Namespace) -> Report:
    """Exit code 1 when an output is wrong."""
    from symc import artifact

    for file in (args.file, args.key):
        if file is not None:
            require_file(Path(file))
    import_files(args)
    with progress(f"verifying {args.file}"):
        result = artifact.verify(args.file, args.trust, args.key)
    checks = [{**asdict(c), "is_right": c.is_right} for c in result.checks]
    data = {"file": args.file, "is_right": result.is_right, "kernels": result.artifact.note, "outputs": checks}
    return Report(data, str(result), 0 if result.is_right else 1)
