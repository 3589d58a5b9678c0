"""A worker's side of compare.py's conversation: prepare one workload, then run calls on request.

    python -m workers.NAME_worker WORKLOAD VARIANT N_THREADS MODELS_DIR

compare.py writes a request a line to stdin and reads a reply a line from stdout, both JSON:

    (after preparing)                     {"version": "1.9.1", "error": 1.2e-07}
    {"n_untimed": 1, "n_calls": 5}        {"times_s": [0.0231, ...]}

Between requests a worker waits on the pipe. Runs on Python 3.8 and newer, with NumPy.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from workloads import WORKLOADS, Workload

DENSE_ARRAY, FLOAT32 = 0xF993FAC9, 0  # in MXNet's `.params` files


@dataclass(frozen=True)
class Task:
    """What a worker has to prepare. `prefix` + "-symbol.json", "-0000.params", ".onnx" are the model's files."""

    workload: Workload
    variant: str
    n_threads: int
    prefix: str
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """All parameters and states by name, for peers that cannot read MXNet's file."""
        return parameters_of(self.prefix + "-0000.params")

    def gradients(self) -> list[str]:
        """Names of the parameters whose gradients are checked (every parameter's gradient is computed)."""
        return [key.split(":", 1)[1] for key in self.expected if key.startswith("gradient:")]


@dataclass(frozen=True)
class Prepared:
    """`call` does the whole work and returns when it is done; `results` turns what it returned into named arrays."""

    version: str
    call: Callable[[], Any]
    results: Callable[[Any], dict[str, np.ndarray]]


def serve(prepare: Callable[[Task], Prepared]) -> None:
    """Runs the worker until compare.py closes its stdin."""
    replies = take_stdout()
    task = parse_task()
    prepared = prepare(task)
    error = relative_error(prepared.results(prepared.call()), task.expected)
    reply(replies, {"version": prepared.version, "error": error})
    for line in sys.stdin:
        request = json.loads(line)
        for _ in range(request["n_untimed"]):
            prepared.call()
        reply(replies, {"times_s": timed_calls(prepared.call, request["n_calls"])})


def timed_calls(call: Callable[[], Any], n_calls: int) -> list[float]:
    """Seconds of each call, with Python's garbage collector off."""
    clock = time.perf_counter
    times_s = []
    gc.disable()
    for _ in range(n_calls):
        start = clock()
        call()
        times_s.append(clock() - start)
    gc.enable()
    return times_s


def relative_error(results: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """max |result - expected| / max |expected|, the largest of all arrays; infinity for a NaN or a wrong shape."""
    errors = []
    for key, wanted in expected.items():
        seen = np.asarray(results[key])
        if seen.shape != wanted.shape or not np.isfinite(seen).all():
            return float("inf")
        errors.append(float(np.abs(seen - wanted).max() / np.abs(wanted).max()))
    return max(errors)


def take_stdout() -> TextIO:
    """The stream for replies; what libraries print to stdout goes to stderr from now on, so that nothing mixes."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def reply(stream: TextIO, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def parse_task() -> Task:
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("variant")
    parser.add_argument("n_threads", type=int)
    parser.add_argument("models", type=Path)
    arguments = parser.parse_args()
    prefix = str(arguments.models / arguments.workload)
    with np.load(prefix + "-reference.npz") as stored:
        arrays = dict(stored)
    inputs = {key.split(":", 1)[1]: value for key, value in arrays.items() if key.startswith("input:")}
    expected = {key: value for key, value in arrays.items() if key.startswith(("output:", "gradient:"))}
    workload = WORKLOADS[arguments.workload]
    return Task(workload, arguments.variant, arguments.n_threads, prefix, inputs, expected)


def parameters_of(path: str) -> dict[str, np.ndarray]:
    """The arrays of an MXNet `.params` file, as its version 1.9 writes dense ones of float32."""
    with open(path, "rb") as file:

        def read(layout: str) -> tuple[int, ...]:
            return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))

        arrays = []
        _magic, _reserved, n_arrays = read("QQQ")
        for _ in range(n_arrays):
            *kind, n_axes = read("IiI")
            *shape, _device, _device_id, dtype = read(f"{n_axes}q3i")
            if (*kind, dtype) != (DENSE_ARRAY, 0, FLOAT32):
                raise ValueError(f"{path}: an array of kind {kind}, dtype {dtype}; expected a dense one of float32")
            arrays.append(np.frombuffer(bytearray(file.read(4 * math.prod(shape))), "<f4").reshape(shape))
        (n_names,) = read("Q")
        names = [file.read(*read("Q")).decode() for _ in range(n_names)]
    return {name.split(":", 1)[1]: array for name, array in zip(names, arrays)}  # arg:NAME, aux:NAME
