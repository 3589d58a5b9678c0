"""Runs every case table in the real MXNet 1.9.1 and records what it gives, in the oracle's own environment:

    oracle/bin/python tests/ops/record.py [family ...]

Writes recorded/<family>.npz: `index`, JSON text of {case: record}, and `blob`, the bytes of all arrays.  A record is
{"error": ...} where MXNet refuses, else (an array being [dtype, shape, offset in bytes])

    outs          [array, ...]        of forward, predicting
    train_outs    [array, ...]        of forward in training, where they differ
    grads         {position: array}   of backward in training, for the inputs that the case checks
    states        {position: array}   of auxiliary states after that
    after         {position: array}   of inputs that an optimizer's update writes
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np

HERE = pathlib.Path(__file__).parent
ONEDNN = ("quantized", "quantized_recurrent")  # families that have kernels there alone
ISA = {"quantized_recurrent": "AVX512_CORE"}  # what they must not go beyond: with VNNI MXNet fails
N_TAKEN = {
    "BatchNorm_v1": 3,
    "IdentityAttachKLSparseReg": 1,
}  # of an operator whose Python function takes no auxiliary states: how many inputs it does
CRASHING = {"_contrib_BatchNormWithReLU"}  # without oneDNN, whatever it is given

UNBIASED = ("data", "weight", "min_data", "max_data", "min_weight", "max_weight")  # inputs of a quantised layer
NAMED = {"_contrib_quantized_rnn": ("data", "parameters", "state", "state_cell", "min_data", "max_data")}


class Blob:
    """Arrays packed one after the other."""

    def __init__(self) -> None:
        self.parts = []
        self.size = 0

    def add(self, array: np.ndarray) -> list:
        """Packs an array; returns what finds it again."""
        found = [str(array.dtype), list(array.shape), self.size]
        self.parts.append(np.ascontiguousarray(array).tobytes())
        self.size += len(self.parts[-1])
        return found


def find(face, name: str):
    """The function of an operator, under mx.sym or mx.nd; None where there is none."""
    places = (
        (face._internal, name),
        (face, name),
        (face.contrib, name.replace("_contrib_", "")),
        (face.linalg, name.replace("_linalg_", "")),
        (face.image, name.replace("_image_", "")),
    )
    return next((f for module, n in places if (f := getattr(module, n, None)) is not None), None)


def run(mx, case, pack) -> dict:
    """One case: outputs of forward, then a training step for the gradients of the checked inputs.

    The record has, for every array, what `pack` makes of it.
    """
    if case.op in CRASHING and os.environ.get("MXNET_MKLDNN_ENABLED") == "0":
        return {"error": "MXNet has it with oneDNN alone"}
    arrays = case.inputs()
    names = [f"in{k}" for k in range(len(arrays))]
    asked = case.gradient_positions()
    try:
        params = {k: v for k, v in case.params.items() if k != "num_args" or v != len(names)}
        n = N_TAKEN.get(case.op, len(names))
        given = [mx.sym.Variable(name) for name in names[:n]]
        function = find(mx.sym, case.op)
        if function is None:
            return {"error": "no function of symbols"}
        is_unbiased = case.op.startswith("_contrib_quantized") and case.params.get(
            "no_bias"
        )  # else the third is the bias
        named = UNBIASED if is_unbiased else NAMED.get(case.op)
        symbol = function(**dict(zip(named, given)), **params) if named else function(*given, **params)
        names[n:] = symbol.list_auxiliary_states()[: len(names) - n]
        asked = [k for k in asked if names[k] in symbol.list_arguments()]
        given = {n: mx.nd.array(a, dtype=a.dtype) for n, a in zip(names, arrays)}
        executor = symbol.bind(
            mx.cpu(),
            args={n: given[n] for n in symbol.list_arguments()},
            args_grad={names[k]: mx.nd.zeros(arrays[k].shape, dtype=arrays[k].dtype) for k in asked},
            grad_req={n: "write" if n in [names[k] for k in asked] else "null" for n in symbol.list_arguments()},
            aux_states={n: given[n] for n in symbol.list_auxiliary_states()},
        )
        outs = [o.asnumpy() for o in executor.forward(is_train=False)]
        found = {"outs": [pack(o) for o in outs]}
        if asked:
            train_outs = [o.asnumpy() for o in executor.forward(is_train=True)]
            if [o.tobytes() for o in train_outs] != [o.tobytes() for o in outs]:
                found["train_outs"] = [pack(o) for o in train_outs]
            heads = [case.head(o.shape, str(o.dtype), k) for k, o in enumerate(outs)]
            executor.backward([mx.nd.array(h, dtype=h.dtype) for h in heads])
            found["grads"] = {k: pack(executor.grad_dict[names[k]].asnumpy()) for k in asked}
            found["states"] = {names.index(n): pack(a.asnumpy()) for n, a in executor.aux_dict.items()}
    except mx.base.MXNetError as e:
        return {"error": (str(e).strip().splitlines() or [""])[-1][:300]}
    return found


def run_update(mx, case, pack) -> dict:
    """One case of an operator that optimizers call, on arrays: its outputs, and the inputs that it wrote."""
    arrays = case.inputs()
    given = [mx.nd.array(a, dtype=a.dtype) for a in arrays]
    n_weights = case.params.get("num_weights", case.params.get("num_tensors"))
    n_shared = 2 if case.op.startswith("preloaded") else 1 if case.op.startswith("_multi") and "adamw" in case.op else 0
    weights = {"out": given[: len(given) - n_shared : (len(given) - n_shared) // n_weights]} if n_weights else {}
    try:
        outs = find(mx.nd, case.op)(*given, **case.params, **weights)
        outs = [o.asnumpy() for o in (outs if isinstance(outs, list) else [outs])]
    except mx.base.MXNetError as e:
        return {"error": (str(e).strip().splitlines() or [""])[-1][:300]}
    after = [a.asnumpy() for a in given]
    written = {k: pack(a) for k, a in enumerate(after) if a.tobytes() != arrays[k].tobytes()}
    return {"outs": [pack(o) for o in outs], "after": written}


def main(families: list) -> None:
    if not families:
        families = sorted({p.stem[len("cases_") :] for p in HERE.glob("cases_*.py")} - {*ONEDNN})
        for family in ONEDNN:
            subprocess.run([sys.executable, __file__, family], check=True)
    # Native kernels where there are any, unfused, and errors raised where they happen.
    has_onednn = str(int({*ONEDNN}.issuperset(families)))
    os.environ.update({"DNNL_MAX_CPU_ISA": ISA[families[0]]} if families[0] in ISA else {})
    os.environ.update(MXNET_MKLDNN_ENABLED=has_onednn, MXNET_SUBGRAPH_BACKEND="NONE", MXNET_ENGINE_TYPE="NaiveEngine")
    import mxnet as mx

    package = types.ModuleType("case_tables")
    package.__path__ = [str(HERE)]
    sys.modules["case_tables"] = package
    (HERE / "recorded").mkdir(exist_ok=True)
    for family in families:
        blob = Blob()
        cases = importlib.import_module(f"case_tables.cases_{family}").CASES
        index = {str(case): run(mx, case, blob.add) for case in cases}
        np.savez_compressed(
            HERE / "recorded" / f"{family}.npz",
            index=np.array(json.dumps(index)),
            blob=np.frombuffer(b"".join(blob.parts), "uint8"),
        )
        print(family, len(index), sum("error" in r for r in index.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
