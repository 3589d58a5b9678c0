"""Every form of symbol and parameter file; `python -m tests.conformance legacy --root ...` adds MXNet's own files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import symc as mx

from . import legacy
from .compare import Mismatch
from .golden import ROOT
from .suite import checks_of_legacy, expect_all_pass

CHECKS = list(checks_of_legacy(mx, ROOT))


@pytest.mark.parametrize("family", sorted({c.family for c in CHECKS}))
def test_family(family):
    expect_all_pass([c for c in CHECKS if c.family == family], mx)


def test_every_file_is_checked():
    names = {c.name for c in CHECKS}
    assert {f"params: {p.name}" for p in (ROOT / "legacy").glob("*.params")} <= names
    assert sum(c.family == "json" for c in CHECKS) == 31 and sum(c.family == "bytes" for c in CHECKS) >= 10


@pytest.mark.parametrize("change", ["arguments", "outputs", "attr_dict", "upgraded"])
def test_every_fact_of_a_variant_counts(change):
    variants = json.loads((ROOT / "legacy" / "json_variants.json").read_text())
    variant = next(v for v in variants if v["tag"] == "BatchNorm without aux, v0.8")
    with pytest.raises(Mismatch, match=change):
        legacy.check_variant(mx, {**variant, change: None})
    with pytest.raises(Mismatch, match="accepted"):
        legacy.check_variant(mx, {**variant, "ok": False, "error": "refused"})


def test_other_arrays_and_bytes_are_noticed(tmp_path):
    path = ROOT / "legacy" / "hand_v1.params"
    with pytest.raises(Mismatch, match="values"):
        legacy.check_arrays(mx, path, {"arg:w": legacy.GRID + 1})
    with pytest.raises(Mismatch, match="dtype"):
        legacy.check_arrays(mx, path, {"arg:w": legacy.GRID.astype("f8")})
    with pytest.raises(Mismatch, match="bytes"):
        legacy.check_bytes(mx, path)  # an older form: what is written is the current one


def test_upstream_files_are_checked_where_they_are(tmp_path):
    shutil.copytree(ROOT / "legacy", tmp_path / "legacy")
    (tmp_path / "legacy" / "save_000800.json").write_text(mx.sym.var("x").tojson())
    mx.nd.save(str(tmp_path / "legacy" / "legacy_ndarray.v0"), [mx.nd.array(np.arange(128))] * 6)
    found = {c.name: c for c in checks_of_legacy(mx, tmp_path)}
    found["params: legacy_ndarray.v0"].run()
    with pytest.raises(Mismatch, match="arguments"):
        found["json: save_000800.json"].run()
