"""Time and memory of every step for graphs of n, 2n and 4n nodes, each in a fresh process.   See benchmarks/README.md

    python benchmarks/scale.py [--nodes 50000] [--graphs chain,diamonds] [--json FILE]

The last column is the growth from n to 4n nodes as a power of the number of nodes: 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (2, 3)
NOISE_S = 0.05  # shorter steps say nothing about growth


def chain(mx: Any, n: int) -> Any:
    """x + 1, relu, x + 1, ..."""
    x = mx.sym.Variable("x")
    for _ in range(n // 2):
        x = mx.sym.relu(x + 1)
    return x


def diamonds(mx: Any, n: int) -> Any:
    """y = a + b of a = sin(y), b = cos(y), repeated: 2 ** (n / 3) paths."""
    y = mx.sym.Variable("x")
    for _ in range(n // 3):
        y = mx.sym.sin(y) + mx.sym.cos(y)
    return y


def doubles(mx: Any, n: int) -> Any:
    """y = y + y, repeated: 2 ** n paths."""
    y = mx.sym.Variable("x")
    for _ in range(n):
        y = y + y
    return y


def layers(mx: Any, n: int) -> Any:
    """Fully connected layers with relu, each with a weight and a bias: four nodes a layer."""
    x = mx.sym.Variable("x")
    for k in range(n // 4):
        x = mx.sym.relu(mx.sym.FullyConnected(x, num_hidden=SHAPE[1], name=f"fc{k}"))
    return x


def softmaxes(mx: Any, n: int) -> Any:
    """What cannot be fused: a kernel for every node."""
    x = mx.sym.Variable("x")
    for _ in range(n):
        x = mx.sym.softmax(x)
    return x


def wide(mx: Any, n: int) -> Any:
    """One value read by n nodes, whose values are then added up in pairs."""
    x = mx.sym.Variable("x")
    values = [mx.sym.sin(x + k) for k in range(n // 3)]
    while len(values) > 1:
        values = [a + b for a, b in zip(values[::2], values[1::2])] + values[len(values) // 2 * 2 :]
    return values[0]


# The graph, the share of --nodes it is built with, and whether its gradients are computed.
GRAPHS: dict[str, tuple[Callable[[Any, int], Any], float, bool]] = {
    "chain": (chain, 1.0, False),
    "diamonds": (diamonds, 0.1, True),
    "doubles": (doubles, 0.1, True),
    "layers": (layers, 0.1, True),
    "softmaxes": (softmaxes, 0.1, False),
    "wide": (wide, 0.1, True),
}


def child(name: str, n: int) -> None:
    """One process of the measurement: prints seconds of every step and the peak of memory in MiB, as JSON."""
    sys.path.insert(0, str(ROOT))
    seen: dict[str, float] = {}
    owned = run_steps(name, n, seen)
    timed(seen, "delete", owned.clear)
    print(json.dumps(seen))


def run_steps(name: str, n: int, seen: dict[str, float]) -> list[Any]:
    """Every step on one graph; returns what has to be deleted."""
    import symc as mx
    import symc.ops

    build, _, with_gradient = GRAPHS[name]
    symbol = timed(seen, "build", lambda: build(mx, n))
    text = timed(seen, "tojson", symbol.tojson)
    timed(seen, "load", lambda: mx.sym.load_json(text))
    timed(seen, "infer_shape", lambda: symbol.infer_shape(x=SHAPE))
    timed(seen, "infer_type", lambda: symbol.infer_type(x="float32"))
    timed(seen, "list_arguments", symbol.list_arguments)
    timed(seen, "get_internals", lambda: symbol.get_internals().list_outputs())
    timed(seen, "attr_dict", symbol.attr_dict)
    timed(seen, "copy", lambda: copy.deepcopy(symbol))
    timed(seen, "compose", lambda: symbol(x=mx.sym.Variable("y")))
    seen["MiB of symbols"] = peak_mib()
    executor = timed(seen, "simple_bind", lambda: symbol.simple_bind(mx.cpu(), grad_req="null", x=SHAPE))
    timed(seen, "compile", executor.forward)
    timed(seen, "forward", executor.forward)
    seen["MiB compiling"] = peak_mib()
    if not with_gradient:
        return [symbol, executor]
    trained = symbol.simple_bind(mx.cpu(), grad_req="write", x=SHAPE)
    timed(seen, "compile for training", lambda: trained.forward(is_train=True))
    timed(seen, "backward", lambda: trained.backward(mx.nd.ones(SHAPE)))
    seen["MiB training"] = peak_mib()
    return [symbol, executor, trained]


def timed(seen: dict[str, float], step: str, work: Callable[[], Any]) -> Any:
    """Runs a step and notes its seconds."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    seen[step] = time.perf_counter() - start
    return result


def peak_mib() -> float:
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def measure(name: str, n: int, cache: str) -> dict[str, float]:
    """Runs `child` in a process of its own; kernels come from the cache when a smaller graph has left them there."""
    command = [sys.executable, __file__, "--child", name, str(n)]
    environment = os.environ | {"SYMC_CACHE_DIR": cache}
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(finished.stdout.splitlines()[-1]))


def growth(step: str, small: float, large: float) -> str:
    """The power of n by which a step grows over two doublings; nothing for what is too short to tell."""
    if not step.startswith("MiB") and large < NOISE_S:
        return ""
    return f"{math.log(max(large, 1e-9) / max(small, 1e-9), 4):.2f}"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description="growth of time and memory with the graph; see benchmarks/README.md")
    parser.add_argument("--nodes", type=int, default=50_000, help="n of the chain; others have a tenth (default 50000)")
    parser.add_argument("--graphs", default=",".join(GRAPHS), help="which (default all: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in arguments.graphs.split(","):
        sizes = [int(arguments.nodes * GRAPHS[name][1]) * factor for factor in (1, 2, 4)]
        with tempfile.TemporaryDirectory(prefix="symc-scale-") as cache:
            rows = found[name] = {n: measure(name, n, cache) for n in sizes}
        print(f"\n{name:24}" + "".join(f"{n:>12,}" for n in sizes) + "      growth")
        for step in rows[sizes[0]]:
            values = [rows[n][step] for n in sizes]
            shown = "".join(f"{v:12.0f}" if step.startswith("MiB") else f"{v:11.3f}s" for v in values)
            print(f"{step:24}{shown}{growth(step, values[0], values[-1]):>12}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
