"""The first minutes with a GPU: are the numbers right, and how fast are kernels?   See benchmarks/README.md

    python benchmarks/cuda/first_light.py [--json FILE] [--simulate] [--limit SECONDS]

1 what is installed and found; 2 recorded networks, both directions, on the GPU; 3 single operators and large networks:
the greatest difference from the CPU beside the largest number, time by the host's clock around kernels that run alone,
the time that the model of roofline.py expects, rates, and the time of a whole call; 4 where PyTorch sees the GPU: the
same in PyTorch (torch_peers.py), its difference from the CPU, and its calls' times by symc's.
No network is begun after half of --limit seconds (480), nothing after all; no piece takes 100: under 10 minutes.
--simulate runs all of it on the interpreter of PTX, with small sizes and without meaning to its times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numba", "llvmlite", "numba-cuda", "cuda-core", "cuda-bindings", "nvidia-nvvm", "nvidia-nvjitlink")
N_RUNS = 20


def workloads(mx: Any, is_small: bool) -> dict[str, tuple[Any, dict[str, tuple[int, ...]], str]]:
    """Name -> (symbol, shapes of its inputs, dtype)."""
    import roofline

    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    rows, columns, n = (6, 300, 40) if is_small else (16384, 4096, 4096)
    images, channels, extent = (1, 16, 6) if is_small else (32, 256, 56)
    whole = {"x": (rows, columns), "y": (rows, columns)}
    flat = {"x": (rows, columns)}
    convolution = mx.sym.Convolution(x, num_filter=channels, kernel=(3, 3), pad=(1, 1), no_bias=True, name="c")
    product, matrices, image = mx.sym.dot(x, y), {"x": (n, n), "y": (n, n)}, {"x": (images, channels, extent, extent)}
    operators = {
        "relu(x + y)": (mx.sym.relu(x + y), whole),
        "tanh": (mx.sym.tanh(x), flat),
        "transpose": (mx.sym.transpose(x), flat),
        "softmax": (mx.sym.softmax(x), flat),
        "LayerNorm": (mx.sym.LayerNorm(x, name="norm"), flat),
        "sum of rows": (mx.sym.sum(x, axis=1), flat),
        "sum of columns": (mx.sym.sum(x, axis=0), flat),
        "order of rows": (mx.sym.argsort(x, axis=1), flat),
        "dot": (product, matrices),
        "FullyConnected, 1 row": (mx.sym.FullyConnected(x, num_hidden=n, no_bias=True, name="fc"), {"x": (1, n)}),
        "Convolution 3x3": (convolution, image),
    }
    found = {name: (*made, "float32") for name, made in operators.items()}
    found |= {"dot, float16": (product, matrices, "float16"), "Convolution, float16": (convolution, image, "float16")}
    return found if is_small else found | roofline.networks()


def tried(mx: Any, name: str, workload: tuple[Any, dict[str, tuple[int, ...]], str], n_runs: int) -> dict[str, Any]:
    """Numbers of one workload on the GPU beside the CPU's."""
    import roofline

    executor, on_cpu = (filled(roofline.bound(*workload, context)) for context in (mx.gpu(0), mx.cpu()))
    found, expected = (e.forward()[0].asnumpy().astype(np.float64) for e in (executor, on_cpu))
    calls_us = []
    for _ in range(n_runs):
        begun = time.perf_counter()
        executor.forward()
        mx.nd.waitall()
        calls_us.append((time.perf_counter() - begun) * 1e6)
    profile = executor.profile(n_runs=n_runs)
    time_s = profile.total_s
    gflops, gbytes = (
        sum(getattr(r, rate) * r.time_s for r in profile.rows) for rate in ("gflops_per_s", "gbytes_per_s")
    )
    return {
        "name": name,
        "difference": float(np.abs(found - expected).max()),
        "largest": float(np.abs(expected).max()),
        "time_us": time_s * 1e6,
        "call_us": min(calls_us),
        "expected_us": sum(r["time_s"] * r["rounds"] for r in roofline.predicted(executor)) * 1e6,
        "gflops_per_s": gflops / time_s,
        "gbytes_per_s": gbytes / time_s,
        "kernels": executor.explain(),
    }


def filled(executor: Any) -> Any:
    """The executor, with numbers in its arrays that stay near 1."""
    rng = np.random.default_rng(0)
    for name, array in executor.arg_dict.items():
        n_summed = array.size / array.shape[0] if name.endswith("weight") else 3
        array[:] = rng.uniform(-1, 1, array.shape) * (3 / n_summed) ** 0.5
    for name, array in executor.aux_dict.items():
        array[:] = float("var" in name)
    return executor


def peers(mx: Any, rows: list[dict[str, Any]], is_over: Callable[[], bool]) -> None:
    """Adds PyTorch's times to the rows, with its difference from the CPU's numbers."""
    import roofline
    import torch_peers

    allow_tf32 = mx.gpu(0).device.backend.float32_by == "tf32"
    print(f"{'':24}{'difference':>12}{'symc':>13}{'eager':>8}{'graph':>8}{'compiled':>10}   PyTorch's times by symc's")
    for row, workload in zip(rows, workloads(mx, False).values()):
        if is_over():
            print(f"{row['name']:24} the time is over")
            continue
        executor = filled(roofline.bound(*workload, mx.cpu()))
        arrays = {name: a.asnumpy() for name, a in (executor.arg_dict | executor.aux_dict).items()}
        expected = executor.forward()[0].asnumpy().astype(np.float64)
        row["torch"] = found = torch_peers.times(row["name"], workload[0], arrays, allow_tf32, N_RUNS, is_over)
        found["difference"] = float(np.abs(found.pop("output") - expected).max())
        ratios = {way: found[way] / row["call_us"] for way in ("eager", "graph", "compiled") if way in found}
        print(
            f"{row['name']:24}{found['difference']:12.2e}{row['call_us']:10.1f} us{ratios['eager']:8.2f}"
            f"{ratios['graph']:8.2f}{ratios.get('compiled', float('nan')):10.2f}",
            flush=True,
        )


def has_torch() -> bool:
    """Whether there is a PyTorch that sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def networks(mx: Any, is_small: bool, is_over: Callable[[], bool]) -> dict[str, str]:
    """What went wrong with recorded networks, "" where nothing did; without those that time is over for."""
    sys.path.insert(0, str(ROOT))
    from tests.conformance import golden, replay

    found = {}
    cases = [case for case in golden.net_cases() if not is_small or case.name == "lenet"]
    with mx.gpu(0):
        for case in cases:
            if is_over():
                break
            try:
                replay.check_net(mx, case)
                found[case.name] = ""
            except Exception as error:  # all of them are looked at, whatever one does
                found[case.name] = f"{type(error).__name__}: {error}"
    return found


def installed() -> dict[str, str]:
    """Versions of the packages that compile and run."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def simulate() -> None:
    """Makes `mx.gpu(0)` the interpreter of PTX."""
    from symc.context import register_device
    from symc.runtime.cuda.device import device_of
    from symc.testing.driver import SimDriver

    device = device_of(SimDriver())
    register_device("gpu", lambda number: device)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to save all numbers")
    parser.add_argument("--simulate", action="store_true", help="on the interpreter of PTX, small")
    parser.add_argument("--limit", type=float, default=480, metavar="SECONDS", help="nothing is begun after these")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import symc as mx

    if options.simulate:
        simulate()
    start = time.perf_counter()
    result: dict[str, Any] = {"packages": installed(), "device": mx.gpu(0).device.backend.facts()}
    print(json.dumps(result, indent=1), flush=True)

    def is_over(share: float = 1.0) -> bool:
        return time.perf_counter() - start > share * options.limit

    result["networks"] = networks(mx, options.simulate, lambda: is_over(0.5))
    wrong = {name: why for name, why in result["networks"].items() if why}
    print(f"{len(result['networks']) - len(wrong)} of {len(result['networks'])} networks are as recorded", flush=True)
    for name, why in wrong.items():
        print(f"    {name}: {why.splitlines()[0][:150]}")
    print(f"{'':24}{'difference':>12}{'largest':>10}{'time':>13}{'expected':>13}{'GFLOP/s':>11}{'GB/s':>9}")
    result["workloads"] = []
    for name, workload in workloads(mx, options.simulate).items():
        if is_over():
            print(f"{name:24} the time is over")
            continue
        row = tried(mx, name, workload, 1 if options.simulate else N_RUNS)
        result["workloads"].append(row)
        print(
            f"{name:24}{row['difference']:12.2e}{row['largest']:10.3g}{row['time_us']:10.1f} us"
            f"{row['expected_us']:10.1f} us{row['gflops_per_s']:11.1f}{row['gbytes_per_s']:9.1f}",
            flush=True,
        )
    if has_torch() and not options.simulate:
        peers(mx, result["workloads"], is_over)
    result["total_s"] = time.perf_counter() - start
    print(f"{result['total_s']:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
