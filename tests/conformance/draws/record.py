"""Records what MXNet 1.9.1 answers to random parameter sets of every operator, in its own environment:

    oracle/bin/python -m tests.conformance.draws.record FOLDER [--count 30] [operator ...]

Writes FOLDER/<operator>.npz as tests/ops/record.py does, with `cases`, the JSON text of the cases' fields, beside.
A case that ends MXNet's process is recorded as an error.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import multiprocessing
import os
import pathlib
import re
from typing import Any, Dict, Set, Tuple

import numpy as np

from tests.ops.record import Blob

from .draw import Declared, Draw
from .families import GENERATORS, answer, needs_onednn
from .quantized import ISA

ADDRESS = re.compile(r"\[[\d:]+\] |0x[0-9a-f]+|Error in operator \w+: ")
Dead = Set[Tuple[str, int]]  # cases that end the process: operator and number


def declared(mx: Any, op: str) -> Declared:
    """The flags and choices of an operator as MXNet lists them; the choice None is left out."""
    found = {}
    listed = mx.operator.get_operator_arguments(op)
    for name, kind in zip(listed.names, listed.types):
        if kind.startswith("boolean"):
            found[name] = (False, True)
        elif kind.startswith("{"):
            options = ast.literal_eval("[" + kind[1 : kind.index("}")] + "]")
            found[name] = tuple(o for o in options if o not in (None, "None"))
    return found


def record(mx: Any, op: str, count: int, path: pathlib.Path, at: Any, dead: Dead) -> None:
    """Writes the file of one operator; `at` holds the number of the case that runs."""
    blob, cases, index = Blob(), {}, {}
    flags = declared(mx, op)
    for number in range(count):
        case = GENERATORS[op](Draw(op, number, flags))
        at.value = number
        cases[str(case)] = dataclasses.asdict(case)
        if (op, number) in dead:
            index[str(case)] = {"error": "MXNet crashes"}
            continue
        try:
            index[str(case)] = answer(mx, case, blob.add)
        except (TypeError, ValueError, AttributeError) as e:  # of MXNet's Python
            index[str(case)] = {"error": f"{type(e).__name__}: {e}"[:300]}
    np.savez_compressed(
        path,
        index=np.array(json.dumps(index)),
        cases=np.array(json.dumps(cases)),
        blob=np.frombuffer(b"".join(blob.parts), "uint8"),
    )
    whys = [ADDRESS.sub("", r["error"])[:150] for r in index.values() if "error" in r]
    print(f"{op:<40}{len(index):>4}{len(whys):>4} errors", flush=True)
    for why in sorted(set(whys)):
        print(f"    {whys.count(why)} x {why}", flush=True)


def record_some(ops: list, count: int, folder: pathlib.Path, op_at: Any, at: Any, dead: Dead) -> None:
    """Writes the files of the operators from number `op_at` on, in a process that has no MXNet yet."""
    enabled = str(int(needs_onednn(ops[0])))
    os.environ.update({"DNNL_MAX_CPU_ISA": ISA[ops[0]]} if ops[0] in ISA else {})
    os.environ.update(MXNET_MKLDNN_ENABLED=enabled, MXNET_SUBGRAPH_BACKEND="NONE", MXNET_ENGINE_TYPE="NaiveEngine")
    import mxnet as mx

    while op_at.value < len(ops):
        op = ops[op_at.value]
        record(mx, op, count, folder / f"{op}.npz", at, dead)
        op_at.value += 1


def record_apart(ops: list, count: int, folder: pathlib.Path) -> None:
    """The same for all of them; a process that ends is followed by another, which leaves out the case that ended it."""
    spawn = multiprocessing.get_context("spawn")
    op_at, at, dead = spawn.Value("i", 0), spawn.Value("i", -1), set()  # type: ignore[var-annotated]
    while op_at.value < len(ops):
        child = spawn.Process(target=record_some, args=(ops, count, folder, op_at, at, dead))
        child.start()
        child.join()
        if child.exitcode == 0:
            return
        ended = ops[op_at.value], at.value
        if child.exitcode == 1 or ended in dead:  # an error of ours
            raise RuntimeError(f"{ended}: recording ends with {child.exitcode}")
        dead.add(ended)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.draws.record")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("ops", nargs="*", metavar="OPERATOR", help="default: all that have a generator")
    parser.add_argument("--count", type=int, default=30, help="parameter sets an operator; default 30")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    ops = options.ops or sorted(GENERATORS)
    parts: Dict[Any, list] = {}
    for op in ops:  # MXNet asks once for its surroundings
        parts.setdefault((needs_onednn(op), ISA.get(op)), []).append(op)
    for part in parts.values():
        record_apart(part, options.count, options.folder)


if __name__ == "__main__":
    main()
