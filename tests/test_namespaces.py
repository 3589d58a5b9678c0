"""Small modules and names of MXNet that scripts import: devices that are not there, loggers, data sets, slices."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import runpy
import struct
import sys
import zipfile
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import symc as mx
from symc import executor_manager, gluon, libinfo, log, test_utils, util
from symc.core.errors import ArgumentError, ConflictError, MissingKeyError, SymcError

without_gpus = pytest.mark.skipif(mx.num_gpus() > 0, reason="there are GPUs")


@without_gpus
def test_there_are_no_gpus():
    assert mx.context.num_gpus() == util.get_gpu_count() == 0 and list(test_utils.list_gpus()) == []
    assert mx.gpu(0) == mx.Context("gpu", 0) and str(mx.gpu(1)) == "gpu(1)"


def bound_module():
    scores = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2)
    module = mx.mod.Module(mx.sym.SoftmaxOutput(scores, name="softmax"), context=mx.gpu())
    module.bind([("data", (2, 3))], [("softmax_label", (2,))])


def trained_block():
    net = mx.gluon.nn.Dense(2, in_units=3)
    net.initialize()
    mx.gluon.Trainer(net.collect_params(), "sgd")
    net.collect_params().reset_ctx(mx.gpu())


@without_gpus
@pytest.mark.parametrize(
    "use",
    [
        lambda: mx.nd.ones((2,), ctx=mx.gpu()),
        lambda: mx.nd.array([1], ctx=mx.gpu()),
        lambda: mx.nd.ones((2,)).as_in_context(mx.gpu()),
        lambda: mx.nd.ones((2,)).copyto(mx.gpu()),
        lambda: mx.random.uniform(shape=(2,), ctx=mx.gpu()),
        lambda: mx.gluon.nn.Dense(2, in_units=3).initialize(ctx=mx.gpu()),
        lambda: mx.gluon.nn.Dense(2).initialize(ctx=[mx.gpu()]),
        lambda: mx.gluon.utils.split_and_load(mx.nd.ones((2, 3)), [mx.gpu()]),
        lambda: mx.sym.relu(mx.sym.Variable("x")).simple_bind(mx.gpu(), x=(2,)),
        bound_module,
        trained_block,
        mx.gpu_memory_info,
        lambda: util.get_gpu_memory(0),
    ],
)
def test_every_use_of_a_gpu_says_what_to_do(use):
    with pytest.raises(SymcError, match=r"there is no device gpu\(0\) .*use mx\.cpu\(\)"):
        use()


def test_loggers(tmp_path, capsys):
    logger = log.get_logger("symc.test.log", level=log.INFO)
    assert log.get_logger("symc.test.log", level=log.ERROR) is logger and logger.level == logging.INFO
    logger.info("%d apples", 3)
    logger.debug("is not seen")
    line = capsys.readouterr().err
    assert line.startswith(f"{log.GREEN}I") and line.endswith(f"]{log.PLAIN} 3 apples\n") and "test_loggers" in line
    with pytest.warns(DeprecationWarning, match="Use get_logger"):
        log.getLogger("symc.test.file", filename=str(tmp_path / "log.txt"), level=log.INFO).info("to a file")
    assert (tmp_path / "log.txt").read_text() == "to a file\n"


def test_known_shapes():
    known = mx.gluon.utils.shape_is_known
    assert [known(shape) for shape in ((2, 3), (2, 0), (), None)] == [True, False, False, False]
    with mx.util.np_shape():
        assert [known(shape) for shape in ((2, 0), (), (2, -1), None)] == [True, True, False, False]


def test_what_mxnet_exports_to_onnx_is_the_same_module():
    assert mx.onnx is mx.contrib.onnx
    with pytest.raises(SymcError, match="writes no ONNX file"):
        mx.onnx.export_model("net-symbol.json", "net-0000.params", [(1, 3)])


def test_there_is_no_library():
    for find in (libinfo.find_lib_path, libinfo.find_include_path):
        with pytest.raises(SymcError, match="symc has no"):
            find()


def test_batches_are_sliced_and_loaded():
    assert executor_manager._split_input_slice(5, [1, 1]) == [slice(0, 2), slice(2, 5)]
    with pytest.raises(ValueError, match="Too many slices"):
        executor_manager._split_input_slice(1, [1, 1, 1])
    batch = mx.io.DataBatch([mx.nd.array([[1], [2], [3]])], [mx.nd.array([4, 5, 6])])
    whole, parts = mx.nd.zeros((3, 1)), [mx.nd.zeros(1), mx.nd.zeros(2)]
    executor_manager._load_data(batch, [whole])
    executor_manager._load_label(batch, [[(slice(0, 1), parts[0]), (slice(1, 3), parts[1])]])
    assert whole.asnumpy().ravel().tolist() == [1, 2, 3] and [p.asnumpy().tolist() for p in parts] == [[4], [5, 6]]
    with pytest.raises(ConflictError, match="Expected 2, got 3"):
        executor_manager._load_label(batch, [[(slice(0, 2), parts[1])]])
    x = mx.sym.Variable("x")
    executor_manager._check_arguments(x + x)
    twice = mx.sym.Variable("x") + mx.sym.Variable("x")
    with pytest.raises(ArgumentError, match='duplicated argument name "x"'):
        executor_manager._check_arguments(twice)


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """MNIST's files, of a few made images, in the current folder; nothing is downloaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    found = {}
    for prefix, n in (("train", 6), ("t10k", 4)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        found[prefix] = images, labels
        for kind, data in (
            ("images-idx3", struct.pack(">IIII", 0x803, n, 28, 28) + images.tobytes()),
            ("labels-idx1", struct.pack(">II", 0x801, n) + labels.tobytes()),
        ):
            (tmp_path / "data" / f"{prefix}-{kind}-ubyte").write_bytes(data)
            (tmp_path / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return found


def test_mnist_by_its_names(mnist):
    arrays = test_utils.get_mnist()
    images, labels = mnist["train"]
    assert arrays["train_data"].dtype == np.float32 and arrays["test_data"].shape == (4, 1, 28, 28)
    np.testing.assert_array_equal(arrays["train_data"][:, 0], images.astype(np.float32) / 255)
    np.testing.assert_array_equal(arrays["train_label"], labels)
    train, test = test_utils.get_mnist_iterator(2, (1, 28, 28))
    assert train.provide_data[0].shape == (2, 1, 28, 28) and len(list(train)) == 3
    seen = np.concatenate([batch.label[0].asnumpy() for batch in test])
    assert sorted(seen) == sorted(mnist["t10k"][1])  # shuffled, as MNISTIter is unless told
    flat, _ = test_utils.get_mnist_iterator(2, (784,))
    assert flat.provide_data[0].shape == (2, 784)
    dummy = test_utils.DummyIter(flat)
    assert dummy.next() is next(dummy) and dummy.batch_size == 2


def test_what_is_there_is_not_downloaded_again(mnist, tmp_path):
    assert test_utils.download("http://nowhere.invalid/data/t10k-labels-idx1-ubyte", dirname="data").startswith("data")


def test_archives_are_unpacked_once(tmp_path, monkeypatch):
    served = {
        "a.zip": _zipped({"in/rows.txt": b"1 2"}),
        "b.bz2": bz2.compress(b"3\n4\n"),
        "mnist.pkl.gz": b"digits",
    }

    def fetch(url, path, **options):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(served.pop(url.split("/")[-1]))  # a second time there is nothing
        return path

    monkeypatch.setattr(gluon.utils, "download", fetch)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        test_utils.get_zip_data("z", "http://nowhere.invalid/a.zip", "a.zip")
        test_utils.get_bz2_data("b", "rows", "http://nowhere.invalid/b.bz2", "b.bz2")
        test_utils.get_mnist_pkl()
    assert Path("z/in/rows.txt").read_bytes() == b"1 2"
    assert Path("b/rows").read_bytes() == b"3\n4\n" and not Path("b/b.bz2").exists()
    assert Path("data/mnist.pkl.gz").read_bytes() == b"digits"


def test_checkpoints_by_the_names_that_mxnet_knows(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(gluon.utils, "download", lambda url, path, **options: asked.append((url, path)))
    prefix = f"{tmp_path}/imagenet1k-inception-bn"
    assert test_utils.download_model("imagenet1k-inception-bn", str(tmp_path)) == (prefix, 0)
    there = "http://data.mxnet.io/models/imagenet/inception-bn/Inception-BN"
    assert asked == [
        (f"{there}-symbol.json", f"{prefix}-symbol.json"),
        (f"{there}-0126.params", f"{prefix}-0000.params"),
    ]
    assert test_utils.download_model("resnet-of-mine") == (None, 0)
    with pytest.raises(MissingKeyError, match="no address of its 'params'"):
        test_utils.download_model("mine", str(tmp_path), {"mine": {"symbol": "http://nowhere.invalid/s"}})


def test_im2rec_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "p" / "red").mkdir(parents=True)
    (tmp_path / "p" / "red" / "one.jpg").touch()
    (tmp_path / "all.lst").touch()  # written over, as MXNet's does
    monkeypatch.setattr(sys, "argv", ["im2rec.py", str(tmp_path / "all"), str(tmp_path / "p"), "--list", "--recursive"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(test_utils.get_im2rec_path(), run_name="__main__")
    assert (tmp_path / "all.lst").read_text() == f"0\t0.000000\t{Path('red/one.jpg')}\n"


def _zipped(files):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return whole.getvalue()


# What `import mxnet` (1.9.1) lets scripts reach as attributes, found by walking `sys.modules`; without modules of its C
# library and of code that it generates, `numpy`, `onnx`, `rtc`, `library`, `error` and what needs other packages.
MODULES = """attribute autograd base callback context contrib contrib.autograd contrib.io contrib.ndarray
    contrib.quantization contrib.symbol contrib.tensorboard contrib.text contrib.text.embedding contrib.text.utils
    contrib.text.vocab engine executor executor_manager gluon gluon.block gluon.contrib gluon.contrib.cnn
    gluon.contrib.cnn.conv_layers gluon.contrib.data gluon.contrib.data.sampler gluon.contrib.data.text
    gluon.contrib.estimator gluon.contrib.estimator.batch_processor gluon.contrib.estimator.estimator
    gluon.contrib.estimator.event_handler gluon.contrib.nn gluon.contrib.nn.basic_layers gluon.contrib.rnn
    gluon.contrib.rnn.conv_rnn_cell gluon.contrib.rnn.rnn_cell gluon.data gluon.data.dataloader gluon.data.dataset
    gluon.data.sampler gluon.data.vision gluon.data.vision.datasets gluon.data.vision.transforms gluon.loss
    gluon.model_zoo gluon.model_zoo.model_store gluon.model_zoo.vision gluon.model_zoo.vision.densenet
    gluon.model_zoo.vision.inception gluon.model_zoo.vision.mobilenet gluon.model_zoo.vision.resnet
    gluon.model_zoo.vision.squeezenet gluon.model_zoo.vision.vgg gluon.nn gluon.nn.activations gluon.nn.basic_layers
    gluon.nn.conv_layers gluon.parameter gluon.rnn gluon.rnn.rnn_cell gluon.rnn.rnn_layer gluon.trainer gluon.utils
    image image.detection image.image initializer io io.io io.utils kvstore kvstore.base kvstore.kvstore
    kvstore.kvstore_server libinfo log lr_scheduler metric model module module.base_module module.bucketing_module
    module.executor_group module.module module.python_module module.sequential_module monitor name ndarray
    ndarray.contrib ndarray.image ndarray.linalg ndarray.ndarray ndarray.op ndarray.random ndarray.sparse ndarray.utils
    operator optimizer optimizer.contrib optimizer.optimizer profiler random recordio registry rnn rnn.io rnn.rnn
    rnn.rnn_cell runtime symbol symbol.contrib symbol.image symbol.linalg symbol.op symbol.random symbol.sparse
    symbol.symbol test_utils util visualization""".split()


@pytest.mark.parametrize("path", MODULES)
def test_modules_are_reached_as_attributes(path):
    assert isinstance(attrgetter(path)(mx), ModuleType)


def test_what_iterators_of_users_are_made_of():
    arrays = mx.io.utils._init_data({"b": np.arange(6).reshape(3, 2), "a": [1, 2, 3]}, False, "data")
    assert [(name, array.shape) for name, array in arrays] == [("a", (3,)), ("b", (3, 2))]
    assert mx.io.utils._has_instance(arrays, mx.nd.NDArray) and not mx.io.utils._has_instance(arrays, np.ndarray)
    (_, a), (_, b) = mx.io.io._getdata_by_idx(arrays, np.array([2, 0]))
    assert a.asnumpy().tolist() == [3, 1] and b.asnumpy().tolist() == [[4, 5], [0, 1]]
    assert mx.io.utils._slice_along_batch_axis(b, slice(1, 2), 0).asnumpy().tolist() == [[0, 1]]
    assert mx.io.utils._init_data(None, True, "label") == []
    with pytest.raises(ConflictError, match="there are no arrays"):
        mx.io.utils._init_data(None, False, "data")
