"""Fixtures of every command's tests: commands run in this process, in a folder of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest

import symc as mx
from symc.cli.main import main


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """No key and no file of the user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command and returns exit code, stdout and stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as e:
            code = e.code
        seen = capsys.readouterr()
        assert "Traceback" not in seen.out + seen.err
        return code, seen.out, seen.err

    return command


@pytest.fixture
def read(run):
    """The JSON a command prints, which must succeed."""

    def command(*arguments: str) -> dict:
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return command


@pytest.fixture
def checkpoint(tmp_path):
    """A network with its parameters on disk: net-symbol.json and net-0003.params."""
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc")
    net = mx.sym.BatchNorm(net, name="bn")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    rng = np.random.default_rng(0)
    shapes = {"fc_weight": (4, 6), "fc_bias": (4,), "bn_gamma": (4,), "bn_beta": (4,)}
    args = {n: mx.nd.array(rng.normal(size=s)) for n, s in shapes.items()}
    aux = {"bn_moving_mean": mx.nd.zeros((4,)), "bn_moving_var": mx.nd.ones((4,))}
    mx.model.save_checkpoint("net", 3, net, args, aux)
    return tmp_path / "net"
