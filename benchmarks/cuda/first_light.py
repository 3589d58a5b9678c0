"""The first minutes with a GPU: are the numbers right, and how fast are kernels?   See benchmarks/README.md

    python benchmarks/cuda/first_light.py [--json FILE] [--simulate]

1 what is installed and found; 2 recorded networks, both directions, on the GPU; 3 single operators and large networks:
the greatest difference from the CPU beside the largest number, time by the host's clock around kernels that run alone,
the time that the model of roofline.py expects, and rates.
--simulate runs all of it on the interpreter of PTX, with small sizes and without meaning to its times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
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

    results = []
    for context in (mx.gpu(0), mx.cpu()):
        rng = np.random.default_rng(0)
        executor = roofline.bound(*workload, context)
        for name_of, array in executor.arg_dict.items():
            n_summed = array.size / array.shape[0] if name_of.endswith("weight") else 3
            array[:] = rng.uniform(-1, 1, array.shape) * (3 / n_summed) ** 0.5
        for name_of, array in executor.aux_dict.items():
            array[:] = float("var" in name_of)
        results.append((executor, executor.forward()[0].asnumpy().astype(np.float64)))
    (executor, found), (_, expected) = results
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
        "expected_us": sum(r["time_s"] * r["rounds"] for r in roofline.predicted(executor)) * 1e6,
        "gflops_per_s": gflops / time_s,
        "gbytes_per_s": gbytes / time_s,
        "kernels": executor.explain(),
    }


def networks(mx: Any, is_small: bool) -> dict[str, str]:
    """What went wrong with recorded networks, "" where nothing did."""
    sys.path.insert(0, str(ROOT))
    from tests.conformance import golden, replay

    found = {}
    cases = [case for case in golden.net_cases() if not is_small or case.name == "lenet"]
    with mx.gpu(0):
        for case in cases:
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
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import symc as mx

    if options.simulate:
        simulate()
    start = time.perf_counter()
    result: dict[str, Any] = {"packages": installed(), "device": mx.gpu(0).device.backend.facts()}
    print(json.dumps(result, indent=1), flush=True)
    result["networks"] = networks(mx, options.simulate)
    wrong = {name: why for name, why in result["networks"].items() if why}
    print(f"{len(result['networks']) - len(wrong)} of {len(result['networks'])} networks are as recorded", flush=True)
    for name, why in wrong.items():
        print(f"    {name}: {why.splitlines()[0][:150]}")
    print(f"{'':24}{'difference':>12}{'largest':>10}{'time':>13}{'expected':>13}{'GFLOP/s':>11}{'GB/s':>9}")
    result["workloads"] = []
    for name, workload in workloads(mx, options.simulate).items():
        row = tried(mx, name, workload, 1 if options.simulate else N_RUNS)
        result["workloads"].append(row)
        print(
            f"{name:24}{row['difference']:12.2e}{row['largest']:10.3g}{row['time_us']:10.1f} us"
            f"{row['expected_us']:10.1f} us{row['gflops_per_s']:11.1f}{row['gbytes_per_s']:9.1f}",
            flush=True,
        )
    result["total_s"] = time.perf_counter() - start
    print(f"{result['total_s']:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
