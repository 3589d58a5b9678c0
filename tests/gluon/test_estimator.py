"""`gluon.contrib.estimator`: a training logs and saves what it does in MXNet 1.9.1, handlers included.

The recorded log is MXNet's but for three faults of its CheckpointHandler: it says "improved from" the new value, gives
the number of the batch as that of the epoch where nothing improved, and does not count, and so never removes, the files
of the training that it resumes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc import gluon
from symc.core.errors import ArgumentError, ConflictError
from symc.gluon.contrib.estimator import (
    BatchEnd,
    CheckpointHandler,
    EarlyStoppingHandler,
    Estimator,
    LoggingHandler,
    MetricHandler,
    ValidationHandler,
)

from .estimator_script import main, without_times

LOG = (Path(__file__).parent / "data/estimator_log.txt").read_text()
LOADER = gluon.data.DataLoader(gluon.data.ArrayDataset(np.ones((6, 2), "float32"), np.ones(6, "float32")), 2)


def test_a_training_logs_and_saves_what_mxnet_does(capsys):
    main(mx)
    assert without_times(capsys.readouterr().out) == LOG


def estimator(**options):
    net = gluon.nn.Dense(1, in_units=2)
    net.initialize()
    options.setdefault("trainer", gluon.Trainer(net.collect_params(), "sgd"))
    return Estimator(net, gluon.loss.L2Loss(), **options)


class Counting(BatchEnd):
    """Counts batches, and says when it has enough."""

    def __init__(self, enough=100):
        self.n, self.enough = 0, enough

    def batch_end(self, estimator, *args, **kwargs):
        self.n += 1
        return self.n == self.enough


def test_a_handler_ends_an_epoch_and_training_ends_by_batches():
    counting = Counting(enough=2)
    estimator().fit(LOADER, epochs=2, event_handlers=counting)
    assert counting.n == 2 + 3
    counting = Counting()
    estimator().fit(LOADER, batches=7, event_handlers=[counting])
    assert counting.n == 7


def test_validation_by_batches_and_metrics_by_name():
    made, seen = estimator(), []
    every_second = ValidationHandler(LOADER, lambda **given: seen.append(given), epoch_period=None, batch_period=2)
    made.fit(LOADER, epochs=2, event_handlers=every_second)
    assert [given["val_data"] for given in seen] == [LOADER] * 3
    assert [m.name for m in made.train_metrics + made.val_metrics] == ["training l2loss", "validation l2loss"]


def test_several_contexts_share_a_batch():
    net = gluon.nn.Dense(1, in_units=2)
    net.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    made = Estimator(net, gluon.loss.L2Loss(), trainer=trainer, context=[mx.cpu(0), mx.cpu(1)])
    before = net.weight.data(mx.cpu(0)).asnumpy()
    made.fit(LOADER, batches=1)
    after = [net.weight.data(mx.cpu(k)).asnumpy() for k in (0, 1)]
    assert (after[0] != before).any() and (after[0] == after[1]).all()


def test_a_composite_metric_is_taken_apart():
    composite = mx.metric.CompositeEvalMetric([mx.metric.MAE(), mx.metric.MSE()])
    made = estimator(train_metrics=composite)
    assert [m.name for m in made.train_metrics] == ["training mae", "training mse"]


def test_what_does_not_fit_is_refused(tmp_path):
    metric = mx.metric.MAE()
    for options, kind, message in (
        ({"context": mx.gpu(0)}, ConflictError, r"gpu\(0\) is not available"),
        ({"context": "cpu"}, ArgumentError, "must be a Context"),
        ({"trainer": "sgd"}, ArgumentError, "must be a Gluon Trainer"),
        ({"train_metrics": "acc"}, ArgumentError, "must be a Metric"),
        ({"val_loss": "l2"}, ArgumentError, "must be a Loss"),
        ({"batch_processor": 3}, ArgumentError, "fit_batch"),
    ):
        with pytest.raises(kind, match=message):
            estimator(**options)
    for arguments, message in (
        ({"epochs": 1, "batches": 1}, "one and only one"),
        ({}, "one and only one"),
        ({"epochs": 1, "event_handlers": [3]}, "must be an EventHandler"),
        ({"epochs": 1, "event_handlers": MetricHandler(metric)}, "outside of the known"),
    ):
        with pytest.raises(ArgumentError, match=message):
            estimator().fit(LOADER, **arguments)
    with pytest.raises(ArgumentError, match="only support input as Gluon DataLoader"):
        estimator().fit([1], epochs=1)
    with pytest.raises(ArgumentError, match="log_interval must be"):
        LoggingHandler("batch")
    with pytest.raises(ArgumentError, match="To save best model only"):
        CheckpointHandler(str(tmp_path), save_best=True)
    with pytest.raises(ArgumentError, match="specify a simple metric"):
        EarlyStoppingHandler(mx.metric.CompositeEvalMetric())
    with pytest.raises(ArgumentError, match="Please provide one"):
        EarlyStoppingHandler("acc")
    resuming = CheckpointHandler(str(tmp_path), resume_from_checkpoint=True)
    with pytest.raises(ConflictError, match="same type of period"):
        estimator().fit(LOADER, batches=2, event_handlers=resuming)


def test_what_is_done_anyhow_is_warned_of():
    with pytest.warns(UserWarning, match="default SGD optimizer"):
        Estimator(gluon.nn.Dense(1, in_units=2), gluon.loss.L2Loss())
    with pytest.warns(UserWarning, match="already fully initialized"):
        estimator(initializer=mx.init.One())
    with pytest.warns(RuntimeWarning, match="mode up is unknown"), pytest.warns(UserWarning, match="`greater`"):
        EarlyStoppingHandler(mx.metric.MAE(), mode="up")
    stopping = EarlyStoppingHandler(mx.metric.MAE(), mode="min")
    with pytest.warns(RuntimeWarning, match="mae is not updated"):
        estimator().fit(LOADER, epochs=1, event_handlers=stopping)
