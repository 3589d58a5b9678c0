"""Callbacks: texts and times of their calls are MXNet's."""

from __future__ import annotations

import logging

import pytest

import symc as mx


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records]


@pytest.fixture
def metric():
    found = mx.metric.create(["acc", "ce"])
    found.update([mx.nd.array([0, 1])], [mx.nd.array([[0.5, 0.5], [0.5, 0.5]])])
    return found


def ends(callback, metric, epoch=0, n_batches=5):
    for k in range(n_batches):
        callback(mx.model.BatchEndParam(epoch, k, metric, None))


def without_speed(text):
    start, _, rest = text.partition("Speed: ")
    speed, _, values = rest.partition(" samples/sec")
    assert float(speed) > 0
    return start + values


def test_speedometer(lines, metric):
    ends(mx.callback.Speedometer(2, 2, auto_reset=False), metric, epoch=1)
    ends(mx.callback.Speedometer(2, 2), None, epoch=2, n_batches=3)
    values = "\taccuracy=0.500000\tcross-entropy=0.693147"
    assert [without_speed(line) for line in lines()] == [
        f"Epoch[1] Batch [0-2]\t{values}", f"Epoch[1] Batch [0-4]\t{values}", "Iter[2] Batch [2]\t",
    ]  # fmt: skip


def test_speedometer_resets_the_metric_and_starts_anew_with_an_epoch(lines, metric):
    speed = mx.callback.Speedometer(2, 2)
    ends(speed, metric)
    ends(speed, metric, epoch=1, n_batches=2)
    assert [without_speed(line).split("\t")[0] for line in lines()] == ["Epoch[0] Batch [0-2]", "Epoch[0] Batch [2-4]"]
    assert "accuracy=nan" in lines()[1]


def test_logs_of_metrics(lines, metric):
    mx.callback.LogValidationMetricsCallback()(mx.model.BatchEndParam(3, 0, metric, None))
    ends(mx.callback.log_train_metric(2, auto_reset=True), metric, n_batches=3)
    mx.callback.ProgressBar(5, 10)(mx.model.BatchEndParam(0, 3, metric, None))
    assert lines()[:4] == [
        "Epoch[3] Validation-accuracy=0.500000", "Epoch[3] Validation-cross-entropy=0.693147",
        "Iter[0] Batch[0] Train-accuracy=0.500000", "Iter[0] Batch[0] Train-cross-entropy=0.693147",
    ]  # fmt: skip
    assert lines()[4] == "Iter[0] Batch[2] Train-accuracy=nan" and lines()[-1].strip() == "[======----] 60%"


def test_checkpoints(tmp_path):
    net = mx.sym.Variable("x") * 2
    save = mx.callback.do_checkpoint(str(tmp_path / "a"), period=2)
    for epoch in range(4):
        save(epoch, net, {"x": mx.nd.ones(1)}, {})
    module = mx.mod.Module(net, data_names=["x"], label_names=None)
    module.bind([("x", (1,))], for_training=False)
    module.init_params()
    mx.callback.module_checkpoint(module, str(tmp_path / "m"))(0)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a-0002.params", "a-0004.params", "a-symbol.json", "m-0001.params", "m-symbol.json",
    ]  # fmt: skip
