"""Measures which plans of a model's products and convolutions are the fastest here, and keeps them for all models.

Plans (algorithm, register tile) are chosen by an estimate; where another one is measured to be at least 3 % faster, it
is taken from then on, wherever the same problem is compiled on this CPU. Files made by `symc compile` take theirs
along."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from .opening import add_model_arguments, open_model, positive, ready
from .report import Report, UsageError, counted

EXAMPLES = ("symc tune resnet-18", "symc tune net --epoch 3 --shape data=16,3,224,224 --rivals 12 --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, how much to try and whether to keep it."""
    add_model_arguments(parser)
    parser.add_argument(
        "--rivals", type=positive, default=6, metavar="N", help="plans of a problem to try at most (default 6)"
    )
    parser.add_argument("--dry", action="store_true", help="only measure: keep nothing")


def execute(args: argparse.Namespace) -> Report:
    """Tries the plans and keeps the fastest."""
    from symc.runtime.table import table
    from symc.tune import tune

    opened = ready(open_model(args))
    if opened.artifact is not None:
        raise UsageError(f"{args.model} has its plans and kernels inside: tune the model it was made from")

    def shown(trials: Sequence[Any]) -> Iterable[Any]:
        return counted(trials, "measuring plans, trials", len(trials))

    tuning = tune(opened.model, args.rivals, show=shown)
    kept = None if args.dry or not tuning.findings else str(tuning.keep())
    changed = [f for f in tuning.findings if f.best != f.estimated]
    data = {
        "model": opened.model.name,
        "gain": tuning.gain,
        "file": kept,
        "problems": [
            {"problem": f.problem, "share": f.share, "estimated": f.estimated, "best": f.best, "gain": f.gain}
            | {"relative_times": dict(f.times)}
            for f in tuning.findings
        ],
    }
    rows = [
        (f"{f.share:.1%}", f"{f.gain:.2f}", f.best, f.estimated, f.problem)
        for f in sorted(changed, key=lambda f: -f.share * (1 - 1 / f.gain))
    ]
    lines = [table(("share", "gain", "faster plan", "instead of", "problem"), rows, right="share gain")] if rows else []
    lines.append(
        f"{opened.model.name}: {len(tuning.findings)} problems measured, {len(changed)} have a faster plan than the "
        f"estimated one; all products and convolutions together: {tuning.gain:.3f} times as fast"
    )
    lines.append("nothing is kept" if kept is None else f"kept in {kept}; without that file the estimate decides again")
    return Report(data, "\n".join(lines))
