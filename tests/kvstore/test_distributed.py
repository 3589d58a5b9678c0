"""Stores over several ranks, which are threads here: what they sum, in which buckets, and what they refuse."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import symc as mx
from symc import autograd, gluon
from symc.core.errors import ConflictError, MissingPackageError, ShapeError, SymcError
from symc.kvstore import mpi
from symc.kvstore.distributed import DistributedKVStore

from .ranks import ThreadCommunicator, on_ranks


def test_ranks_begin_with_the_values_of_rank_0_and_see_the_sum():
    def work(ranks: ThreadCommunicator) -> list[np.ndarray]:
        store = DistributedKVStore("dist_sync", ranks)
        mine = mx.nd.full((2, 3), ranks.rank + 1)
        first, total = mx.nd.zeros((2, 3)), mx.nd.zeros((2, 3))
        store.init("w", mine)
        store.pull("w", first)
        store.barrier()
        store.push("w", [mine, mine])  # of two contexts
        store.pull("w", total)
        assert (store.rank, store.num_workers, store.type) == (ranks.rank, 3, "dist_sync")
        return [first.asnumpy(), total.asnumpy()]

    for first, total in on_ranks(3, work):
        np.testing.assert_array_equal(first, np.ones((2, 3)))
        np.testing.assert_array_equal(total, np.full((2, 3), 2 * (1 + 2 + 3)))


X = np.random.default_rng(0).normal(size=(24, 5))
Y = X @ np.arange(1.0, 6) + 0.5
RATE, MOMENTUM, N_STEPS, BATCH = 0.1, 0.9, 6, 8


def expected_weights() -> tuple[np.ndarray, float]:
    """Least squares by gradient descent over whole batches, from zeros, in float64: weights and bias."""
    w, b, vw, vb = np.zeros(5), 0.0, np.zeros(5), 0.0
    for k in range(N_STEPS):
        x, y = (a[k * BATCH % 24 :][:BATCH] for a in (X, Y))
        error = x @ w + b - y
        vw, vb = MOMENTUM * vw - RATE * error @ x / BATCH, MOMENTUM * vb - RATE * error.sum() / BATCH
        w, b = w + vw, b + vb
    return w, b


def parts(ranks: ThreadCommunicator, k: int) -> list[mx.nd.NDArray]:
    """This rank's part of a batch, by num_parts and part_index."""
    size = BATCH // ranks.size
    begin = k * BATCH % 24 + ranks.rank * size
    return [mx.nd.array(a[begin : begin + size]) for a in (X, Y)]


@pytest.mark.parametrize("update_on_kvstore", [True, False])
def test_gluon_trains_as_one_process_would(update_on_kvstore):
    def work(ranks: ThreadCommunicator) -> list[np.ndarray]:
        net = gluon.nn.Dense(1, in_units=5)
        net.initialize(mx.init.Constant(ranks.rank))  # rank 0's zeros count
        trainer = gluon.Trainer(
            net.collect_params(), "sgd", {"learning_rate": RATE, "momentum": MOMENTUM},
            kvstore=DistributedKVStore("dist_sync", ranks), update_on_kvstore=update_on_kvstore,
        )  # fmt: skip
        trainer._make_ready()
        for k in range(N_STEPS):
            x, y = parts(ranks, k)
            with autograd.record():
                loss = gluon.loss.L2Loss()(net(x), y)
            loss.backward()
            trainer.step(BATCH)
        return [net.weight.data().asnumpy(), net.bias.data().asnumpy()]

    found = on_ranks(2, work)
    for ours, expected in zip(found[0], expected_weights()):
        np.testing.assert_allclose(ours.ravel(), expected, rtol=1e-5)
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("is_on_store", ["1", "0"])
def test_modules_train_as_one_process_would(monkeypatch, is_on_store):
    """By itself a module divides by the batch size of all workers."""
    monkeypatch.setenv("MXNET_UPDATE_ON_KVSTORE", is_on_store)

    def work(ranks: ThreadCommunicator) -> dict[str, np.ndarray]:
        fc = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=1, name="fc")
        net = mx.sym.LinearRegressionOutput(fc, mx.sym.Variable("label"))
        module = mx.mod.Module(net, label_names=("label",))
        size = BATCH // ranks.size
        module.bind([("data", (size, 5))], [("label", (size,))])
        module.init_params(mx.init.Constant(ranks.rank))
        store = DistributedKVStore("dist_sync", ranks)
        module.init_optimizer(store, optimizer_params={"learning_rate": RATE, "momentum": MOMENTUM})
        assert module.get_params()[0]["fc_weight"].asnumpy().max() == 0
        for k in range(N_STEPS):
            x, y = parts(ranks, k)
            module.forward_backward(mx.io.DataBatch([x], [y]))
            module.update()
        assert 0 < store.traffic.early_share < 1  # those of the first steps were not
        return {name: array.asnumpy() for name, array in module.get_params()[0].items()}

    for found in on_ranks(2, work):
        for name, expected in zip(("fc_weight", "fc_bias"), expected_weights()):
            np.testing.assert_allclose(found[name].ravel(), expected, rtol=1e-5)


def test_nothing_is_pulled_into_an_array_of_another_shape():
    store = mx.kv.create("local")
    store.init("w", mx.nd.ones((2, 3)))
    for shape in ((1, 3), (3,), (4, 2, 3)):  # the last is one that NumPy would broadcast to
        with pytest.raises(ShapeError, match=r"pull: key w has shape \(2, 3\), out has "):
            store.pull("w", mx.nd.zeros(shape))
        with pytest.raises(ShapeError, match=r"push: key w has shape \(2, 3\), got "):
            store.push("w", mx.nd.zeros(shape))


def test_ranks_that_do_not_agree_are_told():
    def work(ranks: ThreadCommunicator) -> None:
        DistributedKVStore("dist_sync", ranks).init("w", mx.nd.zeros((2, ranks.rank + 1)))

    with pytest.raises(ConflictError, match=r"init: the ranks do not have.*; rank 0 of 2 has w: float32 \(2, 1\)"):
        on_ranks(2, work)


@pytest.mark.parametrize("name", ["dist_async", "dist_async_device", "nccl", "horovod"])
def test_what_is_not_synchronous_names_the_alternative(name):
    with pytest.raises(SymcError, match=r"there are no servers.*'dist_sync'.*mpirun -n 4"):
        mx.kv.create(name)
    with pytest.raises(SymcError, match="mpirun -n 4"):
        mx.kvstore.kvstore_server.KVStoreServer(None)


def test_without_mpi4py_the_extra_is_named(monkeypatch):
    mpi.mpi_world.cache_clear()
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingPackageError, match=r"needs mpi4py.*pip install 'symc\[mpi\]'"):
        mx.kv.create("dist_sync")
    monkeypatch.setenv("DMLC_ROLE", "server")
    with pytest.raises(SymcError, match=r"MXNet's server \(DMLC_ROLE\).*mpirun"):
        mx.kv.create("dist_device_sync")


class Mpi:
    """As much of mpi4py as tells that a rank has left."""

    ANY_SOURCE = -1

    def __init__(self, gone: list[int]) -> None:
        self.gone = gone

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 3

    def Iprobe(self, source: int, tag: int) -> bool:
        return bool(self.gone)

    def recv(self, source: int, tag: int) -> int:
        return self.gone.pop()

    def Test(self) -> bool:  # of a request
        return False


def test_waiting_for_a_rank_that_has_left_is_an_error(monkeypatch):
    monkeypatch.setattr(mpi, "GRACE_S", 0.0)
    monkeypatch.setattr(mpi, "LOOK_EVERY", 1)
    monkeypatch.setattr(mpi.atexit, "register", lambda leave: None)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    world = Mpi([2])
    with pytest.raises(SymcError, match=r"rank 0 of 3 waits for rank 2, whose script has ended.*as many batches"):
        mpi.MpiPending(world, mpi._Departures(world, world)).wait()
