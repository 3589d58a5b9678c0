"""Deep graphs and graphs of exponentially many paths: nothing recurses, nothing walks a path twice."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symc as mx

N = 8_000  # eight times Python's recursion limit


def chain(n=N):
    x = mx.sym.Variable("x")
    for _ in range(n // 2):
        x = mx.sym.relu(x + 1)
    return x


def doubles(n=N):
    y = mx.sym.Variable("x")
    for _ in range(n):
        y = y + y
    return y


@pytest.mark.parametrize("build", [chain, doubles], ids=lambda f: f.__name__)
def test_every_question_about_a_deep_symbol(build, tmp_path):
    s = build()
    s.save(str(tmp_path / "deep.json"))
    loaded = mx.sym.load(str(tmp_path / "deep.json"))
    assert loaded.tojson() == s.tojson()
    assert s.infer_shape(x=(2, 3))[1] == [(2, 3)] and s.infer_type(x="float64")[1] == [np.float64]
    assert s.list_arguments() == ["x"] and len(s.get_internals().list_outputs()) == N + 1
    assert len(s.attr_dict()) == (N // 2 if build is chain else 0)
    assert s(x=mx.sym.Variable("y")).list_arguments() == ["y"] and s.list_arguments() == ["x"]
    for twin in (copy.deepcopy(s), pickle.loads(pickle.dumps(s))):
        assert len(twin.nodes()) == N + 1
    assert s.debug_str().count("Op:") == N and repr(s).startswith("<Symbol ")


def test_a_deep_symbol_is_compiled_and_differentiated():
    executor = chain(1_200).simple_bind(mx.cpu(), x=(2, 3))
    executor.forward(is_train=True, x=np.zeros((2, 3), "f4"))
    executor.backward(mx.nd.ones((2, 3)))
    assert (executor.outputs[0].asnumpy() == 600).all() and (executor.grad_dict["x"].asnumpy() == 1).all()
    y = mx.sym.Variable("x")
    for _ in range(200):
        y = y * 0.5 + y * 0.5  # 2 ** 200 paths
    executor = y.simple_bind(mx.cpu(), x=(2, 3))
    executor.forward(is_train=True, x=np.ones((2, 3), "f4"))
    executor.backward(mx.nd.ones((2, 3)))
    assert (executor.outputs[0].asnumpy() == 1).all() and (executor.grad_dict["x"].asnumpy() == 1).all()


def test_a_deep_symbol_is_freed_without_recursion():
    script = (
        "import symc as mx\nx = mx.sym.Variable('x')\nfor _ in range(50_000):\n    x = x + 1\n"
        "copy = mx.sym.load_json(x.tojson())\ndel x\ndel copy\nprint('freed')"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "freed\n", "")
