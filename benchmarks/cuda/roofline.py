"""What the model of symc/codegen/cuda/roofline.py expects of networks on an H200; no GPU is needed, nothing is run.

    SYMC_SIMULATED_GPUS=1 [SYMC_TF32=1 | SYMC_BF16=1] [SYMC_WGMMA=1]
        python benchmarks/cuda/roofline.py [NETWORK ...] [--list] [--json FILE]

For each network, and for its matrix kernels and all others: launches, time by the model, time at the limit, and the
part of the limit that is reached, the start of a kernel counted in both and in neither. --list shows every kernel.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import symc as mx
from symc.codegen.cuda.h200 import START_S
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.roofline import predict
from symc.contrib.quantization import quantize_model_mkldnn

MATRIX, OTHER, ALL = "matrix", "other", "all"
NO_PARAMETERS = ("data", "softmax_label")


def bert_layer() -> mx.sym.Symbol:
    """Attention of 12 heads and a network of 3072 units over (batch, 128, 768)."""
    x = mx.sym.Variable("data")
    projected = [
        mx.sym.FullyConnected(x, num_hidden=768, flatten=False, name=name) for name in ("query", "key", "value")
    ]
    query, key, value = (
        mx.sym.reshape(mx.sym.transpose(mx.sym.reshape(p, (0, 0, 12, 64)), (0, 2, 1, 3)), (-3, -2)) for p in projected
    )
    scores = mx.sym.batch_dot(query, key, transpose_b=True) * (1 / 8)
    mixed = mx.sym.batch_dot(mx.sym.softmax(scores), value)
    mixed = mx.sym.reshape(mx.sym.transpose(mx.sym.reshape(mixed, (-4, -1, 12, 0, 0)), (0, 2, 1, 3)), (0, 0, -3))
    x = mx.sym.LayerNorm(x + mx.sym.FullyConnected(mixed, num_hidden=768, flatten=False, name="out"), name="first")
    hidden = mx.sym.LeakyReLU(mx.sym.FullyConnected(x, num_hidden=3072, flatten=False, name="wide"), act_type="gelu")
    return mx.sym.LayerNorm(x + mx.sym.FullyConnected(hidden, num_hidden=768, flatten=False, name="back"), name="last")


def lstm() -> mx.sym.Symbol:
    """Two layers of 256 units."""
    names = ("data", "parameters", "state", "state_cell")
    return mx.sym.RNN(*map(mx.sym.Variable, names), mode="lstm", state_size=256, num_layers=2, name="lstm")


def quantized_resnet() -> mx.sym.Symbol:
    """ResNet-50 of 8-bit integers, BatchNorms folded into layers, as ranges of a smaller image calibrate it."""
    net, shape = mx.models.get("resnet-50").symbol, (1, 3, 64, 64)
    shapes, _, states = net.infer_shape(data=shape)
    args = {n: mx.nd.random.normal(shape=s) for n, s in zip(net.list_arguments(), shapes) if n not in NO_PARAMETERS}
    aux = {n: mx.nd.ones(s) for n, s in zip(net.list_auxiliary_states(), states)}
    how = {"quantize_mode": "full", "quantized_dtype": "auto", "calib_mode": "naive", "label_names": None}
    data = mx.io.NDArrayIter(mx.nd.random.normal(shape=shape), batch_size=1)
    return quantize_model_mkldnn(net, args, aux, calib_data=data, **how)[0]


def networks() -> dict[str, tuple[mx.sym.Symbol, dict[str, tuple[int, ...]], str]]:
    """Name -> (symbol, shapes of its inputs, dtype)."""
    resnet = mx.models.get("resnet-50").symbol
    state = (2, 16, 256)
    return {
        "resnet-50, batch 1": (resnet, {"data": (1, 3, 224, 224)}, "float32"),
        "resnet-50, batch 32": (resnet, {"data": (32, 3, 224, 224)}, "float32"),
        "resnet-50, 32, float16": (resnet, {"data": (32, 3, 224, 224)}, "float16"),
        "resnet-50, 32, int8": (quantized_resnet(), {"data": (32, 3, 224, 224)}, "float32"),
        "BERT layer, 8 x 128": (bert_layer(), {"data": (8, 128, 768)}, "float32"),
        "BERT layer, float16": (bert_layer(), {"data": (8, 128, 768)}, "float16"),
        "LSTM, 35 x 16": (lstm(), {"data": (35, 16, 256), "state": state, "state_cell": state}, "float32"),
    }


def bound(net: mx.sym.Symbol, shapes: dict[str, tuple[int, ...]], dtype: str, context: mx.Context) -> mx.Executor:
    """For forward runs."""
    return net.simple_bind(context, grad_req="null", type_dict=dict.fromkeys(shapes, dtype), **shapes)


def predicted(executor: mx.Executor) -> list[dict[str, Any]]:
    """A row for each step of a forward run."""
    compiled = executor.compiled(False)
    rows = []
    for k, (step, node, call) in enumerate(compiled.lowered.steps()):
        if step.phase != "forward":
            continue
        p = predict(node.kernel, call, KernelImage.from_bytes(compiled.objects[call.code.name]))
        rows.append(
            p._asdict()
            | {
                "kind": MATRIX if compiled.lowered.work(k).flops and node.kernel.work_flops else OTHER,
                "operators": " + ".join(compiled.lowered.operators(k)),
                "rounds": math.prod(loop.count for loop in node.loops),
                "schedule": call.schedule,
            }
        )
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Totals by kind."""
    found = {}
    for kind in (MATRIX, OTHER, ALL):
        own = [r for r in rows if kind in (r["kind"], ALL)]
        n = sum(r["rounds"] for r in own)
        time_s, limit_s = (sum(r[key] * r["rounds"] for r in own) for key in ("time_s", "limit_s"))
        bare_s = sum(max(0.0, r["limit_s"] - START_S) * r["rounds"] for r in own)
        bare = bare_s / (time_s - n * START_S) if own else 1.0
        share = limit_s / time_s if own else 1.0
        found[kind] = {"n": n, "time_s": time_s, "limit_s": limit_s, "share": share, "bare_share": bare}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="those whose name contains this; default: all")
    parser.add_argument("--list", action="store_true", help="every kernel, the slowest first")
    parser.add_argument("--json", type=Path, help="where to save all numbers")
    options = parser.parse_args()
    chosen = {
        name: made
        for name, made in networks().items()
        if not options.networks or any(text in name for text in options.networks)
    }
    print(f"{'':22}{'kernels':>14}{'time':>13}{'limit':>13}{'reached':>9}{'without starts':>16}")
    saved = {}
    for name, arguments in chosen.items():
        rows = predicted(bound(*arguments, mx.gpu(0)))
        saved[name] = {"kernels": rows, "summary": summary(rows)}
        for kind, s in saved[name]["summary"].items():
            print(
                f"{name if kind == MATRIX else '':22}{s['n']:>7} {kind:6}{s['time_s'] * 1e6:10.1f} us"
                f"{s['limit_s'] * 1e6:10.1f} us{s['share']:9.0%}{s['bare_share']:16.0%}",
                flush=True,
            )
        for r in sorted(rows, key=lambda r: -r["time_s"] * r["rounds"]) if options.list else ():
            times = f" x {r['rounds']}" if r["rounds"] > 1 else ""
            print(
                f"    {r['time_s'] * 1e6:8.1f} us{times} {r['limit_s'] / r['time_s']:5.0%} by {r['bound']}, "
                f"{r['n_blocks']} blocks: {r['operators'][:60]}; {r['schedule']}"
            )
    if options.json:
        options.json.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
