"""`python -m symc.as_mxnet`: unchanged scripts, whose `import mxnet` is symc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from symc import as_mxnet
from symc.core.errors import ConflictError

ROOT = Path(__file__).parents[1]
PICKLED = str(ROOT / "tests" / "data" / "exchange" / "objects.pickle")
SCRIPT = """
import os, pickle, sys
import mxnet
assert {"mxnet.ndarray", "mxnet.symbol", "mxnet.gluon"} <= set(sys.modules)  # where libraries look before they import
import mxnet as mx
from mxnet import gluon, nd
from mxnet.gluon import nn
import mxnet.gluon.nn as same
from mxnet.contrib.amp import amp
from mxnet.optimizer import contrib
import mxnet.io.io, mxnet.kvstore.kvstore, mxnet.contrib.ndarray, mxnet.contrib.amp.amp
from mxnet.base import MXNetError
from mxnet.gluon.nn.basic_layers import BatchNorm, Dense, LayerNorm
from mxnet.gluon.nn.conv_layers import Conv2D, GlobalAvgPool2D
from mxnet.image.image import Augmenter, CreateAugmenter, ImageIter, imresize
from mxnet.ndarray.ndarray import NDArray, array, zeros
from mxnet.optimizer.optimizer import SGD, Adam, Updater
from mxnet.symbol.symbol import Symbol, Variable, load_json
import numpy as np
import symc

import beside  # what lies beside the script

# What MXNet's own modules import, taken from them.
from mxnet.gluon.block import NDArray as same_array, initializer, ndarray
from mxnet.gluon.model_zoo.vision.vgg import HybridBlock, cpu
from mxnet.metric import ndarray, numeric_types, registry
from mxnet.module.module import Uniform, nd as same_nd
assert same_array is NDArray and ndarray is same_nd is nd and HybridBlock is gluon.HybridBlock and cpu is mx.cpu
assert Uniform is mx.init.Uniform and not hasattr(nd, "numeric_types") and not hasattr(mx, "numeric_types")
assert not hasattr(mx.metric, "nowhere")

class Mine: pass

assert mx is mxnet is symc and gluon is symc.gluon and nn is same is symc.gluon.nn and nd is symc.nd
assert sys.modules["mxnet.gluon.nn"] is sys.modules["symc.gluon.nn"] and mxnet.io.io.DataBatch is symc.io.DataBatch
from mxnet.contrib.amp.lists import symbol_fp16
import mxnet.contrib.amp.lists.symbol_fp16 as same_lists
assert same_lists is symbol_fp16 and amp.list_fp32_ops("float16") == symbol_fp16.FP32_FUNCS and not amp._amp_initialized
assert amp is symc.contrib.amp and contrib.GroupAdaGrad is mx.optimizer.GroupAdaGrad
assert mxnet.contrib.ndarray is symc.nd.contrib and MXNetError is symc.MXNetError
assert type(pickle.loads(pickle.dumps(Mine()))) is Mine
assert LayerNorm is nn.LayerNorm and mx.optimizer.optimizer.SGD is SGD is mx.optimizer.SGD and array is mx.nd.array
with open(os.environ["PICKLED"], "rb") as file:  # by MXNet
    had = pickle.load(file)
assert had["array"].dtype == np.int8 and had["array"].asnumpy().tolist() == [[1, 2]]
assert had["symbol"].list_outputs() == ["r_output"] and had["augmenter"].size == (2, 3)
assert type(had["optimizer"]) is SGD and had["optimizer"].lr == 0.25
try:
    from mxnet.optimizer.optimizer import Nowhere
except ImportError as error:
    assert "Nowhere" in str(error)
def annotated(x: int): pass
assert annotated.__annotations__ == {"x": int}  # no __future__ of whoever runs it
assert np.int is int and np.float is float and np.Inf == float("inf") and np.product([2, 3]) == 6
assert np.NINF == -np.inf and np.asfarray([1]).dtype == np.float64 and np.mat([1]).shape == (1, 1)
assert np.array([[1, 2], [3]]).shape == (2,) and np.asarray([np.ones(2), np.ones(3)]).dtype == object
np.save(os.devnull, [np.ones(2), np.ones(3)])
try:
    np.array([[1, 2], [3]], dtype=float)
except ValueError as error:
    assert "inhomogeneous" in str(error)
assert np.fromstring(b"\\x01\\x02", dtype=np.int8).tolist() == [1, 2]
assert np.fromstring("1 2", dtype=int, sep=" ").tolist() == [1, 2]
assert repr(np.float64(0.5)) == "0.5" and repr(np.array([0.5, 2])) == "array([0.5, 2. ])"
try:
    import mxnet.contrib.nowhere
except ImportError as error:
    assert error.name == "mxnet.contrib.nowhere", error.name
    print(error)
print(__name__, sys.argv[1:], os.path.basename(__file__), nd.ones(2).sum().asscalar())
sys.exit(7)
"""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "symc.as_mxnet", *arguments]
    env = {**os.environ, **environment, "PICKLED": PICKLED, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture
def script(tmp_path):
    """A script with a module beside it, in a folder that is not the current one."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "beside.py").write_text("")
    (folder / "train.py").write_text(SCRIPT)
    return folder / "train.py"


def test_a_script_runs_unchanged_and_leaves_nothing(script, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = run(str(script), "--epochs", "3", cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == [
        "no module named 'mxnet.contrib.nowhere': symc has no module symc.contrib.nowhere",
        "__main__ ['--epochs', '3'] train.py 2.0",
    ]
    told, names = done.stderr.splitlines()
    assert told.startswith("symc.as_mxnet: 'import mxnet' gives symc") and "nothing was written" in told
    assert names.startswith("symc.as_mxnet: NumPy has its old names again: int, float")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_module_runs_as_one(script):
    done = run("-m", "train", "x", cwd=script.parent)
    assert done.returncode == 7 and "__main__ ['x'] train.py 2.0" in done.stdout, done.stderr


def test_a_real_mxnet_is_not_replaced_unless_told(script, tmp_path):
    real = tmp_path / "site" / "mxnet"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("")
    done = run(str(script), cwd=tmp_path, PYTHONPATH=str(real.parent))
    assert done.returncode == 2 and done.stdout == ""
    assert f"a real mxnet is installed ({real / '__init__.py'}); --replace" in done.stderr
    done = run("--replace", str(script), cwd=tmp_path, PYTHONPATH=str(real.parent))
    assert done.returncode == 7, done.stderr


def test_gpus_can_stand_for_the_host(tmp_path):
    (tmp_path / "gpu.py").write_text(
        "import mxnet as mx\n"
        "x = mx.nd.ones(3, ctx=mx.gpu(0))\n"
        "print(x.context, (x + mx.nd.ones(3).as_in_context(mx.gpu(0))).asnumpy())\n"
    )
    done = run("gpu.py", cwd=tmp_path)
    assert done.returncode == 1 and "there is no device gpu(0) to hold arrays" in done.stderr
    done = run("--gpu-is-cpu", "gpu.py", cwd=tmp_path)
    assert done.stdout.splitlines() == ["gpu(0) [2. 2. 2.]"], done.stderr


def test_help_and_bad_usage(capsys, monkeypatch):
    assert as_mxnet.main(["--help"]) == 0
    assert "python -m symc.as_mxnet train.py --epochs 3" in capsys.readouterr().out
    for words, expected in (
        ([], "no script to run; usage: "),
        (["-m"], "no module to run; usage: "),
        (["-x", "y.py"], "no script to run; usage: "),
        (["nowhere.py"], "nowhere.py: no such file; usage: "),
    ):
        assert as_mxnet.main(words) == 2
        assert capsys.readouterr().err.startswith(f"symc.as_mxnet: {expected}")


def test_it_is_too_late_when_mxnet_is_imported(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, as_mxnet._Hook)])
    monkeypatch.setitem(sys.modules, "mxnet", sys)
    with pytest.raises(ConflictError, match="mxnet is imported already; call install"):
        as_mxnet.install()
