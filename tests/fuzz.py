"""Damaged files: every mutation of a model, parameter, artifact or cache file gives one clear error or loads.

    python -m tests.fuzz [--count 2000] [--seed 0] [--only json]

Each kind runs in a process of its own, so that a crash is noticed; a load over LIMIT_S or an exception outside symc's
hierarchy is a failure.  For the cache, a damaged entry must be recompiled silently.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .mutations import mutate, mutate_json, mutate_numbers

LEGACY = Path(__file__).parent / "data" / "conformance" / "legacy"
LIMIT_S = 2.0
MEMORY_FACTOR = 64  # bytes allocated for each byte of the file, plus a fixed megabyte


@dataclass(frozen=True)
class Kind:
    """Files to damage, the ways to damage them, and what reads them."""

    originals: Sequence[bytes]
    load: Callable[[bytes], object]
    mutations: Sequence[Callable[[bytes, random.Random], bytes]] = (mutate,)


def symbol_json() -> Kind:
    """Symbols' JSON of several ages, their reader, and what every user of a symbol asks it."""
    import symc as mx
    from symc import models

    variants = json.loads((LEGACY / "json_variants.json").read_text())
    lacking = ("missing inputs but current version (no upgrade)", "BatchNorm without aux, v0.9.5")  # load, but no more
    old = [json.dumps(v["json"]).encode() for v in variants if v["ok"] and v["tag"] not in lacking]
    path = Path(tempfile.mkdtemp()) / "x-symbol.json"

    def load(data: bytes) -> object:
        path.write_bytes(data)
        s = mx.sym.load(str(path))
        return s.tojson(), s.attr_dict(), s.infer_shape_partial(), s.infer_type_partial(), s.debug_str()

    new = models.get("lenet").symbol.tojson().encode()
    return Kind([new] * len(old) + old, load, (mutate, mutate_json, mutate_json, mutate_json))


def params_file() -> Kind:
    """.params files of every version, dtype and storage, and their reader."""
    import symc as mx
    from symc.ndarray.serialize import dumps

    originals = [p.read_bytes() for p in sorted(LEGACY.glob("*.params"))]
    originals.append(dumps({f"arg:a{k}": mx.nd.array(np.arange(24).reshape(2, 3, 4)) for k in range(9)}))
    return Kind(originals, mx.nd.load_frombuffer, (mutate, mutate_numbers, mutate_numbers))


def numpy_file() -> Kind:
    """.npy and .npz files and the reader of the command line."""
    from symc.cli.arrays import read_numpy

    folder = Path(tempfile.mkdtemp())
    values = {"a": np.arange(24, dtype="f4").reshape(2, 3, 4), "b": np.arange(3)}
    np.save(folder / "x.npy", values["a"])
    np.savez(folder / "x.npz", **values)
    np.savez_compressed(folder / "y.npz", **values)

    def load(data: bytes) -> object:
        (folder / "z").write_bytes(data)
        return [np.array(a) for a in read_numpy(folder / "z").values()]

    return Kind([p.read_bytes() for p in sorted(folder.iterdir())], load, (mutate, mutate_numbers))


def safetensors_file() -> Kind:
    """A .safetensors file and the reader of the command line."""
    from safetensors.numpy import save

    from symc.cli.arrays import load_arrays

    path = Path(tempfile.mkdtemp()) / "x.safetensors"

    def load(data: bytes) -> object:
        path.write_bytes(data)
        return load_arrays(path)

    values = {"a": np.arange(24, dtype="f4").reshape(2, 3, 4), "b": np.arange(3, dtype="i8")}
    return Kind([save(values)], load, (mutate, mutate_numbers))


def artifact_file() -> Kind:
    """A .symc file and its reader; each mutation is written to a file of its own."""
    from symc import artifact, models

    folder = Path(tempfile.mkdtemp())
    model = models.get("mlp").with_seed(0)
    artifact.save(folder / "m.symc", model.symbol, model.arg_params, model.aux_params, model.shapes, key=_key(folder))

    def load(data: bytes) -> object:
        (folder / "n.symc").write_bytes(data)
        return artifact.load(folder / "n.symc", trust=True)

    return Kind([(folder / "m.symc").read_bytes()], load)


def _key(folder: Path) -> Path:
    path = folder / "key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def cache_entry() -> Kind:
    """An entry of the kernel cache; a damaged one must be made again."""
    from symc.codegen.cache import KernelCache

    folder = Path(tempfile.mkdtemp())
    cache = KernelCache(folder)
    content = bytes(range(256)) * 4
    cache.put("key", content, {"kernel": "k"})
    (path,) = folder.glob("*.kernel")
    original = path.read_bytes()

    def load(data: bytes) -> object:
        path.write_bytes(data)
        if cache.get("key") not in (content, None):
            raise AssertionError("the cache gave damaged object code")
        cache.put("key", content, {"kernel": "k"})
        if cache.get("key") != content:
            raise AssertionError("a damaged entry was not made again")
        return None

    return Kind([original], load)


KINDS = {"json": symbol_json, "params": params_file, "numpy": numpy_file, "symc": artifact_file, "cache": cache_entry}
if find_spec("safetensors"):
    KINDS["safetensors"] = safetensors_file


def fuzz(kind: str, count: int, seed: int) -> dict[str, object]:
    """Loads `count` mutations; returns counts, the slowest load and the failures."""
    from symc.core.errors import SymcError

    rng = random.Random(f"{kind} {seed}")
    chosen = KINDS[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for original in chosen.originals:
            chosen.load(original)
    refused, slowest, failures = 0, 0.0, []
    tracemalloc.start()
    for number in range(count):
        data = rng.choice(chosen.mutations)(rng.choice(chosen.originals), rng)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                chosen.load(data)
        except SymcError as e:
            refused += 1
            if not str(e).strip():
                failures.append(f"mutation {number}: an error without text")
        except Exception as e:
            failures.append(f"mutation {number}: {type(e).__name__}: {e}")
        spent = time.perf_counter() - start
        slowest = max(slowest, spent)
        allocated = tracemalloc.get_traced_memory()[1] - before
        if spent > LIMIT_S:
            failures.append(f"mutation {number}: {spent:.1f} s")
        if allocated > MEMORY_FACTOR * len(data) + (4 << 20):
            failures.append(f"mutation {number}: {allocated} bytes allocated for a file of {len(data)}")
    tracemalloc.stop()
    return {"kind": kind, "count": count, "refused": refused, "slowest_s": round(slowest, 3), "failures": failures}


def main(arguments: list[str] | None = None) -> int:
    """Runs every kind in its own process and prints a table; exit status 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(KINDS))
    parser.add_argument("--here", choices=sorted(KINDS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(fuzz(options.here, options.count, options.seed)))
        return 0
    failed = False
    for kind in [options.only] if options.only else KINDS:
        amount = ["--count", str(options.count), "--seed", str(options.seed)]
        command = [sys.executable, "-m", "tests.fuzz", "--here", kind, *amount]
        run = subprocess.run(command, capture_output=True, text=True, timeout=3600)
        if run.returncode:
            failed = True
            print(f"{kind:8} the process ended with status {run.returncode}\n{run.stderr[-2000:]}")
            continue
        result = json.loads(run.stdout.splitlines()[-1])
        failed |= bool(result["failures"])
        print(
            f"{kind:8} {result['count']} mutations, {result['refused']} refused, slowest {result['slowest_s']} s, "
            f"{len(result['failures'])} failures"
        )
        for text in result["failures"][:10]:
            print(f"         {text[:300]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
