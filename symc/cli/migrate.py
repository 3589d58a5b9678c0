"""Lists what scripts use of mxnet that symc does not have, with file and line; reads them and runs nothing of them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .mentions import ROOT, lines_by_name, mentions
from .opening import require_file
from .report import Report, UsageError

EXAMPLES = ("symc migrate train.py", "symc migrate project/ --json")
# What is there and works, yet differently from what somebody who used it with MXNet expects.
REMARKS = {
    "mxnet.gpu": "needs an NVIDIA GPU; without one use mx.cpu(), or as_mxnet --gpu-is-cpu",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scripts."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a script, or a folder: all .py files in it")


def execute(args: argparse.Namespace) -> Report:
    """Reads all scripts; exit code 1 when one uses what is not there, or cannot be read."""
    read = [_read(path) for name in args.files for path in _scripts(Path(name))]
    lines = [line for found in read for line in _lines(found)]
    n_missing = sum(len(found["missing"]) for found in read)
    n_broken = sum("error" in found for found in read)
    n_names = sum(found["n_names"] for found in read)
    files = "1 file uses" if len(read) == 1 else f"{len(read)} files use"
    lines.append(f"{files} {n_names} names of mxnet; {n_missing} are not supported")
    if not n_missing and not n_broken:
        lines.append(f"next: python -m symc.as_mxnet {shlex.quote(read[0]['file']) if len(read) == 1 else 'SCRIPT'}")
    return Report(read, "\n".join(lines), 1 if n_missing or n_broken else 0)


def missing(name: str) -> str | None:
    """Why symc does not have something of mxnet, by its dotted name; None when it does."""
    import symc
    from symc.as_mxnet import module_for
    from symc.core.undisturbed import imported

    parts = name.split(".")[1:]
    place: Any = symc
    for k, part in enumerate(parts):
        if not isinstance(place, (ModuleType, type)):
            return None  # an attribute of what a call gives: nobody can tell without running it
        try:
            place = getattr(place, part)
            continue
        except AttributeError as error:
            why = str(error)
        try:
            place = imported(module_for(".".join([ROOT, *parts[: k + 1]])))
        except ModuleNotFoundError:
            return _reason(parts, k, why)
    return None


def _reason(parts: list[str], k: int, why: str) -> str:
    from symc.ops.mxnet import left_out

    if parts[k] in ("np", "npx", "numpy", "numpy_extension"):
        return "the arrays of mx.np are not supported; use those of mx.nd"
    operator = "_contrib_" * (parts[k - 1 : k] == ["contrib"]) + parts[k]
    return left_out(operator) or why


def _scripts(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = sorted(path.rglob("*.py"))
        if not found:
            raise UsageError(f"{path}: no .py file in this folder")
        yield from found
        return
    require_file(path)
    yield path


def _read(path: Path) -> dict[str, Any]:
    """What is to be said of one script, as data."""
    found: dict[str, Any] = {"file": str(path), "n_names": 0, "missing": [], "remarks": []}
    try:
        used = list(lines_by_name(mentions(path.read_text(encoding="utf-8"), _listed)))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        message = f"cannot be read as Python 3: {getattr(error, 'msg', error)}"
        return {**found, "error": {"line": line, "message": message}}
    found["n_names"] = len(used)
    for name, lines in used:
        why = missing(name)
        if why is not None:
            found["missing"].append({"name": name, "lines": lines, "why": why})
        elif name in REMARKS:
            found["remarks"].append({"name": name, "lines": lines, "why": REMARKS[name]})
    return found


def _listed(module: str) -> list[str]:
    """What `from module import *` brings; nothing from a module that is not there, which is said by itself."""
    if missing(module) is not None:
        return []
    from symc.as_mxnet import module_for
    from symc.core.undisturbed import imported

    place = imported(module_for(module))
    return [n for n in getattr(place, "__all__", dir(place)) if not n.startswith("_")]


def _lines(found: dict[str, Any]) -> Iterator[str]:
    file = found["file"]
    if "error" in found:
        yield f"{file}:{found['error']['line']}: {found['error']['message']}"
    for what, kind in ((found["missing"], ""), (found["remarks"], "note: ")):
        for finding in what:
            first, *others = finding["lines"]
            also = f" (also in line{'s' * (len(others) > 1)} {', '.join(map(str, others))})" if others else ""
            yield f"{file}:{first}: {kind}{finding['name']}: {finding['why']}{also}"
