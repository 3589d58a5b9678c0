"""A training by an Estimator, run by symc and by MXNet alike: prints what it logs, without times, and what it saves."""

import os
import re
import sys
import tempfile
import warnings

import numpy as np


def main(mx):
    """Prints, line by line."""
    from importlib import import_module

    gluon = mx.gluon
    parts = import_module(f"{mx.__name__}.gluon.contrib.estimator")
    warnings.simplefilter("ignore")
    rng = np.random.RandomState(0)
    points = rng.normal(size=(40, 5)).astype("float32")
    labels = (points[:, 0] > points[:, 1]).astype("float32")
    train, held = (
        gluon.data.DataLoader(gluon.data.ArrayDataset(points[part], labels[part]), 8)
        for part in (slice(0, 28), slice(28, 40))
    )
    folder = tempfile.mkdtemp()

    def estimator():
        net = gluon.nn.HybridSequential(prefix="net_")
        with net.name_scope():
            net.add(gluon.nn.Dense(2, in_units=5))
        net.initialize(mx.init.One())
        net.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5, "momentum": 0.9})
        made = parts.Estimator(net, gluon.loss.SoftmaxCrossEntropyLoss(), trainer=trainer, context=mx.cpu())
        made.logger.handlers[0].stream = sys.stdout
        return made

    def checkpoints(made, **more):
        return parts.CheckpointHandler(
            folder, "m", monitor=made.val_metrics[0], save_best=True, mode="max", verbose=1, max_checkpoints=2, **more
        )

    made = estimator()
    made.fit(train, held, epochs=4, event_handlers=[checkpoints(made)])
    print(sorted(os.listdir(folder)))
    made = estimator()
    made.fit(train, held, epochs=6, event_handlers=[checkpoints(made, resume_from_checkpoint=True)])
    print(sorted(os.listdir(folder)))
    made = estimator()
    stopping = parts.EarlyStoppingHandler(made.train_metrics[1], min_delta=0.05, patience=1, mode="min")
    made.fit(train, batches=30, event_handlers=[stopping, parts.LoggingHandler(2, made.train_metrics)])
    made.evaluate(held)
    print(stopping.stopped_epoch, round(float(stopping.best), 3), [metric.name for metric in made.val_metrics])


def without_times(text):
    """A log without seconds and the name of the folder."""
    return re.sub(r"\d+\.\d+s|\d+s\b", "..s", re.sub(r"at /\S+", "at ..", text))


if __name__ == "__main__":
    import mxnet

    main(mxnet)
