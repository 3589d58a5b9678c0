"""`symc run` on a directory: every file through one executor, in batches, broken ones named and passed over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import symc as mx

MODEL = ("net-symbol.json", "--params", "net-0003.params")
ROWS = np.random.default_rng(0).standard_normal((7, 6), dtype=np.float32)


@pytest.fixture
def folder(checkpoint):
    """Five good files: items without and with an axis for the batch, two rows in one, an archive."""
    Path("in").mkdir()
    np.save("in/a.npy", ROWS[0])
    np.save("in/b.npy", ROWS[1:2])
    np.save("in/c.npy", ROWS[2:4])
    np.savez("in/d.npz", data=ROWS[4:5])
    np.save("in/e.npy", ROWS[5].astype("f8"))
    Path("in/notes.txt").write_text("not an input")
    Path("in/.hidden.npy").write_text("nor this")
    return Path("in")


@pytest.fixture
def expected(run, checkpoint):
    """What one run of all rows gives."""
    np.save("all.npy", ROWS)
    assert run("run", *MODEL, "--input", "data=all.npy", "--save", "whole")[0] == 0
    return np.load("whole/softmax_output.npy")


def records(run, *arguments):
    code, out, err = run("run", *arguments, "--json")
    return code, [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize("batch", [(), ("--batch", "1"), ("--batch", "3"), ("--batch", "100")])
@pytest.mark.parametrize("where", ["data=in", "in/"])
def test_every_file_gets_its_own_result(run, folder, expected, batch, where):
    code, lines, err = records(run, *MODEL, "--input", where, "--save", "out", *batch)
    assert (code, err) == (0, "")
    assert [r["file"] for r in lines] == ["in/a.npy", "in/b.npy", "in/c.npy", "in/d.npz", "in/e.npy"]
    rows = {"a": [0], "b": [1], "c": [2, 3], "d": [4], "e": [5]}
    for record, (name, numbers) in zip(lines, rows.items()):
        assert record["saved"] == [f"out/{name}/softmax_output.npy"]
        np.testing.assert_allclose(np.load(record["saved"][0]), expected[numbers], rtol=1e-6)
        assert record["outputs"][0]["top"][0]["class"] == int(expected[numbers[0]].argmax())


def test_one_executor_compiles_once_for_each_number_of_rows(run, folder, monkeypatch):
    from symc.executor.programs import Programs

    made = []
    bind = Programs._bind
    monkeypatch.setattr(Programs, "_bind", lambda self, mode: made.append(mode.shapes) or bind(self, mode))
    code, _, _ = records(run, *MODEL, "--input", "data=in", "--shape", "data=1,6")
    assert code == 0 and len(made) == 2  # one row, two rows


def test_broken_files_are_named_and_the_others_done(run, folder, expected):
    Path("in/b.npy").write_bytes(b"not an array")
    np.save("in/c.npy", ROWS[:, :5])
    np.savez("in/d.npz", other=ROWS[4:5])
    np.save("in/f.npy", np.array(["text"] * 6))
    np.save("in/a.npy", ROWS[0])
    for batch in ((), ("--batch", "4")):
        code, lines, err = records(run, *MODEL, "--input", "data=in", "--shape", "data=1,6", *batch)
        assert code == 1 and [Path(r["file"]).stem for r in lines if "error" in r] == ["b", "c", "d", "f"]
        told = err.splitlines()
        assert len(told) == 4 and all(line.startswith("symc: in/") for line in told)
        assert "not a NumPy file of numbers" in told[0] and "expected (6,) or (N, 6)" in told[1]
        assert "has other; the model takes data" in told[2] and "expected numbers" in told[3]
        assert next(r["error"]["type"] for r in lines if "error" in r) == "FormatError"
        good = [r["outputs"][0]["top"][0]["class"] for r in lines if "outputs" in r]
        assert good == expected[[0, 5]].argmax(axis=1).tolist()


def test_table(run, folder):
    Path("in/b.npy").write_bytes(b"")
    code, out, err = run("run", *MODEL, "--input", "data=in")
    table = out.splitlines()
    assert code == 1 and table[0].split() == ["file", "output", "shape", "result"] and table[-1] == "5 files, 1 broken"
    assert table[2] == "b.npy".ljust(len(table[0]) - len("result")) + "broken"
    assert "c.npy  softmax_output  2x4" in out and "class " in table[1] and err.count("\n") == 1


def test_x_npy_beside_x_npz(run, folder):
    np.savez("in/a.npz", data=ROWS[1:2])
    _, lines, _ = records(run, *MODEL, "--input", "data=in", "--save", "out")
    assert [r["saved"][0].split("/")[1] for r in lines] == ["a.npy", "a.npz", "b", "c", "d", "e"]


def test_results_that_cannot_be_written_break_their_file_alone(run, folder):
    Path("out").mkdir()
    Path("out/b").write_text("in the way")
    code, lines, err = records(run, *MODEL, "--input", "data=in", "--save", "out")
    assert code == 1 and [Path(r["file"]).stem for r in lines if "error" in r] == ["b"]
    assert "in/b.npy: writing out/b: File exists" in err


def test_several_inputs(run):
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    mx.sym.elemwise_add(a, b, name="sum").save("sum-symbol.json")
    Path("in").mkdir()
    np.savez("in/x.npz", a=np.ones((2, 3), "f4"), b=np.ones((2, 3), "f4"))
    np.savez("in/y.npz", a=np.ones((2, 3), "f4"), b=np.ones((1, 3), "f4"))
    code, lines, err = records(run, "sum-symbol.json", "--seed", "0", "--input", "in")
    assert code == 1 and lines[0]["outputs"][0]["mean"] == 2 and "its inputs have 1 and 2 rows" in err
    np.save("in/z.npy", np.ones((2, 3), "f4"))
    code, _, err = run("run", "sum-symbol.json", "--seed", "0", "--input", "in")
    assert code == 2 and "which of a, b are the .npy files? give --input NAME=in" in err


def test_outputs_without_an_axis_for_the_batch(run):
    mx.sym.sum(mx.sym.Variable("x"), name="total").save("total-symbol.json")
    Path("in").mkdir()
    for k in range(3):
        np.save(f"in/{k}.npy", np.full((1, 3), k, "f4"))
    model = ("total-symbol.json", "--seed", "0", "--input", "in")
    code, lines, err = records(run, *model, "--batch", "2")
    assert code == 1 and "output total_output has shape (1,) for 2 rows" in err and "leave out --batch" in err
    code, lines, _ = records(run, *model)
    assert code == 0 and [r["outputs"][0]["mean"] for r in lines] == [0, 3, 6]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--input", "data=empty"), "empty holds no .npy or .npz file"),
        (("--input", "data=in", "--input", "data=x.npy"), "in is a directory: it must be the only --input"),
        (("--input", "other=in"), "has no input 'other'"),
    ],
)
def test_faulty_arguments(run, folder, arguments, message):
    Path("empty").mkdir()
    np.save("x.npy", ROWS)
    code, out, err = run("run", *MODEL, *arguments)
    assert code == 2 and message in err and out == "" and err.count("\n") == 1
