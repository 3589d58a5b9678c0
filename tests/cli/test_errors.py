"""What the command line says when something is wrong: exit codes, errors without tracebacks, in text and as JSON."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import symc as mx
from symc import __main__ as command
from symc.cli.main import main

FILES = ("net-symbol.json", "--params", "net-0003.params")


USAGE = [
    (("run", "nope"), "no model 'nope'"),
    (("run", "none.symc"), "none.symc does not exist"),
    (("run", "none-symbol.json"), "none-symbol.json does not exist"),
    (("run", "net-symbol.json", "--shape", "data=1,6"), "has no parameters: give --params FILE, or --seed N"),
    (("run", "net-symbol.json", "--params", "no.params"), "no.params does not exist"),
    (("run", *FILES), "the shape of input data is not known: give --shape data=N,C,H,W"),
    (("run", *FILES, "--shape", "other=1,6"), "has no input 'other'; it has data"),
    (("run", *FILES, "--shape", "data"), "expected NAME=N,C,H,W"),
    (("run", *FILES, "--shape", "data=1,0"), "expected NAME=N,C,H,W with positive extents"),
    (("run", "mlp", "--input", "data=no.npy"), "no.npy does not exist"),
    (("run", "mlp", "--input", "x.npy"), "expected NAME=FILE.npy"),
    (("run", "mlp", "--input", "other=x.npy"), "has no input 'other'"),
    (("run", "mlp", "--input", "data="), "expected NAME=FILE.npy"),
    (("run", *FILES, "--shape", "data=99999999999999999999999,6"), "is too large, expected at most 2**40 elements"),
    (("inspect", "mlp", "--batch", "100000000000000"), "is too large"),
    (("run", "net", "--epoch", "7"), "net-0007.params does not exist"),
    (("bench", "mlp", "--threads", "0"), "expected an integer of at least 1"),
    (("bench", "mlp", "--threads", "1000"), "--threads 1000: expected 1 to 256"),
    (("run", "mlp", "--threads", "1000"), "--threads 1000: expected 1 to 256"),
    (("bench", "mlp", "--batch", "two"), "expected an integer of at least 1"),
    (("verify", "none.symc"), "none.symc does not exist"),
    (("verify", "x.npy", "--key", "no.key"), "no.key does not exist"),
    (("run", "mlp", "--key", "no.key"), "no.key does not exist"),
    (("run", "mlp", "lenet"), "unrecognized arguments: lenet; see symc run --help"),
    (("run", *FILES, "--seed", "1"), "leave out either it or --params and --epoch"),
    (("ops", "Convolutoin"), "did you mean Convolution"),
    (("ops", "dgl_subgraph"), "MXNet has it, symc does not"),
    (("ops", "zzzzzz"), "`symc ops` lists them"),
    (("cache", "fill"), "invalid choice"),
    (("fly",), "invalid choice"),
    (("run", "mlp", "--input", "data=x.npy", "--input", "data=x.npy"), "--input data=x.npy: data is given already"),
    (("compile", "mlp", "-o", "m.bin"), "-o m.bin: expected a name that ends in .symc"),
    (("run", "mlp", "--save", "y.npy"), "--save y.npy: expected a directory, or X.npz for all outputs in one file"),
    (("run", "mlp", "--input", "data=.", "--save", "y.npz"), "--save y.npz: expected a directory, which gets one for"),
    ((), "no verb, expected one of inspect, run,"),
    (("run", "mlp", "--epoch", "3"), "leave it out for the built-in network mlp"),
]


@pytest.mark.parametrize("arguments, message", USAGE, ids=lambda a: " ".join(a) if isinstance(a, tuple) else "")
def test_faulty_arguments(run, checkpoint, arguments, message):
    np.save("x.npy", np.ones((1, 1, 28, 28), np.float32))
    code, out, err = run(*arguments)
    assert code == 2 and message in err and out == "" and err.count("\n") == 1
    code, out, _ = run(*arguments, "--json")
    assert code == json.loads(out)["error"]["exit_code"] == 2


FAULTS = [
    (("inspect", "text-symbol.json"), "text-symbol.json: not a symbol"),
    (("run", "unknown-symbol.json", "--seed", "0"), "Frobnicate"),
    (("compile", "unknown-symbol.json", "--seed", "0"), "Frobnicate"),
    (("inspect", "many-symbol.json", "--shape", "x=2"), "Error in operator f: expected 1 inputs (data), got 2"),
    (("verify", "text.symc"), "text.symc: end of archive"),
    (("run", "net-symbol.json", "--params", "text.symc", "--shape", "data=1,6"), "text.symc"),
    (("run", "net-symbol.json", "--params", "few.params", "--shape", "data=1,6"), "3 parameters are missing: fc_bias"),
    (("run", *FILES, "--shape", "data=1,5"), "fc_weight has shape (4, 6), expected (4, 5)"),
    (("run", "mlp", "--input", "data=text.symc"), "text.symc: not a NumPy file of numbers: it starts with b'this i'"),
    (("run", "mlp", "--input", "data=objects.npy"), "objects.npy: not a NumPy file of numbers"),
    (("run", "mlp", "--input", "data=strings.npy"), "expected numbers"),
    (("run", "mlp", "--input", "data=all.npz"), "all.npz: an archive, expected one array"),
    (("run", "mlp", "--input", "data=empty.npy"), "input data has shape (0, 1, 28, 28), expected at least one axis"),
    (("inspect", *FILES, "--shape", "data=1,5"), "fc_weight has shape (4, 6), expected (4, 5)"),
    (("inspect", "net-symbol.json", "--params", "few.params", "--shape", "data=1,6"), "3 parameters are missing"),
    (("run", "mlp", "--save", "text.symc"), "writing text.symc: File exists"),
    (("bench", "mlp", "--runs", "1", "--trace", "no/t.json"), "writing no/t.json: No such file or directory"),
    (("compile", "mlp", "-o", "."), "writing .: Is a directory"),
    (("compile", "mlp", "-o", "no/such/folder/m.symc"), "No such file or directory"),
    (("compile", "mlp", "--key", "text.symc"), "key text.symc"),
]


@pytest.mark.parametrize("arguments, message", FAULTS, ids=lambda a: " ".join(a) if isinstance(a, tuple) else "")
def test_faulty_models_and_data(run, checkpoint, arguments, message):
    Path("text.symc").write_text("this is not a model, nor anything else that symc could read\n")
    Path("text-symbol.json").write_text("no")
    node = {"op": "Frobnicate", "name": "f", "inputs": []}
    Path("unknown-symbol.json").write_text(json.dumps({"nodes": [node], "arg_nodes": [], "heads": [[0, 0, 0]]}))
    pair = [{"op": "null", "name": "x", "inputs": []}, {"op": "relu", "name": "f", "inputs": [[0, 0, 0], [0, 0, 0]]}]
    Path("many-symbol.json").write_text(json.dumps({"nodes": pair, "arg_nodes": [0], "heads": [[1, 0, 0]]}))
    mx.nd.save("few.params", {"arg:fc_weight": mx.nd.zeros((4, 6)), "aux:bn_moving_mean": mx.nd.zeros((4,))})
    np.savez("all.npz", data=np.ones((1, 1, 28, 28), np.float32))
    np.save("empty.npy", np.ones((0, 1, 28, 28), np.float32))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save("strings.npy", np.full((1, 1, 28, 28), "a"))
    code, out, err = run(*arguments)
    assert code == 1 and message in err and out == ""
    code, out, _ = run(*arguments, "--json")
    error = json.loads(out)["error"]
    assert code == error["exit_code"] == 1 and message in error["message"] and error["type"]


def test_several_epochs_must_be_chosen_from(run, checkpoint):
    Path("net-0004.params").write_bytes(Path("net-0003.params").read_bytes())
    code, _, err = run("run", "net", "--shape", "data=1,6")
    assert code == 2 and "several epochs (0003, 0004): choose one with --epoch" in err


def test_a_wrong_output_is_exit_code_1(run, read, monkeypatch):
    from symc import artifact

    read("compile", "mlp", "-o", "m.symc")
    wrong = artifact.OutputCheck("softmax_output", (1, 10), "float32", 0.1, 700.0)
    monkeypatch.setattr(artifact, "_compare", lambda *_: wrong)
    code, out, _ = run("verify", "m.symc")
    assert code == 1 and "WRONG" in out and "does NOT give the recorded outputs" in out


def test_defects_and_debug(run, monkeypatch, capsys):
    def fail(_):
        raise KeyError("oops")

    monkeypatch.setattr("symc.cli.cache.execute", fail)
    code, _, err = run("cache", "info")
    assert code == 1 and "internal error, KeyError: 'oops'; SYMC_DEBUG=1 shows where" in err
    monkeypatch.setenv("SYMC_DEBUG", "1")
    assert main(["cache", "info"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SYMC_DEBUG", "much", "a number from 0 on"),
        ("SYMC_NUM_THREADS", "257", "a number from 1 to 256"),
        ("SYMC_VECTOR_BITS", "64", "one of 128, 256, 512"),
        ("SYMC_NUMERICS", "exact", "one of strict, default, fast, bfloat16"),
        ("SYMC_VERIFY", "flase", "0 or 1"),
    ],
)
def test_unreadable_environment(run, monkeypatch, name, text, expected):
    monkeypatch.setenv(name, text)
    code, _, err = run("cache", "info")
    assert code == 2 and f"environment variable {name}={text!r}: expected {expected}; " in err


OLD_MACHINE = """
import sys
import symc.codegen.cpu.target
symc.codegen.cpu.target.widest_vector_bits = lambda features: 128
from symc.cli.main import main
sys.exit(main(["run", "mlp", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("arguments", [(), ("--input", "data=inputs")], ids=["one input", "a folder"])
def test_an_environment_that_this_machine_cannot_have(monkeypatch, arguments):
    monkeypatch.setenv("SYMC_VECTOR_BITS", "256")
    Path("inputs").mkdir()
    np.save("inputs/x.npy", np.ones((1, 1, 28, 28), np.float32))
    command = [sys.executable, "-c", OLD_MACHINE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("symc run: choosing the vector width: this CPU offers 128 bits, got 256; unset SYMC_")


def test_names_that_the_output_cannot_encode(monkeypatch):
    mx.sym.relu(mx.sym.Variable("x", shape=(3,)), name="слой").save("name-symbol.json")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["inspect", "name-symbol.json"]) == 0
    assert rb"\u0441\u043b\u043e\u0439" in out.buffer.getvalue()


@pytest.mark.parametrize("stream, code, message", [("> /dev/full", 1, "writing the output: No space"), (">&-", 0, "")])
def test_output_that_cannot_be_written(stream, code, message):
    done = subprocess.run(
        f"{sys.executable} -m symc ops {stream}", shell=True, capture_output=True, text=True, check=False
    )
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr


def test_errors_without_a_place_to_go():
    command = f"{sys.executable} -m symc run nope 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == 2


def test_a_cache_that_cannot_be_cleared(run, monkeypatch, tmp_path):
    from symc.codegen.cache import KernelCache

    cache = KernelCache(tmp_path / "cache")
    monkeypatch.setattr("symc.codegen.cache.kernel_cache", lambda: cache)
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "folder.kernel").mkdir()
    code, _, err = run("cache", "clear")
    assert code == 1 and "1 of 1 entries could not be removed" in err


def test_errors_of_built_in_networks_name_them(run):
    code, _, err = run("run", "lenet", "--shape", "data=1,4")
    assert code == 1 and "made at: built-in network lenet" in err


def test_built_in_network_with_parameters_of_a_file(read):
    from symc import models

    model = models.get("mlp").with_seed(7)
    mx.nd.save("mlp.params", {f"arg:{n}": a for n, a in model.arg_params.items()})
    assert read("run", "mlp", "--params", "mlp.params")["outputs"] == read("run", "mlp", "--seed", "7")["outputs"]


CONSOLE_SCRIPT = """
import os, signal, sys

class Interrupting:  # looks for modules before Python does, and finds none
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process started in the background ignores it
from symc.__main__ import main
sys.argv = ["symc", "run", "mlp"]
sys.exit(main())
"""
IMPORTED = ["argparse", "symc.cli.run", "numpy", "datetime", "symc.models", "symc.ops", "llvmlite.binding"]


@pytest.mark.parametrize("module", IMPORTED)
def test_ctrl_c_ends_a_command_quietly_whatever_is_being_imported(module):
    """NumPy is in C when it wants `datetime`, and takes an interruption for its absence."""
    script = CONSOLE_SCRIPT.format(module=module)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_once_more_ends_it_at_once(monkeypatch):
    monkeypatch.setattr("symc.cli.main.main", mock.Mock(side_effect=KeyboardInterrupt))
    before = signal.getsignal(signal.SIGINT)
    try:
        assert command.main() == 130 and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_not_finite_numbers_are_null(run):
    mx.sym.log(mx.sym.Variable("x", shape=(3,)), name="log").save("log-symbol.json")
    np.save("x.npy", np.array([-1, 0, 1], np.float32))
    code, out, _ = run("run", "log-symbol.json", "--seed", "0", "--input", "x=x.npy", "--json")
    assert code == 0 and json.loads(out)["outputs"][0]["min"] is None
