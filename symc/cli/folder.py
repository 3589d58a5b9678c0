"""Predicts for every .npy and .npz file of a folder through one executor; a broken file stops none of the others."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.errors import ArgumentError, SettingError, SymcError

from .arrays import read_numbers
from .opening import Opened, open_model, ready, threads_of
from .outputs import describe, output_paths, save_outputs, short_text
from .report import Report, UsageError, complain, progress
from .targets import require_free

if TYPE_CHECKING:
    from symc.executor import Executor

SUFFIXES = (".npy", ".npz")
BROKEN = 1  # exit code


@dataclass(frozen=True)
class Request:
    """The inputs of one file, by name; all have `n_rows` as their first extent."""

    path: Path
    inputs: Mapping[str, np.ndarray] = field(repr=False)
    n_rows: int


def is_folder(options: Sequence[str]) -> bool:
    """Whether one of the --input options names a directory. Raises UsageError when it is not the only one."""
    found = [o for o in options if Path(o.rpartition("=")[2]).is_dir() and o.rpartition("=")[2]]
    if found and len(options) > 1:
        raise UsageError(f"--input {found[0]} is a directory: it must be the only --input")
    return bool(found)


def execute(args: argparse.Namespace) -> Report:
    """Runs the model on every file; exit code 1 when a file or its run failed."""
    n_threads = threads_of(args)
    if args.save and Path(args.save).suffix == ".npz" and not Path(args.save).is_dir():
        raise UsageError(f"--save {args.save}: expected a directory, which gets one for each file of --input")
    name, _, directory = args.input[0].rpartition("=")
    paths = sorted(p for p in Path(directory).iterdir() if p.suffix in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise UsageError(f"--input {args.input[0]}: {directory} holds no .npy or .npz file")
    opened, name = _opened(args, paths, name)
    with progress("compiling"):
        executor = opened.executor()
        if n_threads is not None:
            executor.set_num_threads(n_threads)
    run = _Run(opened, executor, name, args, n_files=len(paths))
    if args.save:
        require_free((target for path in paths for target in output_paths(run.folder_of(path), run.output_names)), args)
    for path in paths:
        run.take(path)
    run.flush()
    records = [run.records[p] for p in paths]
    n_broken = sum("error" in r for r in records)
    return Report(records, _text(records, n_broken), BROKEN if n_broken else 0)


def _opened(args: argparse.Namespace, paths: Sequence[Path], name: str) -> tuple[Opened, str]:
    """The model, with shapes of the first readable file where nothing else tells any; and the input of .npy files."""
    opened = open_model(args)
    model = opened.model
    inputs = model.inputs()
    if name and name not in inputs:
        raise UsageError(f"{model.name} has no input {name!r}; it has {', '.join(inputs)}")
    if not name and len(inputs) > 1 and any(p.suffix == ".npy" for p in paths):
        raise UsageError(f"which of {', '.join(inputs)} are the .npy files? give --input NAME={args.input[0]}")
    name = name or inputs[0]
    if any(n not in model.shapes for n in inputs):
        first = next((found for path in paths if (found := _readable(path, name))), {})
        shapes = {n: a.shape for n, a in first.items() if n in inputs and n not in model.shapes}
        opened = open_model(args, shapes)
        if shapes and not _fits(opened):
            opened = open_model(args, {n: (1, *shape) for n, shape in shapes.items()})
    return ready(opened), name


def _fits(opened: Opened) -> bool:
    """Whether the parameters have the shapes that the inputs' shapes need."""
    try:
        opened.model.check_params()
    except SymcError:
        return opened.weights is None or opened.seed is not None  # there are none: said by `ready`, or drawn to fit
    return True


def _readable(path: Path, name: str) -> dict[str, np.ndarray] | None:
    try:
        return read_numbers(path, name)
    except SymcError:
        return None  # said when its turn comes


class _Run:
    """Collects files until a batch is full, runs it, and keeps one record for each file."""

    def __init__(self, opened: Opened, executor: Executor, name: str, args: argparse.Namespace, n_files: int) -> None:
        self.model, self.executor, self.name, self.args = opened.model, executor, name, args
        self.n_files = n_files
        self.output_names = self.model.symbol.list_outputs()
        self.waiting: list[Request] = []
        self.records: dict[Path, dict[str, Any]] = {}

    def take(self, path: Path) -> None:
        """Reads a file and runs what is waiting when the file does not fit any more, or alone without --batch."""
        try:
            request = self._request(path)
        except SymcError as error:
            self._broken(path, error)
            return
        if sum(r.n_rows for r in self.waiting) + request.n_rows > (self.args.batch or 0):
            self.flush()
        self.waiting.append(request)

    def flush(self) -> None:
        """Runs the files that wait, as one batch."""
        requests, self.waiting = self.waiting, []
        if not requests:
            return
        done = f"{len(self.records) + len(requests)} of {self.n_files}"
        try:
            with progress(f"{done}: {requests[-1].path.name}"):
                names = requests[0].inputs
                stacked = {n: np.concatenate([r.inputs[n] for r in requests]) for n in names}
                outputs = [o.asnumpy() for o in self.executor(**stacked)]
                parts = _split(self.output_names, outputs, [r.n_rows for r in requests])
        except SettingError:
            raise  # no fault of these files
        except SymcError as error:
            for request in requests:
                self._broken(request.path, error)
            return
        for request, part in zip(requests, parts):
            self._finish(request.path, part)

    def folder_of(self, path: Path) -> Path:
        """Where a file's outputs go; both x.npy and x.npz may be there: then it has the whole name."""
        is_single = not path.with_suffix({".npy": ".npz", ".npz": ".npy"}[path.suffix]).exists()
        return Path(self.args.save) / (path.stem if is_single else path.name)

    def _finish(self, path: Path, outputs: Sequence[np.ndarray]) -> None:
        described = [describe(n, o, self.args.top) for n, o in zip(self.output_names, outputs)]
        try:
            saved = save_outputs(self.folder_of(path), self.output_names, outputs) if self.args.save else []
        except SymcError as error:
            self._broken(path, error)
            return
        self.records[path] = {"file": str(path), "outputs": described, "saved": [str(p) for p in saved]}

    def _broken(self, path: Path, error: SymcError) -> None:
        message = str(error)
        complain(message if str(path) in message else f"{path}: {message}")
        self.records[path] = {"file": str(path), "error": {"type": type(error).__name__, "message": message}}

    def _request(self, path: Path) -> Request:
        """The inputs of a file, with an axis for the batch; raises SymcError when the model takes something else."""
        found = read_numbers(path, self.name)
        wanted = self.model.inputs()
        if set(found) != set(wanted):
            raise ArgumentError(f"{path} has {', '.join(found) or 'nothing'}; the model takes {', '.join(wanted)}")
        inputs = {}
        for name in wanted:
            array, shape = found[name], self.model.shapes[name]
            if array.shape == shape[1:]:
                array = array[None]
            if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
                one, many = shape[1:], ("N", *shape[1:])
                raise ArgumentError(
                    f"{path}: input {name} has shape {array.shape}, expected {one} or ({', '.join(map(str, many))})"
                )
            inputs[name] = array
        rows = {len(a) for a in inputs.values()}
        if len(rows) > 1:
            raise ArgumentError(
                f"{path}: its inputs have {' and '.join(map(str, sorted(rows)))} rows, expected as many"
            )
        return Request(path, inputs, rows.pop())


def _split(names: Sequence[str], outputs: Sequence[np.ndarray], n_rows: Sequence[int]) -> Iterator[list[np.ndarray]]:
    """The outputs of each file of a batch. Raises ArgumentError for an output without a row for every row put in."""
    if len(n_rows) == 1:
        return iter([list(outputs)])
    for name, output in zip(names, outputs):
        if not output.ndim or len(output) != sum(n_rows):
            raise ArgumentError(
                f"output {name} has shape {output.shape} for {sum(n_rows)} rows: it cannot be told which part belongs "
                "to which file; leave out --batch"
            )
    ends = np.cumsum(n_rows)
    return ([o[end - n : end] for o in outputs] for n, end in zip(n_rows, ends))


def _text(records: Sequence[Mapping[str, Any]], n_broken: int) -> str:
    from symc.runtime.table import shape_text, table

    rows: list[tuple[str, ...]] = []
    for record in records:
        name = Path(record["file"]).name
        if "error" in record:
            rows.append((name, "", "", "broken"))
        rows += [
            (name if k == 0 else "", o["name"], shape_text(o["shape"]), short_text(o))
            for k, o in enumerate(record.get("outputs", ()))
        ]
    count = f"{len(records)} files" + (f", {n_broken} broken" if n_broken else "")
    return f"{table(('file', 'output', 'shape', 'result'), rows)}\n\n{count}"
