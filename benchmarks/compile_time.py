"""Compile time with an empty and with a filled kernel cache, each in a fresh process.   See benchmarks/README.md

    python benchmarks/compile_time.py [--models resnet-18,train-resnet-18] [--threads 2] [--repeats 3] [--json FILE]

A model is one of symc's zoo or a function of peers/networks.py with its workload's shapes (bert-layer); with `train-`
before it, forward in training mode and backward, every parameter's gradient.

The sum runs from the start of the process to the first result, but for making seeded weights and data.  `network` makes
the Symbol, and imports the operators with it.

Every repeat starts with an empty SYMC_CACHE_DIR and compiles the models one after another, all in one process (each may
use what those before it left there); then, in a process of its own, each of them again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symc.models import Model

ROOT = Path(__file__).resolve().parent.parent
PHASES = ("import", "network", "weights", "compile", "second call")


def child(names: list[str], cache: Path, started: float) -> None:
    """One process of the measurement; prints a line of JSON for each model; `started`: time.monotonic() before."""
    for name in names:
        n_before, marks = n_kernels(cache), [started]
        import symc  # noqa: F401  here, because its time is a result

        marks.append(time.monotonic())
        import numpy as np

        model = network(name.removeprefix("train-"))
        marks.append(time.monotonic())
        model = model.with_seed(0)
        data = np.random.default_rng(0).standard_normal(model.shapes["data"], dtype=np.float32)
        marks.append(time.monotonic())
        call = trained(model) if name.startswith("train-") else model.executor()
        call(data=data)
        marks.append(time.monotonic())
        call(data=data)
        marks.append(time.monotonic())
        seen = dict(zip(PHASES, (end - start for start, end in pairwise(marks)), strict=True))
        print(json.dumps(seen | {"kernels": n_kernels(cache) - n_before}))
        started = time.monotonic()


def network(name: str) -> Model:
    """A model without weights."""
    import symc.as_mxnet

    if name in symc.models.names():
        return symc.models.get(name)
    symc.as_mxnet.install()  # the file below says `import mxnet`
    sys.path.append(str(ROOT / "benchmarks" / "peers"))
    import networks

    from workloads import WORKLOADS

    workload = WORKLOADS[name]
    return symc.models.Model(name, getattr(networks, workload.network)(), workload.inputs)


def trained(model: Model) -> Callable[..., Any]:
    """A call that computes all gradients."""
    import symc

    executor = model.symbol.simple_bind(symc.cpu(), **model.shapes)
    executor.copy_params_from(model.arg_params, model.aux_params)

    def step(**inputs: Any) -> None:
        executor.forward(is_train=True, **inputs)
        executor.backward()
        symc.nd.waitall()

    return step


def measure(names: list[str], cache: Path, n_threads: int) -> list[dict[str, float]]:
    """For each model the seconds of each phase, in one fresh process, and how many kernels it added to the cache."""
    environment = os.environ | {
        "SYMC_CACHE_DIR": str(cache),
        "SYMC_NUM_THREADS": str(n_threads),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles symc's own sources
    command = [sys.executable, __file__, "--child", ",".join(names), str(cache), repr(time.monotonic())]
    finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in finished.stdout.splitlines()]


def n_kernels(directory: Path) -> int:
    return sum(1 for _ in directory.rglob("*.kernel"))


def repeat(models: list[str], n_threads: int) -> dict[str, dict[str, float]]:
    """{line of the table: measurement} from an empty cache on."""
    rows = {}
    with tempfile.TemporaryDirectory(prefix="symc-compile-time-") as directory:
        cache = Path(directory)
        for i, seen in enumerate(measure(models, cache, n_threads)):
            state = f"after {models[i - 1]}" if i else "empty cache"
            rows[f"{models[i]}, {state}"] = seen
        for name in models:
            (rows[f"{name}, warm cache"],) = measure([name], cache, n_threads)
    return rows


def medians(repeats: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    first = repeats[0]
    return {row: {key: statistics.median(rows[row][key] for rows in repeats) for key in first[row]} for row in first}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2].split(","), Path(sys.argv[3]), float(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description="compile times of symc; see benchmarks/README.md")
    parser.add_argument("--models", default="resnet-18,resnet-50", help="names of symc's zoo (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()

    # One untimed repeat, so that neither byte-compiling nor a cold disk is measured.
    models = arguments.models.split(",")
    rows = medians([repeat(models, arguments.threads) for _ in range(1 + arguments.repeats)][1:])
    print(f"seconds, medians of {arguments.repeats}, {arguments.threads} threads; compile = bind and first call")
    print(f"{'':28}{'import':>8}{'network':>9}{'compile':>9}{'sum':>8}{'kernels':>9}{'second call':>13}")
    for row, seen in rows.items():
        total = seen["import"] + seen["network"] + seen["compile"]
        times = f"{seen['import']:8.3f}{seen['network']:9.3f}{seen['compile']:9.3f}{total:8.3f}"
        print(f"{row:28}{times}{seen['kernels']:9.0f}{seen['second call']:13.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
