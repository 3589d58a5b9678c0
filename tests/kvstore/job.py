"""A training script as `mpirun -n N python -m tests.kvstore.job ...` starts it; rank 0 prints each step's loss.

Every rank trains on `--contexts` contexts, so that ranks x contexts parts share a batch of always the same samples.
A checkpoint is written after each epoch; the job goes on from the last complete one. `--die PLACE STEP WAY` ends rank 1
at a place of a step: by "kill", by "raise", or by that exit code.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import symc as mx
from symc import autograd, gluon

SHAPES = {"lenet": (1, 28, 28), "resnet": (3, 32, 32)}
BATCH, N_BATCHES, N_CLASSES = 16, 3, 10
DIE_AT = ("create", "init", "forward", "backward", "sum", "update", "barrier", "save", "saved", "end")


def network(name: str) -> gluon.HybridBlock:
    """LeNet, or ResNet-18 for small images."""
    if name == "resnet":
        return gluon.model_zoo.vision.resnet18_v1(classes=N_CLASSES, thumbnail=True)
    net = gluon.nn.HybridSequential()
    net.add(
        gluon.nn.Conv2D(20, 5, activation="tanh"), gluon.nn.MaxPool2D(2, 2), gluon.nn.Conv2D(50, 5, activation="tanh"),
        gluon.nn.MaxPool2D(2, 2), gluon.nn.Flatten(), gluon.nn.Dense(500, activation="tanh"), gluon.nn.Dense(N_CLASSES),
    )  # fmt: skip
    return net


class Job:
    """The script's data, arguments and ways to die."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.step = 0
        self.die("create")
        self.store = mx.kv.create(options.kvstore)
        self.losses = mx.kv.create(options.kvstore)  # without an optimizer: sums alone
        self.losses.init("loss", mx.nd.zeros(1, dtype="float64"))
        self.contexts = [mx.cpu(k) for k in range(options.contexts)]
        rng = np.random.default_rng(7)
        self.x = rng.normal(size=(BATCH * N_BATCHES, *SHAPES[options.net])).astype(options.dtype)
        self.y = rng.integers(0, N_CLASSES, BATCH * N_BATCHES).astype(options.dtype)
        mx.random.seed(self.store.rank)  # ranks would begin with other weights
        np.random.seed(self.store.rank)  # noqa: NPY002  MXNet's initializers draw from it

    def die(self, place: str) -> None:
        """Ends this rank in the way it was told, at a place of a step."""
        place_to_die, step, way = self.options.die
        if place != place_to_die or self.step != int(step) or self.rank != 1:
            return
        if way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "raise":
            raise ValueError("a sample cannot be read")
        sys.exit(int(way))

    @property
    def rank(self) -> int:
        if hasattr(self, "store"):
            return self.store.rank
        return int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK", 0)))

    def batches(self) -> Iterator[tuple[mx.nd.NDArray, mx.nd.NDArray]]:
        """This rank's part of each batch."""
        size = BATCH // self.store.num_workers
        for begin in range(self.store.rank * size, BATCH * N_BATCHES, BATCH):
            yield tuple(mx.nd.array(a[begin : begin + size], dtype=a.dtype) for a in (self.x, self.y))

    def tell(self, outputs: list[mx.nd.NDArray], labels: list[mx.nd.NDArray]) -> None:
        """Prints the mean loss over the whole batch."""
        losses = [-np.log(p.asnumpy()[np.arange(len(y)), y.asnumpy().astype(int)]) for p, y in zip(outputs, labels)]
        total = mx.nd.array([np.concatenate(losses).sum(dtype=np.float64)], dtype="float64")
        self.losses.push("loss", total)
        self.losses.pull("loss", total)
        if self.store.rank == 0:
            print(f"step {self.step}: {total.asscalar() / BATCH:.9f}", flush=True)

    def require_equal(self, parameters: dict[str, mx.nd.NDArray]) -> None:
        """All ranks have the same bits."""
        code = zlib.crc32(b"".join(parameters[name].asnumpy().tobytes() for name in sorted(parameters)))
        ends = np.array([code, -code])
        self.store._communicator.maximum(ends)
        assert ends[0] == -ends[1], "the ranks' parameters differ"

    def last_epoch(self, ending: str) -> int:
        """How many epochs are complete: the states are written last."""
        found = [re.fullmatch(rf"job-(\d+)\.{ending}", p.name) for p in Path(self.options.folder).iterdir()]
        return max((int(m[1]) for m in found if m), default=0)

    def path(self, epoch: int, ending: str) -> str:
        return f"{self.options.folder}/job-{epoch:04d}.{ending}"


def train_gluon(job: Job) -> None:
    net = network(job.options.net)
    begin = job.last_epoch("trainer")
    if begin:
        net.load_parameters(job.path(begin, "weights"), ctx=job.contexts)
    else:
        net.initialize(mx.init.Xavier(), ctx=job.contexts)
    net.cast(job.options.dtype)
    net.hybridize()
    for ctx in job.contexts:
        net(mx.nd.zeros((1, *SHAPES[job.options.net]), ctx=ctx, dtype=job.options.dtype))
    rates = {"learning_rate": job.options.rate, "momentum": 0.9}
    trainer = gluon.Trainer(net.collect_params(), "sgd", rates, kvstore=job.store)
    job.die("init")
    if begin:
        trainer.load_states(job.path(begin, "trainer"))
    trainer._make_ready()
    measure = gluon.loss.SoftmaxCrossEntropyLoss()
    job.step = begin * N_BATCHES
    for epoch in range(begin + 1, job.options.epochs + 1):
        for x, y in job.batches():
            xs, ys = (gluon.utils.split_and_load(a, job.contexts) for a in (x, y))
            job.die("forward")
            with autograd.record():
                outs = [net(part) for part in xs]
                losses = [measure(out, part) for out, part in zip(outs, ys)]
            job.die("backward")
            for loss in losses:
                loss.backward()
            job.die("sum")
            trainer.step(BATCH)
            job.die("update")
            job.tell([mx.nd.softmax(out) for out in outs], ys)
            job.step += 1
        job.die("save")
        if job.store.rank == 0:
            net.save_parameters(job.path(epoch, "weights"))
            trainer.save_states(job.path(epoch, "trainer"))
        job.die("barrier")
        job.store._barrier()
        job.die("saved")
    trained = net.collect_params(".*(weight|bias|gamma|beta)")
    job.require_equal({name: p.data(job.contexts[0]) for name, p in trained.items()})


def train_module(job: Job) -> None:
    prefix, begin = f"{job.options.folder}/job", job.last_epoch("states")
    if begin:
        module = mx.mod.Module.load(prefix, begin, load_optimizer_states=True, context=job.contexts)
    else:
        net = network(job.options.net)
        symbol = mx.sym.SoftmaxOutput(net(mx.sym.Variable("data")), mx.sym.Variable("softmax_label"), name="softmax")
        module = mx.mod.Module(symbol, context=job.contexts)
    size = BATCH // job.store.num_workers
    module.bind([("data", (size, *SHAPES[job.options.net]))], [("softmax_label", (size,))])
    module.init_params(mx.init.Xavier())
    job.die("init")
    module.init_optimizer(job.store, "sgd", {"learning_rate": job.options.rate, "momentum": 0.9})
    job.step = begin * N_BATCHES
    for epoch in range(begin + 1, job.options.epochs + 1):
        for x, y in job.batches():
            job.die("forward")
            module.forward(mx.io.DataBatch([x], [y]), is_train=True)
            job.die("backward")
            module.backward()
            job.die("sum")
            module.update()
            job.die("update")
            job.tell(module.get_outputs(), [y])
            job.step += 1
        job.die("save")
        if job.store.rank == 0:
            module.save_checkpoint(prefix, epoch, save_optimizer_states=True)
        job.die("barrier")
        job.store._barrier()
        job.die("saved")
    job.require_equal(module.get_params()[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--net", choices=SHAPES, default="lenet")
    parser.add_argument("--face", choices=("gluon", "module"), default="gluon")
    parser.add_argument("--kvstore", default="dist_sync")
    parser.add_argument("--contexts", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="of Gluon's network")
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--die", nargs=3, metavar=("PLACE", "STEP", "WAY"), default=("nowhere", "0", "kill"))
    job = Job(parser.parse_args())
    (train_gluon if job.options.face == "gluon" else train_module)(job)
    job.die("end")
    if job.store.rank == 0:
        print(job.store.traffic)


if __name__ == "__main__":
    main()
