"""`symc convert`: symbols of any age, formats of arrays, names; which of them the parameters of a MODEL may have."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import symc as mx

LEGACY = Path(__file__).parents[1] / "data" / "conformance" / "legacy"
HAS_SAFETENSORS = find_spec("safetensors") is not None
needs_safetensors = pytest.mark.skipif(not HAS_SAFETENSORS, reason="safetensors is not installed: symc[convert]")


def values(arrays):
    return {name: (a.asnumpy().tolist(), a.dtype, a.shape) for name, a in arrays.items()}


def test_an_old_symbol_becomes_a_current_one(read):
    variants = json.loads((LEGACY / "json_variants.json").read_text())
    old = next(v for v in variants if v["tag"] == "BatchNorm without aux, v0.8")
    Path("old.json").write_text(json.dumps(old["json"]))
    facts = read("convert", "old.json", "-o", "new.json")
    assert facts["n_nodes"] == len(old["upgraded"]["nodes"]) and facts["output"] == "new.json"
    assert json.loads(Path("new.json").read_text()) == old["upgraded"]
    assert Path("new.json").read_text() == mx.sym.load("old.json").tojson()


@pytest.mark.parametrize("name", ["hand_v0", "hand_v1", "hand_v2_gpu_ctx", "hand_v3_npshape"])
def test_old_parameters_become_current_ones(run, name):
    code, out, _ = run("convert", str(LEGACY / f"{name}.params"), "-o", "new.params")
    assert code == 0 and out.startswith("new.params: 1 arrays, 109 B")
    assert Path("new.params").read_bytes() == (LEGACY / "hand_v2.params").read_bytes()


@pytest.mark.parametrize("suffix", [pytest.param(".safetensors", marks=needs_safetensors), ".npz"])
def test_there_and_back_has_the_same_bytes(read, suffix):
    source = LEGACY / "dtypes.params"
    facts = read("convert", str(source), "-o", f"x{suffix}")
    assert facts["format"] == suffix and facts["names"] == list(mx.nd.load(str(source)))
    read("convert", f"x{suffix}", "-o", "back.params")
    back = mx.nd.load("back.params")
    assert values(back) == values(mx.nd.load(str(source)))
    if suffix == ".npz":  # safetensors sorts its arrays
        assert Path("back.params").read_bytes() == source.read_bytes()
        assert set(np.load("x.npz").files) == set(back)


@needs_safetensors
def test_the_package_reads_what_is_written_and_the_other_way_round(read):
    from safetensors.numpy import load_file, save_file

    weight = np.arange(6, dtype="f4").reshape(2, 3)
    mx.nd.save("a.params", {"arg:w": mx.nd.array(weight), "s": mx.nd.array(np.float64(3), dtype="f8")})
    read("convert", "a.params", "-o", "a.safetensors")
    found = load_file("a.safetensors")
    np.testing.assert_array_equal(found["arg:w"], weight)
    assert found["s"].shape == () and found["s"].dtype == np.float64
    save_file({"w": weight, "i": np.arange(3, dtype="i2")}, "b.safetensors")
    read("convert", "b.safetensors", "-o", "b.params")
    np.testing.assert_array_equal(mx.nd.load("b.params")["w"].asnumpy(), weight)
    assert mx.nd.load("b.params")["i"].dtype == np.int16


def safetensors_file(dtype, shape, data):
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@needs_safetensors
def test_bfloat16_is_widened(read):
    Path("b.safetensors").write_bytes(safetensors_file("BF16", [3], np.array([0x3F80, 0xC020, 0], "<u2").tobytes()))
    read("convert", "b.safetensors", "-o", "b.params")
    array = mx.nd.load("b.params")["a"]
    assert array.dtype == np.float32 and array.asnumpy().tolist() == [1, -2.5, 0]


def test_arrays_without_names_are_numbered(read):
    read("convert", str(LEGACY / "list_no_names.params"), "-o", "list.npz")
    assert set(np.load("list.npz").files) == {"0", "1"}
    assert read("convert", str(LEGACY / "list_no_names.params"), "-o", "list.params")["names"] is None
    assert Path("list.params").read_bytes() == (LEGACY / "list_no_names.params").read_bytes()


def test_names_of_module_and_gluon(read, run, checkpoint):
    original = mx.nd.load("net-0003.params")
    bare = read("convert", "net-0003.params", "-o", "gluon.params", "--names", "gluon")["names"]
    assert bare == [n.partition(":")[2] for n in original]
    back = read("convert", "gluon.params", "-o", "back.params", "--names", "module", "--symbol", "net-symbol.json")[
        "names"
    ]
    assert sorted(back) == sorted(original) and "aux:bn_moving_mean" in back and "arg:bn_gamma" in back
    assert values(mx.nd.load("back.params")) == {n: values(original)[n] for n in back}
    mx.nd.save("wrong.params", {n.replace("aux:", "arg:"): a for n, a in original.items()})
    names = ("--names", "module", "--symbol", "net-symbol.json")
    assert sorted(read("convert", "wrong.params", "-o", "right.params", *names)["names"]) == sorted(original)
    code, _, err = run("convert", "gluon.params", "-o", "x.params", "--names", "module")
    assert code == 2 and "give --symbol FILE" in err
    mx.nd.save("more.params", {**original, "arg:head": mx.nd.ones(2)})
    code, _, err = run("convert", "more.params", "-o", "m.params", *names)
    assert code == 0 and "warning: not in net-symbol.json: head" in err


def test_a_model_may_have_parameters_of_every_flavour(read, run, checkpoint):
    want = read("run", "net", "--shape", "data=1,6")["outputs"]
    for target, names in (("gluon.params", "gluon"), ("p.npz", "module"), ("p.safetensors", "gluon")):
        if target == "p.safetensors" and not HAS_SAFETENSORS:
            continue
        read("convert", "net-0003.params", "-o", target, "--names", names)
        assert read("run", "net-symbol.json", "--params", target, "--shape", "data=1,6")["outputs"] == want
    mx.nd.save("block.params", {"0.weight": mx.nd.ones((4, 6)), "1.running_mean": mx.nd.ones(4)})
    for command in (
        ("run", "net-symbol.json", "--params", "block.params", "--shape", "data=1,6"),
        ("convert", "block.params", "-o", "x.params", "--names", "module", "--symbol", "net-symbol.json"),
    ):
        code, _, err = run(*command)
        assert code == 1 and "structural names of Gluon's save_parameters (0.weight, 1.running_mean)" in err
        assert "net.export" in err


def test_nothing_is_overwritten_unasked_and_nothing_half_written(run, read, checkpoint, monkeypatch):
    before = Path("net-0003.params").read_bytes()
    code, _, err = run("convert", "net-symbol.json", "-o", "net-symbol.json")
    assert code == 2 and "net-symbol.json exists: give --force" in err
    read("convert", "net-0003.params", "-o", "net-0003.params", "--force")
    assert Path("net-0003.params").read_bytes() == before

    def fails(path, *_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("symc.cli.convert.save_arrays", fails)
    code, _, err = run("convert", "net-0003.params", "-o", "net-0003.params", "--force")
    assert code == 1 and "writing net-0003.params: No space left on device" in err
    assert Path("net-0003.params").read_bytes() == before
    assert not [p for p in Path().iterdir() if p.name.startswith(".")]


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    code, _, err = run("convert", str(LEGACY / "hand_v2.params"), "-o", "x.safetensors")
    assert code == 1 and "pip install safetensors" in err and not Path("x.safetensors").exists()


FAULTS = [
    (("no.params", "-o", "x.params"), 2, "no.params does not exist"),
    (("net-symbol.json", "-o", "x.params"), 2, "a symbol stays a .json file"),
    (("net-0003.params", "-o", "x.json"), 2, "arrays cannot become one"),
    (("net-symbol.json", "-o", "x.json", "--names", "gluon"), 2, "leave out --names and --symbol"),
    (("net-0003.params", "-o", "x.params", "--symbol", "net-symbol.json"), 2, "it goes with --names module"),
    (("net-0003.params",), 2, "-o/--output"),
    (("text.params", "-o", "x.params"), 1, "text.params: Invalid NDArray file format"),
    (("text.npz", "-o", "x.params"), 1, "text.npz: not a NumPy file of numbers"),
    (("lying.npz", "-o", "x.params"), 1, "bytes of values in"),
    (("list.params", "-o", "x.params", "--names", "gluon"), 1, "2 arrays without names"),
    (("both.params", "-o", "x.params", "--names", "gluon"), 1, "both arg:w and aux:w"),
    (("other.params", "-o", "x.params", "--names", "gluon"), 1, "array 'opt:w', expected arg:<name>"),
    (("complex.npz", "-o", "x.params"), 1, "complex.npz: unknown dtype"),
    (("net-0003.params", "-o", "no/such/x.params"), 1, "writing no/such/x.params: No such file"),
]


@pytest.mark.parametrize("arguments, code, message", FAULTS, ids=lambda a: " ".join(a) if isinstance(a, tuple) else "")
def test_faults(run, checkpoint, arguments, code, message):
    for name in ("text.params", "text.npz"):
        Path(name).write_text("neither")
    Path("list.params").write_bytes((LEGACY / "list_no_names.params").read_bytes())
    mx.nd.save("both.params", {"arg:w": mx.nd.ones(1), "aux:w": mx.nd.ones(1)})
    mx.nd.save("other.params", {"opt:w": mx.nd.ones(1)})
    np.savez("complex.npz", a=np.ones(2, complex))
    with zipfile.ZipFile("lying.npz", "w") as archive, archive.open("a.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
        np.lib.format.write_array_header_1_0(member, header)
    got, out, err = run("convert", *arguments)
    assert got == code and message in err and out == "" and err.count("\n") == 1


@needs_safetensors
@pytest.mark.parametrize(
    "data, message",
    [
        (b"text", "not a safetensors file"),
        (safetensors_file("F8_E4M3", [1], b"1"), "has dtype F8_E4M3; expected one of F64"),
        (safetensors_file("F32", [1 << 40], b""), "not a safetensors file"),
    ],
)
def test_damaged_safetensors(run, data, message):
    Path("x.safetensors").write_bytes(data)
    code, _, err = run("convert", "x.safetensors", "-o", "x.params")
    assert code == 1 and message in err and "x.safetensors" in err


def test_a_header_longer_than_the_file_is_not_allocated(run):
    Path("x.npz").write_bytes(b"\x93NUMPY\x03\x00" + struct.pack("<I", 1 << 31) + b"{}")
    code, _, err = run("convert", "x.npz", "-o", "x.params")
    assert code == 1 and "x.npz: not a NumPy file of numbers: a header of 2147483648 bytes in 14 bytes" in err
