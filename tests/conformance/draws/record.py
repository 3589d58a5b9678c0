"""Records what MXNet 1.9.1 answers to random parameter sets of every operator, in its own environment:

    oracle/bin/python -m tests.conformance.draws.record FOLDER [operator ...] [--count 30] [--keep 2] [--large]

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
from typing import Any, Dict, Iterator, NamedTuple, Set, Tuple, Type

import numpy as np

from tests.ops.cases import Case
from tests.ops.record import Blob

from . import quantized, updates
from .draw import Declared, Draw, LargeDraw
from .families import GENERATORS, UNANSWERED, answer, needs_onednn
from .quantized import ISA

KINDS = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64")
N_RETYPED = 2  # sets in each dtype that no drawn set has and MXNet takes
FIXED = {*updates.GENERATORS, *quantized.GENERATORS}  # operators whose dtypes are drawn as they must be, and one that
FIXED |= {"_image_resize"}  # reads beyond its memory where OpenCV does not know the dtype
ADDRESS = re.compile(r"\[[\d:]+\] |0x[0-9a-f]+|Error in operator \w+: ")
Dead = Set[Tuple[str, int]]  # cases that end the process: operator and number


class Sets(NamedTuple):
    """Which parameter sets of an operator are drawn, and how many of them are recorded."""

    numbers: range
    keep: int
    source: Type[Draw]


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


def cases_of(op: str, sets: Sets, flags: Declared) -> Iterator[Tuple[Case, bool]]:
    """The cases drawn for an operator; then, with True, some in each dtype that no drawn one has."""
    drawn = [GENERATORS[op](sets.source(op, number, flags)) for number in sets.numbers]
    yield from ((case, False) for case in drawn[: sets.keep])
    kinds, plain = {dtype_of(case) for case in drawn}, [case for case in drawn if case.points is None]
    for kind in KINDS:
        if kind not in kinds and None not in kinds and op not in FIXED:
            yield from ((retyped(case, kind), True) for case in plain[:N_RETYPED])


def dtype_of(case: Case) -> Any:
    """Of the first input, or of what is made of none; None where that cannot be asked for."""
    return case.input_dtypes()[0] if case.shapes else case.params.get("dtype")


def retyped(case: Case, kind: str) -> Case:
    """The case in another dtype: that of the first input, and of those that have the same."""
    if not case.shapes:
        return dataclasses.replace(case, params={**case.params, "dtype": kind})
    dtypes = case.input_dtypes()
    return dataclasses.replace(case, dtypes=tuple(kind if d == dtypes[0] else d for d in dtypes))


def record(mx: Any, op: str, sets: Sets, path: pathlib.Path, at: Any, dead: Dead) -> None:
    """Writes the file of one operator; `at` holds the number of the case that runs."""
    blob, cases, index = Blob(), {}, {}
    flags = declared(mx, op)
    for number, (case, is_retyped) in enumerate(cases_of(op, sets, flags)):
        at.value = number
        found = {"error": "MXNet crashes"} if (op, number) in dead else answered(mx, case, blob)
        if not (is_retyped and "error" in found):
            cases[str(case)], index[str(case)] = dataclasses.asdict(case), found
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


def answered(mx: Any, case: Case, blob: Blob) -> Dict[str, Any]:
    """What MXNet answers, an error of its Python included."""
    try:
        return answer(mx, case, blob.add)
    except (TypeError, ValueError, AttributeError) as e:
        return {"error": f"{type(e).__name__}: {e}"[:300]}


def record_some(ops: list, sets: Sets, folder: pathlib.Path, op_at: Any, at: Any, dead: Dead) -> None:
    """Writes the files of the operators from number `op_at` on, in a process that has no MXNet yet."""
    enabled = str(int(needs_onednn(ops[0])))
    os.environ.update({"DNNL_MAX_CPU_ISA": ISA[ops[0]]} if ops[0] in ISA else {})
    os.environ.update(MXNET_MKLDNN_ENABLED=enabled, MXNET_SUBGRAPH_BACKEND="NONE", MXNET_ENGINE_TYPE="NaiveEngine")
    import mxnet as mx

    while op_at.value < len(ops):
        op = ops[op_at.value]
        record(mx, op, sets, folder / f"{op}.npz", at, dead)
        op_at.value += 1


def record_apart(ops: list, sets: Sets, folder: pathlib.Path) -> None:
    """The same for all of them; a process that ends is followed by another, which leaves out the case that ended it."""
    spawn = multiprocessing.get_context("spawn")
    op_at, at, dead = spawn.Value("i", 0), spawn.Value("i", -1), set()  # type: ignore[var-annotated]
    while op_at.value < len(ops):
        child = spawn.Process(target=record_some, args=(ops, sets, folder, op_at, at, dead))
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
    parser.add_argument("ops", nargs="*", metavar="OPERATOR", help="default: all that have a generator and an answer")
    parser.add_argument("--count", type=int, default=30, help="parameter sets an operator; default 30")
    parser.add_argument("--keep", type=int, help="of them recorded; default all")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="of the sets: others are other sets")
    parser.add_argument("--large", action="store_true", help="extents and channels as networks have")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.count)
    sets = Sets(numbers, options.keep or options.count, LargeDraw if options.large else Draw)
    options.folder.mkdir(parents=True, exist_ok=True)
    ops = options.ops or sorted(set(GENERATORS) - UNANSWERED.keys())
    parts: Dict[Any, list] = {}
    for op in ops:  # MXNet asks once for its surroundings
        parts.setdefault((needs_onednn(op), ISA.get(op)), []).append(op)
    for part in parts.values():
        record_apart(part, sets, options.folder)


if __name__ == "__main__":
    main()
