"""Files of every age: symbol JSON since 0.8, .params since V0, and equal bytes after a round trip.

    legacy/json_variants.json     31 forms of symbol files, each with what MXNet 1.9.1 upgraded it to, or its error
    legacy/*.params               one array by hand for each version of the format; dtypes and sparse arrays by MXNet
    legacy/upstream.json          what MXNet says about files of its own tests, which are read where `root` has them

MXNet itself fails three of these checks: it refuses unknown fields and V3 where symc reads them.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .compare import Mismatch, expect_equal
from .golden import ROOT

# MXNet refuses them; a reader that only ignores what it does not know reads more files.
TOLERATED = {"extra top-level key", "extra node key"}
GRID = np.arange(6, dtype="f4").reshape(2, 3)
BY_HAND = {f"hand_{v}.params": {"arg:w": GRID} for v in ("v0", "v1", "v2", "v2_gpu_ctx", "v3_npshape")}
UNNAMED = {"list_no_names.params": [GRID, np.ones(1, "f4")], "legacy_ndarray.v0": [np.arange(128, dtype="f4")] * 6}
# In the form MXNet writes today and on the CPU: what is read and written again has the same bytes.
CURRENT = ("dtypes.params", "hand_v2.params", "list_no_names.params", "scalar1.params")


def parts(mx: Any, root: pathlib.Path) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Every check, as (family, name, function)."""
    folder = root / "legacy"
    for variant in json.loads((folder / "json_variants.json").read_text()):
        yield "json", f"json: {variant['tag']}", functools.partial(check_variant, mx, variant)
    for fact in json.loads((ROOT / "legacy" / "upstream.json").read_text()):
        if (folder / fact["file"]).exists():
            yield "json", f"json: {fact['file']}", functools.partial(check_upstream, mx, folder / fact["file"], fact)
    for name, arrays in expected_arrays(folder).items():
        yield "params", f"params: {name}", functools.partial(check_arrays, mx, folder / name, arrays)
    rest = [p for f, end in (("nets", "*.params"), ("models", "*/*.params*")) for p in sorted((root / f).glob(end))]
    for path in [*(folder / name for name in CURRENT), *rest]:
        yield "bytes", f"bytes: {path.name}", functools.partial(check_bytes, mx, path)


def expected_arrays(folder: pathlib.Path) -> dict[str, Any]:
    """What each parameter file of the folder holds; sparse arrays as dense ones."""
    found: dict[str, Any] = {**BY_HAND, **UNNAMED, "scalar1.params": {"a": np.array([7], "f4")}}
    for kind in ("dtypes", "sparse"):
        found[f"{kind}.params"] = dict(np.load(folder / f"{kind}_expected.npz"))
    return {name: arrays for name, arrays in found.items() if (folder / name).exists()}


def check_variant(mx: Any, variant: dict[str, Any]) -> None:
    """One form of symbol file: the same lists, attributes and upgraded JSON, or an error where MXNet has one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of unknown fields, of a newer version
            symbol = mx.sym.load_json(json.dumps(variant["json"]))
    except mx.base.MXNetError as error:
        if variant["ok"] or variant["tag"] in TOLERATED:
            raise Mismatch(f"refused: {error}") from None
        return
    if variant["tag"] in TOLERATED:
        expect_equal("outputs", symbol.list_outputs(), ["fc_output"])
        return
    if not variant["ok"]:
        raise Mismatch(f"accepted; MXNet: {variant['error'][:80]}")
    check_facts(symbol, variant)
    expect_equal("upgraded", json.loads(symbol.tojson()), variant["upgraded"])


def check_upstream(mx: Any, path: pathlib.Path, fact: dict[str, Any]) -> None:
    """A symbol file of MXNet's tests: lists, attributes, and the upgraded JSON byte for byte."""
    symbol = mx.sym.load(str(path))
    check_facts(symbol, fact)
    expect_equal("digest of the upgraded JSON", hashlib.sha256(symbol.tojson().encode()).hexdigest(), fact["sha256"])


def check_facts(symbol: Any, fact: dict[str, Any]) -> None:
    """Lists and attributes."""
    expect_equal("arguments", symbol.list_arguments(), fact["arguments"])
    expect_equal("aux", symbol.list_auxiliary_states(), fact["aux"])
    expect_equal("outputs", symbol.list_outputs(), fact["outputs"])
    expect_equal("attr_dict", symbol.attr_dict(), fact["attr_dict"])


def check_arrays(mx: Any, path: pathlib.Path, want: Any) -> None:
    """The arrays of a file, from the file and from memory; dtypes and values must be equal."""
    for loaded in (mx.nd.load(str(path)), mx.nd.load_frombuffer(path.read_bytes())):
        expect_equal("kind", type(loaded), type(want))
        expect_equal("names", *(list(a) if isinstance(a, dict) else len(a) for a in (loaded, want)))
        for key in want if isinstance(want, dict) else range(len(want)):
            got = loaded[key].asnumpy()
            expect_equal(f"dtype and shape of {key}", (got.dtype, got.shape), (want[key].dtype, want[key].shape))
            if not np.array_equal(got, want[key]):
                raise Mismatch(f"{key}: values differ")


def check_bytes(mx: Any, path: pathlib.Path) -> None:
    """Loading and saving gives the same bytes."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    with tempfile.NamedTemporaryFile(suffix=".params") as copy:
        mx.nd.save(copy.name, mx.nd.load_frombuffer(raw))
        if pathlib.Path(copy.name).read_bytes() != raw:
            raise Mismatch("the bytes differ after a round trip")
