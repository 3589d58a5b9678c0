"""Draws a model: its layers, or with --fused the kernel calls they become; with --profile with the time of each step.

The HTML file needs nothing else: drag and scroll to move, ctrl and scroll to zoom, "/" to search, click for details."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from symc.core.errors import ArgumentError
from symc.core.replacing import replacing

from .inspect import predicting_graph
from .opening import Opened, add_model_arguments, add_trust_arguments, open_model, positive, ready, require_shapes
from .report import Report, UsageError, progress
from .targets import add_force_argument, require_free

if TYPE_CHECKING:
    from symc.runtime.profile import Profile
    from symc.visualization import NetworkPlot

EXAMPLES = (
    "symc viz resnet-18 -o net.html",
    "symc viz resnet-18 --fused --profile -o fused.html",
    "symc viz m-symbol.json --shape data=1,3,224,224 -o net.svg",
)
PROFILE_RUNS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, where to and what is drawn."""
    add_model_arguments(parser)
    add_trust_arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write, .html, .svg, .pdf or .dot (default: <model>.html)"
    )
    parser.add_argument("--fused", action="store_true", help="draw the kernel calls, each with the layers it computes")
    parser.add_argument("--profile", action="store_true", help="run the model and add the time of every step")
    parser.add_argument(
        "--runs", type=positive, default=PROFILE_RUNS, metavar="N", help=f"runs to time (default {PROFILE_RUNS})"
    )
    parser.add_argument("--weights", action="store_true", help="draw parameters as well")
    add_force_argument(parser)


def execute(args: argparse.Namespace) -> Report:
    """Writes the file."""
    opened = open_model(args)
    path = Path(args.output or f"{opened.model.name}.html")
    kind = path.suffix[1:].lower()
    require_free([path], args)
    _require_format(kind, path)
    plot = _plot(opened, args)
    with progress("drawing"):
        contents = plot.pipe(kind)
    with replacing(path) as unfinished:
        unfinished.write_bytes(contents)
    picture = plot.picture
    data = {
        "file": str(path),
        "format": kind,
        "size_bytes": len(contents),
        "n_boxes": len(picture.boxes),
        "n_edges": len(picture.edges),
        "facts": picture.facts,
        "legend": [colour.meaning for colour in picture.colours()],
    }
    return Report(data, f"{path}: {len(picture.boxes)} boxes, {len(picture.edges)} edges; {picture.facts}")


def _require_format(kind: str, path: Path) -> None:
    from symc.visualization.plot import require_format

    try:
        require_format(kind)
    except ArgumentError as error:
        raise UsageError(f"-o {path}: {error}") from None


def _plot(opened: Opened, args: argparse.Namespace) -> NetworkPlot:
    from symc.context import current_context
    from symc.runtime.lowered import lower_program
    from symc.visualization.plot import plot_known, plot_program
    from symc.visualization.program import Owners

    model = opened.model
    owners = None
    if args.fused or args.profile:
        require_shapes(model)
        profile = _profile(opened, args.runs) if args.profile else None
        with progress("fusing"):
            lowered = lower_program(predicting_graph(model), {}, current_context().device.backend)
            owners = Owners(model.symbol, lowered, profile)
    if owners is not None and args.fused:
        return plot_program(owners, model.name)
    return plot_known(model.symbol, model.name, model.shapes, model.input_dtypes(), not args.weights, owners)


def _profile(opened: Opened, n_runs: int) -> Profile:
    opened = ready(opened)
    with progress("measuring"):
        executor = opened.executor()
        executor(**opened.model.sample_inputs())
        return executor.profile(n_runs=n_runs)
