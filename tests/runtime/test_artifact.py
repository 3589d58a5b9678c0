"""The .symc file: what is written comes back; whatever is changed is found; foreign code is not run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc import artifact
from symc.codegen.objects import ObjectStore
from symc.core.errors import ArgumentError, FormatError, SymcError, TrustError
from symc.runtime.artifact import (
    ALIGNMENT,
    GOLDEN,
    MANIFEST,
    SYMBOL,
    WEIGHTS,
    default_key_path,
    own_key,
    read_container,
    read_key,
    write_container,
)

SHAPES = {"data": (3, 5)}


def network():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=7, name="fc")
    net = mx.sym.Activation(net, act_type="relu", name="act")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def parameters():
    rng = np.random.default_rng(0)
    return {"fc_weight": mx.nd.array(rng.normal(size=(7, 5))), "fc_bias": mx.nd.array(rng.normal(size=7))}


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """A config directory of the test's own: nobody's key is read or made."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A saved model (path) and the key it is signed with (path)."""
    folder = tmp_path_factory.mktemp("artifact")
    key = folder / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    artifact.save(folder / "net.symc", network(), parameters(), {}, SHAPES, key=key)
    return folder / "net.symc", key


def changed(path: Path, target: Path, about=None, **parts: bytes | None) -> Path:
    """A copy whose manifest is right about parts that differ; None leaves a part out. Unsigned."""
    container = read_container(path)
    kept = {**container.parts, **{n.replace("__", "."): data for n, data in parts.items()}}
    facts = {k: v for k, v in container.manifest.items() if k not in ("format", "parts")}
    write_container(target, {**facts, **(about or {})}, {n: d for n, d in kept.items() if d is not None})
    return target


# -- what is written comes back -------------------------------------------------------------------------------------


def test_round_trip(original):
    path, key = original
    loaded = artifact.load(path, key=key)
    assert loaded.model.symbol.tojson() == network().tojson()
    for name, array in parameters().items():
        assert (loaded.model.arg_params[name].asnumpy() == array.asnumpy()).all()
    x = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    (seen,) = loaded.executor()(data=x)
    args = {**parameters(), "data": mx.nd.array(x), "softmax_label": mx.nd.zeros((3,))}
    (expected,) = network().bind(mx.cpu(), args, grad_req="null").forward()
    assert (seen.asnumpy() == expected.asnumpy()).all()


def test_any_zip_tool_reads_it_and_data_is_aligned(original):
    path, _ = original
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None
        names = z.namelist()
        assert names[:5] == [MANIFEST, "mac", SYMBOL, WEIGHTS, GOLDEN] and names[5].startswith("kernels/symc_")
        data = path.read_bytes()
        for info in z.infolist():
            name_length, extra_length = struct.unpack_from("<HH", data, info.header_offset + 26)
            start = info.header_offset + 30 + name_length + extra_length
            assert start % ALIGNMENT == 0
            assert data[start : start + info.file_size] == z.read(info)


def test_manifest_says_what_it_is(original):
    manifest = read_container(original[0]).manifest
    assert manifest["format"] == 2
    assert manifest["inputs"] == [{"name": "data", "shape": [3, 5], "dtype": "float32"}]
    assert manifest["outputs"] == [{"name": "softmax_output", "shape": [3, 7], "dtype": "float32"}]
    assert {"symc", "numba", "llvmlite"} <= set(manifest["made_by"])
    assert manifest["made_for"]["target"] in manifest["made_for"]["identity"]
    data = read_container(original[0]).parts[WEIGHTS]
    assert manifest["parts"][WEIGHTS] == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_verify_proves_and_reports(original):
    path, key = original
    result = artifact.verify(path, key=key)
    assert result.is_right
    assert "softmax_output float32 (3, 7): right" in str(result)
    assert "rtol 0.0001" in str(result) and "signed with" in str(result)


def test_float64(tmp_path):
    params = {n: a.astype("float64") for n, a in parameters().items()}
    made = artifact.save(tmp_path / "net.symc", network(), params, {}, SHAPES)
    assert made.manifest["outputs"][0]["dtype"] == "float64"
    assert artifact.verify(made.path).is_right


@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_other_dtypes(tmp_path, dtype):
    net = mx.sym.broadcast_mul(mx.sym.Variable("data"), mx.sym.Variable("w"))
    made = artifact.save(tmp_path / "net.symc", net, {"w": mx.nd.array([1, 2, 3, 4, 5], dtype=dtype)}, {}, SHAPES)
    assert made.manifest["inputs"][0]["dtype"] == made.manifest["outputs"][0]["dtype"] == dtype
    assert artifact.verify(made.path).is_right


def test_random_operators_replay(tmp_path):
    net = mx.sym.Dropout(mx.sym.Variable("data"), p=0.5, mode="always", name="drop")
    mx.random.seed(7)
    expected = mx.random.uniform(shape=(2, 3)).asnumpy()
    mx.random.seed(7)
    made = artifact.save(tmp_path / "net.symc", net, {}, {}, {"data": (4, 33)})
    assert (made.golden_outputs["drop_output"].asnumpy() == 0).any()
    assert artifact.verify(made.path).is_right
    # The program's own random numbers are not disturbed.
    np.testing.assert_array_equal(mx.random.uniform(shape=(2, 3)).asnumpy(), expected)


def test_saving_leaves_nothing_behind_when_it_fails(tmp_path):
    with pytest.raises(ArgumentError, match="fc_bias"):
        artifact.save(tmp_path / "net.symc", network(), {"fc_weight": parameters()["fc_weight"]}, {}, SHAPES)
    with pytest.raises(SymcError, match="writing"):
        write_container(tmp_path / "no" / "net.symc", {}, {SYMBOL: b"{}"})
    with pytest.raises(ArgumentError, match=r"'\.\./evil' is not a part"):
        write_container(tmp_path / "net.symc", {}, {"../evil": b""})
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".symc"] == []


# -- damage is found ------------------------------------------------------------------------------------------------


def refused(path: Path, match: str | None = None) -> str:
    with pytest.raises(FormatError, match=match) as caught:
        artifact.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_every_truncation(original, tmp_path):
    data = original[0].read_bytes()
    target = tmp_path / "cut.symc"
    for size in {*range(64), *range(0, len(data), 97), len(data) - 1, len(data) - 22}:
        target.write_bytes(data[:size])
        refused(target, "end of archive")


def test_bit_flips_anywhere(original, tmp_path):
    data = bytearray(original[0].read_bytes())
    target = tmp_path / "flipped.symc"
    rng = random.Random(0)
    headers = [*range(200), *range(len(data) - 1200, len(data))]
    for position in headers + [rng.randrange(len(data)) for _ in range(400)]:
        bit = 1 << rng.randrange(8)
        data[position] ^= bit
        target.write_bytes(data)
        refused(target)
        data[position] ^= bit


def test_bytes_that_belong_to_nothing(original, tmp_path):
    data = original[0].read_bytes()
    target = tmp_path / "more.symc"
    for text in (data + b"\0", b"\0" + data, data + data, data[:-22] + b"\0" + data[-22:]):
        target.write_bytes(text)
        refused(target)


def test_lying_sizes_cost_no_memory(original, tmp_path):
    data = original[0].read_bytes()
    end = len(data) - 22
    (start,) = struct.unpack_from("<I", data, end + 16)
    target = tmp_path / "liar.symc"
    for offset, layout in ((start + 20, "<II"), (start + 42, "<I"), (18, "<II"), (end + 12, "<I"), (end + 16, "<I")):
        lie = bytearray(data)
        struct.pack_into(layout, lie, offset, *[0xFFFFFFF0] * (len(layout) - 1))
        target.write_bytes(lie)
        refused(target)
    lie = bytearray(data)
    struct.pack_into("<HH", lie, end + 8, 0xFFFF, 0xFFFF)
    target.write_bytes(lie)
    refused(target, "65535 parts")


def rezipped(original: Path, target: Path, change) -> Path:
    """The same parts written by zipfile, after `change(list of (name, data))`."""
    with zipfile.ZipFile(original) as source:
        items = change([(n, source.read(n)) for n in source.namelist()])
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as z:
        warnings.simplefilter("ignore")  # zipfile dislikes names that appear twice
        for name, data in items:
            z.writestr(zipfile.ZipInfo(name), data)
    return target


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda items: items, "differs from what the directory says"),
        (lambda items: [*items, items[-1]], "appears twice"),
        (lambda items: [*items, ("../../etc/passwd", b"")], "not a part of a .symc file"),
        (lambda items: [*items, ("kernels/evil.so", b"")], "not a part of a .symc file"),
        (lambda items: [*items, ("kernels/symc_a/../b.o", b"")], "not a part of a .symc file"),
        (lambda items: items[::-1], "expected manifest.json"),
        (lambda items: items[1:], "expected manifest.json"),
        (lambda items: [], "0 parts"),
    ],
)
def test_zip_tricks(original, tmp_path, change, match):
    refused(rezipped(original[0], tmp_path / "trick.symc", change), match)


def test_compressed_parts_are_refused(original, tmp_path):
    target = tmp_path / "deflated.symc"
    with zipfile.ZipFile(original[0]) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as z:
        for name in source.namelist():
            z.writestr(name, source.read(name))
    refused(target)


def test_overlapping_parts(original, tmp_path):
    data = bytearray(original[0].read_bytes())
    (start,) = struct.unpack_from("<I", data, len(data) - 6)
    struct.pack_into("<I", data, start + 46 + len(MANIFEST) + 42, 0)  # the second part begins where the first does
    target = tmp_path / "overlap.symc"
    target.write_bytes(data)
    assert "mac: lies at 0" in refused(target)


@pytest.mark.parametrize(
    "manifest, match",
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "format None, expected 2"),
        (b'{"format": 99}', "format 99, expected 2; another version"),
        (b'{"format": 2, "parts": []}', "parts is list"),
        (b'{"format": 2, "parts": {"symbol.json": {}}}', "describes other parts than the file has: symbol.json"),
    ],
)
def test_manifest_damage(tmp_path, monkeypatch, manifest, match):
    target = tmp_path / "net.symc"
    with monkeypatch.context() as patch:
        patch.setattr("symc.runtime.artifact.json.dumps", lambda *_, **__: manifest.decode())
        write_container(target, {}, {})
    refused(target, match)


@pytest.mark.parametrize("part", [SYMBOL, WEIGHTS, GOLDEN])
def test_missing_parts(original, tmp_path, part):
    refused(changed(original[0], tmp_path / "net.symc", **{part.replace(".", "__"): None}), f"{part}: missing")


def test_parts_that_are_not_what_they_should_be(original, tmp_path):
    path, target = original[0], tmp_path / "net.symc"
    refused(changed(path, target, symbol__json=b"\xff"), "symbol.json: byte 0 is not UTF-8")
    refused(changed(path, target, symbol__json=b"{"), "symbol.json: not a symbol")
    refused(changed(path, target, weights__params=b"\0" * 100), "weights.params: .* magic number 0x0, expected 0x112")
    refused(changed(path, target, golden__params=b""), "golden.params")
    arrays = tmp_path / "odd.params"
    mx.nd.save(str(arrays), {"odd": mx.nd.zeros((1,))})
    refused(changed(path, target, weights__params=arrays.read_bytes()), "array 'odd', expected names .* arg:")
    refused(changed(path, target, golden__params=arrays.read_bytes()), "expected names that begin with in: or out:")


@pytest.mark.parametrize("inputs", [None, [], "data", [{"name": "data", "shape": [1 << 60, 5], "dtype": "float32"}]])
def test_manifest_and_golden_data_must_agree(original, tmp_path, inputs):
    refused(changed(original[0], tmp_path / "net.symc", {"inputs": inputs}), "golden.params: its inputs are")


def test_weights_that_do_not_fit_the_graph(original, tmp_path):
    arrays = tmp_path / "w.params"
    mx.nd.save(str(arrays), {"arg:fc_weight": mx.nd.zeros((1, 5)), "arg:fc_bias": mx.nd.zeros((7,))})
    loaded = artifact.load(changed(original[0], tmp_path / "net.symc", weights__params=arrays.read_bytes()))
    with pytest.raises(ArgumentError, match=r"fc_weight has shape \(1, 5\), expected \(7, 5\)"):
        loaded.executor()


def test_a_wrong_output_is_reported(original, tmp_path):
    golden = mx.nd.load_frombuffer(read_container(original[0]).parts[GOLDEN])
    golden["out:softmax_output"][1, 2] += 0.01
    arrays = tmp_path / "golden.params"
    mx.nd.save(str(arrays), golden)
    result = artifact.verify(changed(original[0], tmp_path / "net.symc", golden__params=arrays.read_bytes()))
    assert not result.is_right
    assert "WRONG; largest error 1.00e-02" in str(result) and "does NOT give the recorded outputs" in str(result)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SymcError, match="No such file"):
        artifact.load(tmp_path / "none.symc")


# -- whose code is run ----------------------------------------------------------------------------------------------


def test_foreign_object_code_is_not_used(original, monkeypatch):
    monkeypatch.setattr(ObjectStore, "preload", lambda *_: pytest.fail("foreign object code was used"))
    loaded = artifact.load(original[0])
    assert not loaded.objects and "no proof that you made it" in loaded.note
    assert artifact.verify(original[0]).is_right


def test_object_code_is_used_with_proof_or_on_demand(original):
    path, key = original
    assert artifact.load(path, key=key).objects
    assert artifact.load(path, trust=True).objects
    assert "which you said to trust" in artifact.load(path, trust=True).note


def test_nothing_is_compiled_where_object_code_is_used(original, tmp_path):
    """Neither the program's kernels nor the runner's functions: with an empty cache, too, numba is not imported."""
    path, key = original
    script = (
        "import sys; from symc import artifact; opened = artifact.load(sys.argv[1], key=sys.argv[2])\n"
        "opened.executor()(data=opened.golden_inputs['data']); print('numba' in sys.modules)"
    )
    env = {**os.environ, "SYMC_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", script, path, key]
    assert subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout == "False\n"


def test_own_key_is_made_private_and_used(tmp_path):
    made = artifact.save(tmp_path / "net.symc", network(), parameters(), {}, SHAPES)
    assert default_key_path().stat().st_mode & 0o777 == 0o600
    assert default_key_path().parent.stat().st_mode & 0o777 == 0o700
    assert made.objects and "signed with your key" in made.note
    assert own_key() == own_key()


def test_another_key_is_no_proof(original, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"x" * 32)
    other.chmod(0o600)
    with pytest.raises(TrustError, match="signed with another key; expected a MAC made with"):
        artifact.load(original[0], key=other)
    unsigned = changed(original[0], tmp_path / "net.symc")
    with pytest.raises(TrustError, match="not signed"):
        artifact.load(unsigned, key=original[1])
    assert artifact.load(original[0], key=other, trust=True).objects


def test_changed_code_with_a_right_manifest_loses_the_proof(original, tmp_path, monkeypatch):
    path, key = original
    container = read_container(path)
    kernel = next(n for n in container.parts if n.startswith("kernels/"))
    facts = {k: v for k, v in container.manifest.items() if k not in ("format", "parts")}
    target = tmp_path / "net.symc"
    write_container(target, facts, {**container.parts, kernel: b"\x90" * 64})
    assert not artifact.load(target).objects
    with monkeypatch.context() as patch:  # ... also with the MAC of the right file
        patch.setattr("symc.runtime.artifact._mac", lambda *_: container.mac.encode())
        write_container(target, facts, {**container.parts, kernel: b"\x90" * 64}, b"no key")
    assert read_container(target).mac == container.mac and container.is_signed_with(read_key(key))
    with pytest.raises(TrustError, match="signed with another key"):
        artifact.load(target, key=key)


def test_code_for_another_machine_is_compiled_anew(original, tmp_path):
    made_for = {**read_container(original[0]).manifest["made_for"], "identity": "other"}
    target = changed(original[0], tmp_path / "net.symc", {"made_for": made_for})
    loaded = artifact.load(target, trust=True)
    assert not loaded.objects and "another machine or by another version" in loaded.note
    assert artifact.verify(target, trust=True).is_right
    assert not artifact.load(changed(original[0], target, {"made_for": 3}), trust=True).objects


@pytest.mark.parametrize("mode, text", [(0o644, b"k" * 32), (0o600, b"short"), (None, b"")])
def test_unsafe_keys(tmp_path, mode, text):
    key = tmp_path / "key"
    if mode is not None:
        key.write_bytes(text)
        key.chmod(mode)
    with pytest.raises(TrustError, match=f"key {key}"):
        read_key(key)


@pytest.mark.parametrize("problem", ["mode", "short", "pipe", "folder"])
@pytest.mark.parametrize("is_signed", [False, True])
def test_an_unusable_key_of_ones_own_proves_nothing_but_loads(original, tmp_path, is_signed, problem):
    path, key = tmp_path / "net.symc", default_key_path()
    made = read_container(original[0])
    about = {k: v for k, v in made.manifest.items() if k not in ("format", "parts")}
    write_container(path, about, made.parts, own_key() if is_signed else None)
    key.parent.mkdir(parents=True, exist_ok=True)
    key.unlink(missing_ok=True)
    if problem == "pipe":
        os.mkfifo(key, 0o600)
    elif problem == "folder":
        key.mkdir()
    else:
        key.write_bytes(b"k" * (32 if problem == "mode" else 5))
        key.chmod(0o644 if problem == "mode" else 0o600)
    loaded = artifact.load(path)
    assert not loaded.objects and "compiled from the graph" in loaded.note
    assert (f"key {key}" in loaded.note) == is_signed
    assert artifact.verify(path).is_right and artifact.load(path, trust=True).objects
    with pytest.raises(TrustError, match=f"key {key}"):
        artifact.load(path, key=key)


def test_a_key_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "symc"

    def full_disk(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "urandom", full_disk)
        with pytest.raises(TrustError, match="No space left on device; give a key file"):
            own_key()
    assert list(folder.iterdir()) == []
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: own_key(), range(8)))
    assert len(keys) == 1 and list(folder.iterdir()) == [folder / "key"]


def test_nothing_is_unpickled(original, monkeypatch):
    import pickle

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *_, **__: pytest.fail("something was unpickled"))
    assert artifact.verify(original[0]).is_right
    assert json.loads(read_container(original[0]).manifest_bytes)
    assert os.path.getsize(original[0]) < 1 << 20
