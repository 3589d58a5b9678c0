"""Predicts: inputs from files, of a directory, or random ones; prints the best classes, or shapes; saves outputs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.errors import ArgumentError, FormatError

from . import folder
from .arrays import read_numbers
from .opening import add_model_arguments, add_trust_arguments, count, open_model, positive, ready, threads_of
from .outputs import describe, lines, output_paths, save_outputs
from .report import Report, UsageError, progress
from .targets import add_force_argument, require_free

if TYPE_CHECKING:
    from symc.models import Model

EXAMPLES = (
    "symc run resnet-18",
    "symc run m.symc --input data=x.npy --save out/",
    "symc run m-symbol.json --params m-0000.params --input data=x.npy --top 3",
    "symc run m.symc --input data=images/ --batch 8 --save out/ --json",
)
INPUT_SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, inputs and outputs."""
    add_model_arguments(parser)
    add_trust_arguments(parser)
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=X.npy",
        help="an input, or X.npz with several, repeatable; or a directory: every .npy and .npz file in it is run",
    )
    parser.add_argument(
        "--input-seed", type=count, default=INPUT_SEED, metavar="N", help="seed of the inputs not given"
    )
    parser.add_argument(
        "--save",
        metavar="DIR",
        help="write every output to DIR/<name>.npy, of a directory's file x to DIR/x/; or X.npz: all into one file",
    )
    add_force_argument(parser)
    parser.add_argument(
        "--top", type=count, default=5, metavar="K", help="how many classes of a sample to print (default 5)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads to run with")


def execute(args: argparse.Namespace) -> Report:
    """Runs the model once, or for every file of a directory."""
    if args.save and Path(args.save).suffix == ".npy" and not Path(args.save).is_dir():
        raise UsageError(f"--save {args.save}: expected a directory, or X.npz for all outputs in one file")
    if folder.is_folder(args.input):
        return folder.execute(args)
    n_threads = threads_of(args)
    given = read_inputs(args.input)
    opened = ready(open_model(args, {n: a.shape for n, a in given.items()}))
    names = opened.model.symbol.list_outputs()
    require_free(output_paths(Path(args.save), names) if args.save else [], args)
    inputs = complete(opened.model, given, args.input_seed)
    with progress("compiling"):
        executor = opened.executor()
        if n_threads is not None:
            executor.set_num_threads(n_threads)
        outputs = [o.asnumpy() for o in executor(**inputs)]
    saved = save_outputs(Path(args.save), names, outputs) if args.save else []
    random_inputs = [n for n in inputs if n not in given]
    described = [describe(n, o, args.top) for n, o in zip(names, outputs)]
    data = {
        "model": opened.model.name,
        "weights": opened.weights,
        "random_inputs": random_inputs,
        "outputs": described,
        "saved": [str(p) for p in saved],
    }
    told = [f"weights: {opened.weights}"] if opened.seed is not None else []
    told += [f"input {n}: random, seed {args.input_seed}" for n in random_inputs]
    told += [line for d in described for line in lines(d)]
    return Report(data, "\n".join(told + [f"saved {p}" for p in saved]))


def read_inputs(options: list[str]) -> dict[str, np.ndarray]:
    """Arrays by input name.

    Raises UsageError for a malformed option, FormatError for a file that is no array, ArgumentError for an array of
    something else than numbers.
    """
    found: dict[str, np.ndarray] = {}
    for option in options:
        name, equals, file = option.rpartition("=")
        path = Path(file)
        if not file or (not equals and path.suffix != ".npz"):
            raise UsageError(
                f"--input {option}: expected NAME=FILE.npy, or FILE.npz whose arrays have the inputs' names"
            )
        if not path.exists():
            raise UsageError(f"--input {option}: {path} does not exist")
        if equals and path.suffix == ".npz":
            raise FormatError(f"{path}: an archive, expected one array; --input FILE.npz takes all of an .npz")
        arrays = read_numbers(path, name)
        if twice := found.keys() & arrays:
            raise UsageError(f"--input {option}: {', '.join(sorted(twice))} is given already")
        found |= arrays
    return found


def complete(model: Model, given: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """The inputs, random where not given; raises ArgumentError for an array that is not what the model takes."""
    for name, array in given.items():
        if array.shape != model.shapes[name]:
            raise ArgumentError(f"input {name} has shape {array.shape}, expected {model.shapes[name]}")
    drawn = {n: a for n, a in model.sample_inputs(seed).items() if n not in given}
    return {n: given[n] if n in given else drawn[n] for n in model.inputs()}
