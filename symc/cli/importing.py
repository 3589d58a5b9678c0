"""`--import FILE.py`: the one way in which Python code comes into a command; a model never brings any."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from symc.core.errors import SymcError

from .report import UsageError


def add_import_argument(parser: argparse._ActionsContainer) -> None:
    """Files with operators written in Python."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="FILE.py",
        help="Python code to run first, which registers operators of your own; repeatable",
    )


def import_files(args: argparse.Namespace) -> None:
    """Imports the files once, each as a module that finds others beside it.

    Raises UsageError where there is no such file, SymcError where its code raises.
    """
    for name in args.imports:
        path = Path(name).resolve()
        if not path.is_file():
            raise UsageError(f"--import {name}: there is no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"--import {name}: not a Python file")
        known = sys.modules.get(path.stem)
        if known is not None and getattr(known, "__file__", None) == str(path):
            continue
        if known is not None:
            raise UsageError(f"--import {name}: there is a module {path.stem} already; rename the file")
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[path.stem]
            hint = "; write `import symc as mx`" if isinstance(error, ImportError) and error.name == "mxnet" else ""
            raise SymcError(f"--import {name}: {type(error).__name__}: {error}{hint}") from error
