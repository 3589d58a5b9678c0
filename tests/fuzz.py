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
from collections.abc import Callable
from pathlib import Path

import numpy as np

LIMIT_S = 2.0
MEMORY_FACTOR = 64  # bytes allocated for each byte of the file, plus a fixed megabyte


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One random damage: truncation, flipped bits, overwritten, inserted, removed or repeated bytes."""
    kind = rng.randrange(6)
    at = rng.randrange(len(data))
    length = min(rng.choice((1, 2, 4, 8, 64)), len(data) - at)
    if kind == 0:
        return data[:at]
    if kind == 1:
        flipped = bytearray(data)
        for _ in range(rng.randrange(1, 8)):
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 2:
        return data[:at] + rng.randbytes(length) + data[at + length :]
    if kind == 3:
        return data[:at] + rng.choice((rng.randbytes(length), b"\xff" * length, b"[" * length)) + data[at:]
    if kind == 4:
        return data[:at] + data[at + length :]
    return data[:at] + data[at : at + length] * rng.randrange(2, 50) + data[at + length :]


def symbol_json() -> tuple[bytes, Callable[[bytes], object]]:
    """A symbol's JSON and its reader."""
    import symc as mx
    from symc import models

    return models.get("lenet").symbol.tojson().encode(), lambda data: mx.sym.load_json(data.decode("utf-8", "replace"))


def params_file() -> tuple[bytes, Callable[[bytes], object]]:
    """A .params file of several dtypes and its reader."""
    import symc as mx

    dtypes = ("f4", "f8", "i4", "u1")
    arrays = {f"arg:a{k}": mx.nd.array(np.arange(24).reshape(2, 3, 4), dtype=d) for k, d in enumerate(dtypes)}
    with tempfile.NamedTemporaryFile(suffix=".params") as file:
        mx.nd.save(file.name, arrays)
        return Path(file.name).read_bytes(), mx.nd.load_frombuffer


def artifact_file() -> tuple[bytes, Callable[[bytes], object]]:
    """A .symc file and its reader; each mutation is written to a file of its own."""
    from symc import artifact, models

    folder = Path(tempfile.mkdtemp())
    model = models.get("mlp").with_seed(0)
    artifact.save(folder / "m.symc", model.symbol, model.arg_params, model.aux_params, model.shapes, key=_key(folder))

    def load(data: bytes) -> object:
        (folder / "n.symc").write_bytes(data)
        return artifact.load(folder / "n.symc", trust=True)

    return (folder / "m.symc").read_bytes(), load


def _key(folder: Path) -> Path:
    path = folder / "key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def cache_entry() -> tuple[bytes, Callable[[bytes], object]]:
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
        if cache.obtain("key", lambda: content, {"kernel": "k"}) != content:
            raise AssertionError("the cache gave damaged object code")
        return None

    return original, load


KINDS = {"json": symbol_json, "params": params_file, "symc": artifact_file, "cache": cache_entry}


def fuzz(kind: str, count: int, seed: int) -> dict[str, object]:
    """Loads `count` mutations; returns counts, the slowest load and the failures."""
    from symc.core.errors import SymcError

    rng = random.Random(f"{kind} {seed}")
    original, load = KINDS[kind]()
    load(original)
    refused, slowest, failures = 0, 0.0, []
    tracemalloc.start()
    for number in range(count):
        data = mutate(original, rng)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(data)
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
