"""`symc migrate`: what scripts use of mxnet and symc lacks, read from their syntax trees."""

from __future__ import annotations

from pathlib import Path

import pytest

import symc as mx
from symc.cli.mentions import mentions
from symc.cli.migrate import missing

SCRIPT = """\
raise SystemExit("is never run")
import mxnet as mx, numpy as np
from mxnet import nd, gluon as G
from mxnet.gluon.nn import *
from mxnet.gluon import nn

Conv = mx.sym.Convolutoin
net = Dense(3)
G.nothing.LSTM(nd.ones(3))
mx.nd.contrib.dgl_adjacency(mx.gpu(0))
def read(nd=np.zeros(3)):
    from mxnet import recordings
    return nd.nothing, late.array(mx.np.array(1)), mx.gpu(1)
class Net(nn.HybridBlock):
    def hybrid_forward(self, F, x):
        return F.relu(F.nothing(x))
import mxnet.numpy as late
G2 = G = np
G2.nothing
"""


@pytest.fixture
def found(read, run, tmp_path):
    Path("train.py").write_text(SCRIPT)
    code, out, _ = run("migrate", "train.py")
    assert code == 1
    return out.splitlines()


def test_a_line_for_each_name_that_is_not_there(found):
    starts = [
        "train.py:7: mxnet.sym.Convolutoin: module 'symc.symbol' has no attribute 'Convolutoin'; did you mean Convol",
        "train.py:9: mxnet.gluon.nothing.LSTM: module 'symc.gluon' has no attribute 'nothing'",
        "train.py:10: mxnet.nd.contrib.dgl_adjacency: it samples graphs that are sparse matrices",
        "train.py:12: mxnet.recordings: ",
        "train.py:13: mxnet.np.array: the arrays of mx.np are not supported",
        "train.py:13: mxnet.numpy.array: the arrays of mx.np are not supported",
        "train.py:16: mxnet.ndarray.nothing: ",
        "train.py:16: mxnet.symbol.nothing: ",
        "train.py:17: mxnet.numpy: the arrays of mx.np are not supported",
        "train.py:10: note: mxnet.gpu: needs an NVIDIA GPU",
    ]
    for start in starts:
        assert sum(line.startswith(start) for line in found) == 1, start
    assert found[-2].endswith("(also in line 13)")
    assert len(found) == len(starts) + 1 and found[-1].endswith("9 are not supported")


def test_a_script_that_symc_can_run(read, run):
    Path("fine.py").write_text("import mxnet as mx\nmx.nd.ones(3)\n")
    code, out, _ = run("migrate", "fine.py")
    assert code == 0 and out.splitlines()[-1] == "next: python -m symc.as_mxnet fine.py"
    Path("project").mkdir()
    Path("fine.py").rename("project/fine.py")
    for given in ("project", "project/fine.py"):
        _, out, _ = run("migrate", given)
        assert out.splitlines() == [
            "1 file uses 2 names of mxnet; 0 are not supported",
            "next: python -m symc.as_mxnet project/fine.py",
        ]
    Path("project/fine.py").rename("fine.py")
    assert read("migrate", "fine.py") == {"file": "fine.py", "n_names": 2, "missing": [], "remarks": []}


def test_what_cannot_be_read_is_told_with_its_line(run, tmp_path):
    (tmp_path / "old").mkdir()
    Path("old/two.py").write_text("import mxnet\nprint 'two'\n")
    Path("old/bytes.py").write_bytes(b"# \xff\n")
    code, out, _ = run("migrate", "old")
    assert code == 1
    assert "old/two.py:2: cannot be read as Python 3: Missing parentheses" in out and "<unknown>" not in out
    assert "old/bytes.py:1: cannot be read as Python 3: 'utf-8' codec" in out
    code, _, err = run("migrate", "nowhere.py")
    assert code == 2 and "nowhere.py does not exist" in err
    (tmp_path / "empty").mkdir()
    assert run("migrate", "empty")[0] == 2


@pytest.mark.parametrize("module", ["mxnet", "mxnet.gluon", "mxnet.gluon.nn", "mxnet.io", "mxnet.metric", "mxnet.nd"])
def test_what_is_there_is_not_missing(module):
    place = mx
    for part in module.split(".")[1:]:
        place = getattr(place, part)
    assert [name for name in dir(place) if missing(f"{module}.{name}") is not None] == []


def test_instances_are_not_looked_into():
    assert missing("mxnet.gluon.nn.Dense.nothing") is not None
    assert missing("mxnet.__version__.nothing") is None


@pytest.mark.parametrize(
    "source, expected",
    [
        ("import mxnet.gluon\nmxnet.nd.ones", ["mxnet.gluon", "mxnet.nd.ones"]),
        ("import mxnet.gluon as g\ng.nn.Dense(g)", ["mxnet.gluon", "mxnet.gluon", "mxnet.gluon.nn.Dense"]),
        ("from .mxnet import a\na.b", []),
        ("import mxnetx\nmxnetx.a", []),
        ("import mxnet as m\nf = lambda m: m.a\ng = lambda x: m.b", ["mxnet", "mxnet.b"]),
        ("import mxnet as m\nfor m in (): m.a", ["mxnet"]),
        ("def f():\n  import mxnet as m\n  m.a\nm.b", ["mxnet", "mxnet.a"]),
        ("import mxnet as m\ns = m.sym\ns.x.y", ["mxnet", "mxnet.sym", "mxnet.sym.x.y"]),
        ("from mxnet.a import *\nb + c", ["mxnet.a", "mxnet.a.b"]),
    ],
)
def test_names_are_followed(source, expected):
    assert [m.name for m in mentions(source, lambda module: ["b"])] == expected
