"""Predicts: inputs from .npy or .npz files, or random ones; prints the best classes, or shapes; saves outputs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.errors import ArgumentError, FormatError

from .opening import add_model_arguments, add_trust_arguments, count, open_model, positive, ready, threads_of
from .report import Report, UsageError, progress, writing

if TYPE_CHECKING:
    from symc.models import Model

EXAMPLES = (
    "symc run resnet-18",
    "symc run m.symc --input data=x.npy --save out/",
    "symc run m-symbol.json --params m-0000.params --input data=x.npy --top 3",
)
INPUT_SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, inputs and outputs."""
    add_model_arguments(parser)
    add_trust_arguments(parser)
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=X.npy", help="an input, or X.npz with several; repeatable"
    )
    parser.add_argument(
        "--input-seed", type=count, default=INPUT_SEED, metavar="N", help="seed of the inputs not given"
    )
    parser.add_argument("--save", metavar="DIR", help="write every output to DIR/<name>.npy")
    parser.add_argument("--top", type=count, default=5, metavar="K", help="how many classes to print (default 5)")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads to run with")


def execute(args: argparse.Namespace) -> Report:
    """Runs the model once."""
    n_threads = threads_of(args)
    given = read_inputs(args.input)
    opened = ready(open_model(args, {n: a.shape for n, a in given.items()}))
    inputs = complete(opened.model, given, args.input_seed)
    with progress("compiling"):
        executor = opened.executor()
        if n_threads is not None:
            executor.set_num_threads(n_threads)
        outputs = [o.asnumpy() for o in executor(**inputs)]
    names = opened.model.symbol.list_outputs()
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
    lines = [f"weights: {opened.weights}"] if opened.seed is not None else []
    lines += [f"input {n}: random, seed {args.input_seed}" for n in random_inputs]
    lines += [line for d in described for line in _lines(d)]
    return Report(data, "\n".join(lines + [f"saved {p}" for p in saved]))


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
        try:
            # A memory map believes no size that the file does not have; object arrays (pickles) are refused.
            loaded = np.load(path, mmap_mode="r", allow_pickle=False)
            if equals and not isinstance(loaded, np.ndarray):
                raise FormatError(f"{path}: an archive, expected one array; --input FILE.npz takes all of an .npz")
            arrays = {name: loaded} if equals else {key: loaded[key] for key in loaded.files}
        except (ValueError, EOFError, OSError, KeyError, AttributeError, NotImplementedError) as error:
            raise FormatError(f"{path}: not a NumPy file of numbers: {error}") from None
        for key, array in arrays.items():
            if array.dtype.kind not in "fiub":
                raise ArgumentError(f"input {key} has dtype {array.dtype}, expected numbers")
            if not array.shape or not array.size:
                raise ArgumentError(f"input {key} has shape {array.shape}, expected at least one axis and one element")
        found |= arrays
    return found


def complete(model: Model, given: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """The inputs, random where not given; raises ArgumentError for an array that is not what the model takes."""
    for name, array in given.items():
        if array.shape != model.shapes[name]:
            raise ArgumentError(f"input {name} has shape {array.shape}, expected {model.shapes[name]}")
    drawn = {n: a for n, a in model.sample_inputs(seed).items() if n not in given}
    return {n: given[n] if n in given else drawn[n] for n in model.inputs()}


def describe(name: str, output: np.ndarray, n_top: int) -> dict[str, Any]:
    """Shape, range and, for one row of scores a sample, the best classes of the first sample."""
    numbers = output.astype(np.float64)
    found: dict[str, Any] = {"name": name, "shape": list(output.shape), "dtype": output.dtype.name}
    if output.size:
        found |= {"min": float(numbers.min()), "max": float(numbers.max()), "mean": float(numbers.mean())}
    if output.ndim == 2 and output.shape[0] and output.shape[1] > 1 and output.dtype.kind == "f" and n_top > 0:
        best = np.argsort(-numbers[0], kind="stable")[:n_top]
        found["top"] = [{"class": int(k), "score": float(numbers[0, k])} for k in best]
    return found


def save_outputs(folder: Path, names: list[str], outputs: list[np.ndarray]) -> list[Path]:
    """Writes each output to <folder>/<name>.npy."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, (name, output) in enumerate(zip(names, outputs)):
        unique = name if names.count(name) == 1 else f"{name}_{k}"
        paths.append(folder / (re.sub(r"[^\w.-]", "_", unique).lstrip(".") + ".npy"))
        with writing(paths[-1]):
            np.save(paths[-1], output, allow_pickle=False)
    return paths


def _lines(described: Mapping[str, Any]) -> list[str]:
    from symc.runtime.table import shape_text

    head = f"{described['name']}: {shape_text(described['shape'])} {described['dtype']}"
    if "top" in described:
        return [head, *(f"  class {t['class']:>5}  {t['score']:.6f}" for t in described["top"])]
    if "min" not in described:
        return [head]
    return [f"{head}, {described['min']:.6g} to {described['max']:.6g}, mean {described['mean']:.6g}"]
