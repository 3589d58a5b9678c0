"""Matrix products and direct convolutions whose data fit L2 in % of the machine's FMA peak, pooling in % of a copy.

See benchmarks/README.md

    python benchmarks/micro.py [--families 'x^T y,convolution 3x3'] [--threads 1,2] [--rounds 15] [--json FILE]

A rate is that of the steps that multiply, or pool; `run` counts all steps, those that rearrange operands in front
included. The peak is measured in every round, right beside the case: independent FMAs on registers, or for pooling a
copy of as many bytes as are read and written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

os.environ["SYMC_WINOGRAD"] = "0"  # Winograd's algorithm multiplies less than it is credited for

import numpy as np

import symc as mx
from symc.runtime.profile import StepTime

from compare import cpu_name
from peak import copying_rate, fma_rate

TURN_S = 0.02

rng = np.random.default_rng(0)
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """`symbol` of `arrays`, so many products with their sums, or bytes read and written; `expected` in float64."""

    family: str
    name: str
    symbol: mx.sym.Symbol
    arrays: Arrays
    n_units: int
    expected: np.ndarray
    unit: Literal["products", "bytes"] = "products"

    def limit(self, n_threads: int) -> float:
        """How many units a second the machine can do."""
        return fma_rate(n_threads) if self.unit == "products" else copying_rate(n_threads, self.n_units)

    def is_work(self, step: StepTime) -> bool:
        """Whether a step multiplies, or pools: does more than to rearrange operands."""
        return step.operators != ("_copy",) if self.unit == "bytes" else not step.kernel.startswith("symc_nest")


@dataclass
class Turn:
    """One case with some threads in one round: seconds of the work itself and of the whole run; the limit."""

    work_s: float
    run_s: float
    units_per_s: float


@dataclass
class Result:
    """All turns of a case, by number of threads."""

    case: Case
    turns: dict[int, list[Turn]]

    def share(self, n_threads: int) -> float:
        """What the work itself reaches of the limit, the median over the rounds."""
        turns = self.turns[n_threads]
        return statistics.median(self.case.n_units / turn.work_s / turn.units_per_s for turn in turns)

    def share_of_run(self, n_threads: int) -> float:
        """The same with the steps that rearrange operands."""
        turns = self.turns[n_threads]
        return statistics.median(self.case.n_units / turn.run_s / turn.units_per_s for turn in turns)

    def factor(self, n_threads: int) -> float:
        """How many times as fast as one thread, in the same round."""
        return statistics.median(one.work_s / turn.work_s for one, turn in zip(self.turns[1], self.turns[n_threads]))


# -- cases ---------------------------------------------------------------------------------------------------------

# rows, columns, depth: 0.3 to 1 MB of operands and result
PRODUCTS = ((256, 256, 256), (128, 512, 256), (512, 128, 128), (192, 320, 192), (96, 384, 384))
BATCHED = ((12, 64, 64, 128), (8, 128, 64, 64), (4, 128, 128, 128), (16, 96, 48, 64))  # the first: how many
TRANSPOSITIONS = {"x y": (False, False), "x y^T": (False, True), "x^T y": (True, False), "x^T y^T": (True, True)}
# channels, extent and channels of the result, window, stride
CONVOLUTIONS = {
    "convolution 1x1": ((64, 28, 64, 1, 1), (128, 14, 256, 1, 1), (256, 14, 256, 1, 1), (512, 7, 256, 1, 1)),
    "convolution 3x3": ((64, 28, 64, 3, 1), (64, 14, 128, 3, 1), (128, 14, 128, 3, 1), (128, 7, 128, 3, 1)),
    "convolution strided": ((64, 14, 64, 3, 2), (128, 7, 128, 3, 2), (128, 14, 256, 1, 2), (3, 56, 32, 7, 2)),
    "depthwise": ((128, 28, 128, 3, 1), (256, 14, 256, 3, 1), (512, 7, 512, 3, 1), (64, 28, 64, 3, 2)),
}
# channels, extent, kind, stride; padded by 1 as in Inception and ResNets. The last, of 4 MB, lies in L3
POOLINGS = ((64, 28, "avg", 1), (192, 28, "avg", 1), (192, 28, "max", 1), (64, 56, "max", 2), (64, 112, "max", 2))


def numbers(*shape: int) -> np.ndarray:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def cases() -> Iterator[Case]:
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    for family, (turns_x, turns_y) in TRANSPOSITIONS.items():
        symbol = mx.sym.dot(x, y, transpose_a=turns_x, transpose_b=turns_y)
        for size in PRODUCTS:
            yield product(family, symbol, turns_x, turns_y, *size)
    for size in PRODUCTS:
        weight = mx.sym.FullyConnected(x, y, num_hidden=size[1], no_bias=True)
        yield product("FullyConnected", weight, False, True, *size)
    for n, *size in BATCHED:
        yield product("batched", mx.sym.batch_dot(x, y), False, False, *size, stack=n)
        yield product("batched", mx.sym.batch_dot(x, y, transpose_b=True), False, True, *size, stack=n)
        turned = mx.sym.linalg_gemm2(x, y, transpose_a=True)
        yield product("batched", turned, True, False, *size, stack=n)
    for family, sizes in CONVOLUTIONS.items():
        for size in sizes:
            yield convolution(family, *size)
    for pooling in POOLINGS:
        yield pooled(*pooling)


def product(
    family: str,
    symbol: mx.sym.Symbol,
    turns_x: bool,
    turns_y: bool,
    rows: int,
    columns: int,
    depth: int,
    stack: int = 1,
) -> Case:
    many = (stack,) if stack > 1 else ()
    x = numbers(*many, *((depth, rows) if turns_x else (rows, depth)))
    y = numbers(*many, *((columns, depth) if turns_y else (depth, columns)))
    left, right = (a.swapaxes(-1, -2) if turns else a for a, turns in ((x, turns_x), (y, turns_y)))
    name = f"{rows}x{depth}x{columns}"
    if stack > 1:
        name = f"{stack} of {name}, {'x^T' if turns_x else 'x'} {'y^T' if turns_y else 'y'}"
    expected = left.astype(np.float64) @ right.astype(np.float64)
    return Case(family, name, symbol, {"x": x, "y": y}, stack * rows * columns * depth, expected)


def convolution(family: str, channels: int, extent: int, filters: int, window: int, stride: int) -> Case:
    """Without padding, so that every product that counts is computed."""
    groups = channels if family == "depthwise" else 1
    source = (extent - 1) * stride + window
    data, weight = numbers(1, channels, source, source), numbers(filters, channels // groups, window, window)
    symbol = mx.sym.Convolution(
        mx.sym.Variable("x"),
        mx.sym.Variable("y"),
        num_filter=filters,
        kernel=(window, window),
        stride=(stride, stride),
        num_group=groups,
        no_bias=True,
    )
    views = np.lib.stride_tricks.sliding_window_view(data[0].astype(np.float64), (window, window), (1, 2))
    sums = "chwij,cgij->chw" if groups > 1 else "chwij,fcij->fhw"
    expected = np.einsum(sums, views[:, ::stride, ::stride], weight, optimize=True)
    name = f"{channels}x{extent}x{extent} -> {filters}, {window}x{window}{f' / {stride}' if stride > 1 else ''}"
    n_products = filters * extent**2 * window**2 * channels // groups
    return Case(family, name, symbol, {"x": data, "y": weight}, n_products, expected[None])


def pooled(channels: int, extent: int, kind: str, stride: int) -> Case:
    """Windows of 3x3, of data that are converted to channels-last order and back by steps of their own."""
    data = numbers(1, channels, extent, extent)
    symbol = mx.sym.Pooling(mx.sym.Variable("x"), kernel=(3, 3), stride=(stride, stride), pad=(1, 1), pool_type=kind)
    border = 0 if kind == "avg" else -np.inf
    padded = np.pad(data[0].astype(np.float64), ((0, 0), (1, 1), (1, 1)), constant_values=border)
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::stride, ::stride]
    expected = views.mean((-1, -2)) if kind == "avg" else views.max((-1, -2))
    name = f"{kind} {channels}x{extent}x{extent}{f' / {stride}' if stride > 1 else ''}"
    n_bytes = 4 * (data.size + expected.size)
    return Case("pooling 3x3", name, symbol, {"x": data}, n_bytes, expected[None], "bytes")


# -- measuring -----------------------------------------------------------------------------------------------------


def measure(case: Case, threads: list[int], n_rounds: int) -> Result:
    """Checks the case, then takes turns: for each number of threads the limit, and the case."""
    executors = {}
    for n_threads in threads:
        executors[n_threads] = executor = case.symbol.bind(
            mx.cpu(), {name: mx.nd.array(array) for name, array in case.arrays.items()}, grad_req="null"
        )
        executor.set_num_threads(n_threads)
        (out,) = executor.forward()
        bound = 1e-5 * np.abs(case.expected).max()
        np.testing.assert_allclose(out.asnumpy(), case.expected, rtol=0, atol=bound)
    n_runs = int(min(1000, max(20, TURN_S / executor.profile(n_runs=3).total_s)))
    turns: dict[int, list[Turn]] = {n_threads: [] for n_threads in threads}
    for _ in range(n_rounds):
        for n_threads, executor in executors.items():
            limit = case.limit(n_threads)
            profile = executor.profile(n_runs=n_runs)
            work_s = sum(step.time_s for step in profile.rows if case.is_work(step))
            turns[n_threads].append(Turn(work_s, profile.run_s, limit))
    return Result(case, turns)


# -- reports -------------------------------------------------------------------------------------------------------


def row(name: str, results: Sequence[Result], threads: Sequence[int]) -> str:
    """A line of a table: medians over these results."""

    def middle(of: Callable[[Result], float]) -> float:
        return statistics.median(map(of, results))

    cells = [name]
    for n in threads:
        cells += [f"{middle(lambda r, n=n: r.share(n)):.1%}", f"{middle(lambda r, n=n: r.share_of_run(n)):.1%}"]
        if n > 1 and 1 in threads:
            cells.append(f"{middle(lambda r, n=n: r.factor(n)):.2f}")
    return f"| {' | '.join(cells)} |"


def header(name: str, threads: Sequence[int]) -> str:
    cells = [name]
    for n in threads:
        cells += [f"work, {n} thread{'s' if n > 1 else ''}", "run"] + (["factor"] if n > 1 and 1 in threads else [])
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def to_json(results: Sequence[Result]) -> str:
    rows = [
        {"family": r.case.family, "case": r.case.name, "unit": r.case.unit, "n_units": r.case.n_units}
        | {"turns": {n: [asdict(turn) for turn in turns] for n, turns in r.turns.items()}}
        for r in results
    ]
    return json.dumps({"machine": {"cpu": cpu_name(), "n_cores": os.cpu_count()}, "results": rows}, indent=1)


def main() -> None:
    found = list(cases())
    families = list(dict.fromkeys(case.family for case in found))
    parser = argparse.ArgumentParser(description="Products and pooling in % of their limits; see benchmarks/README.md")
    parser.add_argument("--families", type=lambda text: text.split(","), default=families, help=",".join(families))
    parser.add_argument("--threads", type=lambda text: [*map(int, text.split(","))], default=[1, 2], help="such as 1,2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single turn to FILE")
    arguments = parser.parse_args()
    unknown = [family for family in arguments.families if family not in families]
    if unknown:
        parser.error(f"unknown {', '.join(unknown)}; known: {', '.join(families)}")
    threads = arguments.threads
    print(f"{cpu_name()}; the peak is {2e-9 * fma_rate(1):.1f} GFLOP/s a core\n\n{header('case', threads)}")
    results = []
    for case in found:
        if case.family in arguments.families:
            results.append(measure(case, threads, arguments.rounds))
            print(row(f"{case.family}: {case.name}", results[-1:], threads), flush=True)
    print(f"\n{header('median of a family', threads)}")
    for family in arguments.families:
        print(row(family, [result for result in results if result.case.family == family], threads))
    if arguments.json:
        arguments.json.write_text(to_json(results), encoding="utf-8")


if __name__ == "__main__":
    main()
