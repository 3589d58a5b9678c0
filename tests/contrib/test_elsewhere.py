"""What of `mx.contrib` needs another package, or is not there, says so."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import symc as mx
from symc.contrib import onnx, tensorboard
from symc.core.errors import SymcError


def test_metrics_go_to_whatever_writes_them(monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            assert folder == "logs"

        def add_scalar(self, name, value, global_step):
            written.append((name, value, global_step))

    monkeypatch.setitem(sys.modules, "mxboard", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    metric = mx.metric.MAE()
    metric.update([mx.nd.array([1.0])], [mx.nd.array([3.0])])
    for prefix in (None, "train"):
        callback = tensorboard.LogMetricsCallback("logs", prefix)
        callback(mx.model.BatchEndParam(epoch=4, nbatch=1, eval_metric=metric, locals={}))
        callback(mx.model.BatchEndParam(epoch=4, nbatch=1, eval_metric=None, locals={}))
    assert written == [("mae", 2.0, 4), ("train-mae", 2.0, 4)]


def test_without_a_writer_one_error_names_them(monkeypatch):
    for module in tensorboard.WRITERS:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SymcError, match=r"needs one of mxboard, tensorboardX, .*: pip install tensorboardX"):
        tensorboard.LogMetricsCallback("logs")


def test_onnx_is_refused_with_a_way_out():
    for read in (onnx.import_model, onnx.get_model_metadata, lambda file: onnx.import_to_gluon(file, mx.cpu())):
        with pytest.raises(SymcError, match=r"symc reads no ONNX file; convert m\.onnx to a -symbol\.json"):
            read("m.onnx")
    with pytest.raises(SymcError, match="symc writes no ONNX file"):
        onnx.export_model("m-symbol.json", "m-0000.params", [(1, 3)])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_loader_becomes_an_iterator_of_full_batches(dtype):
    samples = mx.gluon.data.ArrayDataset(mx.nd.arange(10).reshape((5, 2)), mx.nd.arange(5))
    batches = mx.contrib.io.DataLoaderIter(mx.gluon.data.DataLoader(samples, 2), "x", "y", dtype)
    assert [(d.name, d.shape) for d in (*batches.provide_data, *batches.provide_label)] == [("x", (2, 2)), ("y", (2,))]
    for _ in range(2):
        found = list(batches)
        assert [batch.pad for batch in found] == [0, 0, 1]
        assert {a.dtype for batch in found for a in (*batch.data, *batch.label)} == {np.dtype(dtype).type}
        data = np.concatenate([batch.data[0].asnumpy() for batch in found])
        label = np.concatenate([batch.label[0].asnumpy() for batch in found])
        np.testing.assert_array_equal(data, [*np.arange(10).reshape(5, 2), [0, 0]])
        np.testing.assert_array_equal(label, [0, 1, 2, 3, 4, 0])
        batches.reset()
