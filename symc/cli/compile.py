"""Compiles a model into one .symc file: graph, weights, object code, golden inputs and outputs."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import time
from pathlib import Path

from symc.core.errors import SymcError

from .opening import add_model_arguments, open_model, ready
from .report import Report, UsageError, progress
from .targets import add_force_argument, require_free

EXAMPLES = (
    "symc compile m-symbol.json --params m-0000.params --shape data=1,3,224,224 -o m.symc",
    "symc compile resnet-18 --batch 8 -o resnet-18.symc",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, where to and with which key."""
    add_model_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="file to write (default: <model>.symc)")
    add_force_argument(parser)
    parser.add_argument("--key", metavar="FILE", help="key file to sign with (default: your own key, made if need be)")


def execute(args: argparse.Namespace) -> Report:
    """Compiles, runs the golden inputs, writes the file, reads it back."""
    from symc import artifact
    from symc.runtime.table import size_text, time_text

    if args.output:
        require_free([args.output], args)
    if args.output and Path(args.output).suffix != ".symc" and not Path(args.output).is_dir():
        raise UsageError(f"-o {args.output}: expected a name that ends in .symc, by which other verbs know the file")
    start = time.perf_counter()
    model = ready(open_model(args)).model
    path = Path(args.output or f"{model.name}.symc")
    if path.is_dir() or not path.parent.is_dir():  # said before the long work
        reason = errno.EISDIR if path.is_dir() else errno.ENOENT
        raise SymcError(f"writing {path}: {os.strerror(reason)}")
    require_free([path], args)
    with progress(f"compiling {model.name}"):
        made = artifact.save(
            path, model.symbol, model.arg_params, model.aux_params, model.shapes, args.key, name=model.name
        )
    time_s = time.perf_counter() - start
    data = {
        "file": str(path),
        "size_bytes": path.stat().st_size,
        "parts": made.manifest["parts"],
        "inputs": made.manifest["inputs"],
        "outputs": made.manifest["outputs"],
        "n_kernels": sum(name.startswith("kernels/") for name in made.manifest["parts"]),
        "target": made.manifest["made_for"]["target"],
        "time_s": time_s,
    }
    text = (
        f"{path}: {size_text(data['size_bytes'])}, {data['n_kernels']} kernels for {data['target']}, "
        f"{time_text(time_s)}\nnext: symc verify {shlex.quote(str(path))}"
    )
    return Report(data, text)
