"""The command line: what each verb prints, as text and as JSON; exit codes; errors without tracebacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc.cli.main import VERBS
from symc.cli.outputs import _unique

FILES = ("net-symbol.json", "--params", "net-0003.params")


# -- every verb -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0 and f"examples:\n  symc {verb}" in out and "--json" in out


def test_help_of_all(run):
    code, out, _ = run("--help")
    assert code == 0 and "example: symc run resnet-18" in out
    assert all(f"  {verb} " in out and text in out for verb, text in VERBS.items())


def test_it_starts_as_a_module():
    done = subprocess.run([sys.executable, "-m", "symc", "ops", "relu", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["name"] == "relu", done.stderr


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and "numba 0." in out and "symc " in out


def test_the_way_of_a_model(run, read, checkpoint, tmp_path):
    x = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    np.save("x.npy", x)
    made = read("compile", *FILES, "--shape", "data=2,6", "-o", "m.symc")
    assert run("run", "m.symc", "--seed", "1")[0] == 2
    assert made["file"] == "m.symc" and made["n_kernels"] >= 1
    assert made["size_bytes"] == Path("m.symc").stat().st_size
    proved = read("verify", "m.symc")
    assert proved["is_right"] and "signed with your key" in proved["kernels"]
    _, out, _ = run("compile", *FILES, "--shape", "data=2,6", "-o", "of two words.symc")
    assert out.endswith("next: symc verify 'of two words.symc'\n")
    for model in (("m.symc",), FILES, ("net", "--epoch", "3"), ("net",)):
        done = read("run", *model, "--input", "data=x.npy", "--save", "out", "--force")
        assert done["saved"] == ["out/softmax_output.npy"] and done["random_inputs"] == []
        _, args, aux = mx.model.load_checkpoint("net", 3)
        everything = {**args, "data": mx.nd.array(x), "softmax_label": mx.nd.zeros((2,))}
        net = mx.sym.load("net-symbol.json")
        (expected,) = net.bind(mx.cpu(), everything, grad_req="null", aux_states=aux).forward()
        np.testing.assert_allclose(np.load("out/softmax_output.npy"), expected.asnumpy(), rtol=1e-6)
        best = done["outputs"][0]["top"][0]
        assert best["class"] == int(expected.asnumpy()[0].argmax())
    assert read("run", "net", "--input", "data=x.npy", "--save", "all.npz")["saved"] == ["all.npz"]
    with np.load("all.npz") as found:
        np.testing.assert_array_equal(found["softmax_output"], np.load("out/softmax_output.npy"))
    assert run("run", "net", "--input", "data=x.npy", "--save", "all.npz")[0] == 2  # it exists


def test_every_output_has_a_file_whatever_it_is_called(read):
    file = mx.sym.Variable("file", shape=(2,))
    named = [mx.sym.exp(file, name="a/b"), mx.sym.relu(file, name="a_b"), mx.sym.sin(file, name="a_b_output_1")]
    mx.sym.Group([file, *named]).save("g-symbol.json")
    np.save("x.npy", np.array([0, 1], np.float32))
    expected = {"file": [0, 1], "a/b_output": [1, np.e], "a_b_output": [0, 1], "a_b_output_1_output": np.sin([0, 1])}
    command = ("run", "g-symbol.json", "--input", "file=x.npy", "--save")
    saved = read(*command, "out")["saved"]
    assert saved == [f"out/{n}.npy" for n in ("file", "a_b_output_1", "a_b_output_2", "a_b_output_1_output")]
    for path, value in zip(saved, expected.values()):
        np.testing.assert_allclose(np.load(path), value, rtol=1e-6)
    read(*command, "all.npz")
    with np.load("all.npz") as found:
        assert found.files == [*expected]


def test_outputs_of_equal_names_are_numbered_until_all_differ():
    assert _unique(["a", "a", "b"]) == ["a_0", "a_1", "b"]
    assert _unique(["a", "a", "a_0"]) == ["a_0_0", "a_1", "a_0_2"]


def test_a_model_without_parameters_needs_none(run, read):
    mx.sym.relu(mx.sym.Variable("data")).save("bare-symbol.json")
    np.save("x.npy", np.array([[-1, 2]], np.float32))
    for given in (("bare-symbol.json",), ("bare",)):
        assert read("run", *given, "--input", "data=x.npy")["outputs"][0]["shape"] == [1, 2]
    assert run("compile", "bare-symbol.json", "--shape", "data=1,2", "-o", "bare.symc")[0] == 0
    assert run("verify", "bare.symc")[0] == 0
    mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2).save("full-symbol.json")
    assert run("run", "full-symbol.json", "--input", "data=x.npy")[0] == 2


def test_npz_inputs_and_other_batch(read, checkpoint):
    np.savez("all.npz", data=np.ones((5, 6), np.float32))
    assert read("run", *FILES, "--input", "all.npz")["outputs"][0]["shape"] == [5, 4]
    assert read("run", "net", "--shape", "data=1,6", "--batch", "3")["outputs"][0]["shape"] == [3, 4]


def test_random_inputs_are_seeded(read):
    one, again, other = (read("run", "mlp", "--input-seed", s)["outputs"] for s in "001")
    assert one == again != other


def test_run_text(run):
    code, out, _ = run("run", "mlp", "--top", "3")
    lines = out.splitlines()
    assert code == 0 and lines[0] == "weights: random, seed 0" and lines[1] == "input data: random, seed 0"
    assert lines[2] == "softmax_output: 1x10 float32" and len(lines) == 6


def test_a_model_with_operators_that_symc_lacks_can_be_looked_at(run, read):
    node = {"op": "Frobnicate", "name": "f", "attrs": {"depth": "3"}, "inputs": [[0, 0, 0]]}
    data = {"op": "null", "name": "data", "inputs": []}
    Path("u-symbol.json").write_text(json.dumps({"nodes": [data, node], "arg_nodes": [0], "heads": [[1, 0, 0]]}))
    assert read("inspect", "u-symbol.json")["absent"] == {"Frobnicate": 1}
    assert "Frobnicate (symc lacks it)" in run("inspect", "u-symbol.json", "--shape", "data=1,2")[1]
    assert run("viz", "u-symbol.json", "-o", "u.svg")[0] == 0 and "symc lacks" in Path("u.svg").read_text()
    assert run("convert", "u-symbol.json", "-o", "v-symbol.json")[0] == 0
    assert "Frobnicate" in Path("v-symbol.json").read_text()


def test_an_embedding_has_no_classes(run, read):
    mx.sym.FullyConnected(mx.sym.Variable("x", shape=(3, 4)), num_hidden=5, name="e").save("e-symbol.json")
    (found,) = read("run", "e-symbol.json", "--seed", "0")["outputs"]
    assert "top" not in found and found["min"] < found["mean"] < found["max"]
    assert "class" not in run("run", "e-symbol.json", "--seed", "0")[1]


@pytest.mark.parametrize("operator", ["softmax", "log_softmax"])
def test_every_sample_of_a_batch_is_told(run, read, operator):
    x = mx.sym.Variable("x", shape=(3, 4))
    getattr(mx.sym, operator)(x, name="p").save("p-symbol.json")
    numbers = np.random.default_rng(0).normal(size=(3, 4)).astype("f4")
    np.save("x.npy", numbers)
    command = ("run", "p-symbol.json", "--seed", "0", "--input", "x=x.npy", "--top", "2")
    top = read(*command)["outputs"][0]["top"]
    best = np.argsort(-numbers, axis=1)[:, :2]
    assert [(t["row"], t["class"]) for t in top] == [(row, k) for row in range(3) for k in best[row]]
    lines = run(*command)[1].splitlines()
    assert [line.split(":")[0] for line in lines[-3:]] == ["  sample 0", "  sample 1", "  sample 2"]
    assert all(f"class {best[row, 0]} " in lines[row - 3] for row in range(3))


@pytest.mark.parametrize(
    "command, path",
    [
        ("compile mlp -o m.symc", "m.symc"),
        ("compile mlp", "mlp.symc"),
        ("viz mlp -o m.svg", "m.svg"),
        ("viz mlp", "mlp.html"),
        ("bench mlp --runs 1 --trace t.json", "t.json"),
        ("convert net-0003.params -o new.npz", "new.npz"),
        ("convert net-symbol.json -o new.json", "new.json"),
        ("run mlp --save out", "out/softmax_output.npy"),
        ("run net --input data=in --save out", "out/x/softmax_output.npy"),
    ],
)
def test_nothing_is_overwritten_without_force(run, checkpoint, command, path):
    Path("in").mkdir()
    np.save("in/x.npy", np.zeros((1, 6), "f4"))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("mine")
    code, _, err = run(*command.split())
    assert (code, target.read_text()) == (2, "mine") and f"{path} exists: give --force to overwrite" in err
    assert run(*command.split(), "--force")[0] == 0
    assert target.read_bytes() != b"mine"


@pytest.mark.parametrize("command", ["compile mlp -o", "viz mlp -o", "bench mlp --trace", "convert net-0003.params -o"])
def test_no_file_is_called_minus(run, checkpoint, command):
    code, _, err = run(*command.split(), "-")
    assert code == 2 and "-: expected the name of a file" in err and not Path("-").exists()


@pytest.mark.parametrize("name", ["x.onnx", "x.h5", "x", "x.params.gz", "x.pt"])
def test_only_formats_that_symc_knows_are_written(run, checkpoint, name):
    code, _, err = run("convert", "net-0003.params", "-o", name)
    assert code == 2 and "arrays become .params, .safetensors or .npz" in err and not Path(name).exists()


def test_outputs_without_classes_show_their_range(run):
    mx.sym.exp(mx.sym.Variable("x", shape=(2, 3, 4)), name="e").save("e-symbol.json")
    code, out, _ = run("run", "e-symbol.json", "--seed", "0")
    assert code == 0 and "e_output: 2x3x4 float32, " in out and ", mean " in out


def test_inspect_a_built_in_network(read, run):
    facts = read("inspect", "lenet")
    assert facts["n_parameters"] == 431080 and facts["operators"]["Convolution"] == 2
    assert facts["inputs"] == [{"name": "data", "shape": [1, 1, 28, 28]}] and facts["labels"] == ["softmax_label"]
    assert facts["layers"][0] == {
        "name": "convolution0", "operator": "Convolution", "output_shape": [1, 20, 24, 24], "n_parameters": 520,
    }  # fmt: skip
    assert facts["flops"] > 4e6 and facts["memory"]["planned_bytes"] <= facts["memory"]["naive_bytes"]
    code, out, _ = run("inspect", "lenet")
    assert code == 0
    for text in ("convolution1     Convolution     1x50x8x8        25,050", "MFLOP", "lower bound", "431,080"):
        assert text in out


def test_inspect_without_shapes_says_what_is_missing(run, read, checkpoint):
    code, out, _ = run("inspect", *FILES)
    assert code == 0 and "give --shape data=N,C,H,W to see shapes" in out
    assert read("inspect", *FILES)["n_parameters"] == 4 * 6 + 4 + 4 + 4
    assert "flops" not in read("inspect", *FILES)
    assert read("inspect", "net-symbol.json")["weights"] is None
    assert read("inspect", *FILES, "--shape", "data=2,6")["outputs"][0]["shape"] == [2, 4]


def test_inspect_does_not_compile(run, monkeypatch):
    monkeypatch.setattr("symc.codegen.cpu.backend.CpuBackend.build", lambda *_: pytest.fail("compiled"))
    assert run("inspect", "mlp")[0] == 0


def test_bench(run, read):
    facts = read("bench", "mlp", "--threads", "1", "--runs", "7", "--batch", "2", "--trace", "t.json")
    assert facts["n_runs"] == 7 and facts["threads"] == 1 and facts["shapes"] == {"data": [2, 1, 28, 28]}
    assert 0 < facts["p10_s"] <= facts["median_s"] <= facts["p90_s"]
    assert facts["items_per_s"] == pytest.approx(2 / facts["median_s"])
    assert json.loads(Path("t.json").read_text())["traceEvents"]
    code, out, _ = run("bench", "mlp", "--threads", "1", "--runs", "3", "--steps", "2")
    assert code == 0 and "1 thread: median " in out and "GFLOP/s" in out and "2 shorter ones not shown" in out


def test_ops(run, read):
    families = read("ops")["families"]
    assert "Convolution" in families["convolution"]
    assert read("ops")["n_operators"] == sum(map(len, families.values()))
    facts = read("ops", "Convolution")
    assert facts["inputs"] == ["data", "weight", "bias"]
    assert facts["signature"].startswith("mx.sym.Convolution(data=None, weight=None")
    kernel, *_ = facts["parameters"]
    assert kernel["name"] == "kernel" and kernel["is_required"] and kernel["doc"]
    assert read("ops", "pooling")["operators"] == families["pooling"]
    assert "num_filter : int" in run("ops", "Convolution")[1]
    assert read("ops", "Concat")["inputs"] == ["any number, counted by num_args"]


def test_cache(read, monkeypatch, tmp_path):
    from symc.codegen.cache import KernelCache

    cache = KernelCache(tmp_path / "cache")
    monkeypatch.setattr("symc.codegen.cache.kernel_cache", lambda: cache)
    cache.put("key", b"object", {})
    assert read("cache", "info")["n_entries"] == 1
    assert read("cache", "clear")["n_removed"] == 1
    assert read("cache", "info") == {**read("cache", "info"), "n_entries": 0, "directory": str(tmp_path / "cache")}


# -- as a process ---------------------------------------------------------------------------------------------------


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m symc ops --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "{" and done.stderr == "" and done.returncode in (0, 141)


def test_help_is_quick_and_imports_no_compiler():
    script = "import sys; from symc.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    script += "print([m for m in ('numba', 'llvmlite', 'networkx', 'numpy', 'symc.ops') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- numbers beyond any machine -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", ["0", "-1", "300", "9" * 30])
def test_threads_of_the_environment_out_of_range(run, monkeypatch, n_threads):
    monkeypatch.setenv("SYMC_NUM_THREADS", n_threads)
    code, out, err = run("run", "mlp")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert f"SYMC_NUM_THREADS='{n_threads}': expected a number from 1 to 256" in err


def test_inspecting_extents_that_no_memory_holds(read):
    assert read("inspect", "mlp", "--batch", "1000000007")["outputs"][0]["shape"] == [1000000007, 10]
    facts = read("inspect", "resnet-18", "--shape", "data=1,3,100000,100000")
    assert facts["memory"]["planned_bytes"] > 1 << 39


OWN = """
import symc as mx
from own_numbers import FACTOR


class Scale(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        out_data[0][:] = in_data[0] * FACTOR


@mx.operator.register("scale_of_tests")
class ScaleProp(mx.operator.CustomOpProp):
    def create_operator(self, ctx, shapes, dtypes):
        return Scale()
"""


def test_operators_of_ones_own_come_by_import_alone(run, read, tmp_path, monkeypatch):
    """A model file never brings Python code; an artifact says which operators it needs."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "own_ops.py").write_text(OWN)
    (tmp_path / "own_numbers.py").write_text("FACTOR = 3")
    text = mx.sym.Pooling(mx.sym.Variable("data"), kernel=(1, 1), name="scaled").tojson()
    Path("m-symbol.json").write_text(
        text.replace('"op": "Pooling"', '"op": "Custom"').replace('"kernel": "(1, 1)"', '"op_type": "scale_of_tests"')
    )
    np.save("x.npy", np.ones((1, 1, 2, 2), np.float32))
    words = ("run", "m-symbol.json", "--input", "data=x.npy")
    code, _, err = run(*words)
    assert code == 1 and "Custom (op_type scale_of_tests): 1 node (scaled)" in err and "--import FILE.py" in err
    assert read(*words, "--import", "own_ops.py")["outputs"][0]["mean"] == 3
    read("compile", "m-symbol.json", "--shape", "data=1,1,2,2", "--import", "own_ops.py")
    manifest = mx.artifact.load("m.symc").manifest
    assert manifest["custom_operators"] == ["scale_of_tests"]
    assert read("verify", "m.symc", "--import", "own_ops.py")["is_right"]
    from symc.ops.control.custom import definitions

    monkeypatch.delitem(definitions, "scale_of_tests")
    code, _, err = run("run", "m.symc")
    assert code == 1 and "Custom (op_type scale_of_tests): 1 node (scaled)" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--import own_bad.py: there is no such file"),
        ("1 / 0", "--import own_bad.py: ZeroDivisionError: division by zero"),
        ("import mxnet", "No module named 'mxnet'; write `import symc as mx`"),
    ],
)
def test_imports_that_fail(run, tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(sys, "path", list(sys.path))
    if content is not None:
        (tmp_path / "own_bad.py").write_text(content)
    code, _, err = run("inspect", "mlp", "--import", "own_bad.py")
    assert code != 0 and message in err


def test_what_a_model_lacks(run, read, tmp_path):
    """Every operator with its nodes and how often; left out for good with the reason."""
    net = mx.sym.Group([mx.sym.exp(mx.sym.Variable("x"), name=f"node{k}") for k in range(8)]).tojson()
    found = [m.start() for m in re.finditer('"op": "exp"', net)]
    for at, name in zip(reversed(found), ["_cvimread", *["MoonOutput"] * 7]):
        net = net[:at] + f'"op": "{name}"' + net[at + len('"op": "exp"') :]
    (tmp_path / "m-symbol.json").write_text(net)
    for model in ("m", "m-symbol.json"):
        code, out, err = run("ops", "--missing", model)
        assert (code, err) == (1, "")
        assert "MoonOutput      7  node0, node1, node2, node3, node4, node5, node6" in out
        assert "_cvimread: reading pictures is the work of mx.image" in out
    code, out, _ = run("ops", "--missing", "m", "--json")
    nodes = [f"node{k}" for k in range(7)]
    assert json.loads(out)["missing"][0] == {"operator": "MoonOutput", "count": 7, "nodes": nodes, "left_out": None}
    (tmp_path / "good-symbol.json").write_text(mx.sym.exp(mx.sym.Variable("x")).tojson())
    assert read("ops", "--missing", "good") == {"missing": []}
    assert run("ops", "--missing", "nothing")[0] == 2
    assert run("ops", "exp", "--missing", "good")[0] == 2
