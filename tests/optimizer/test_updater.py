"""Updaters: what is prepared once, what is updated together, and which pickles are read."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

import symc as mx
from symc.core.errors import FormatError
from symc.ndarray import updates

nd, opt = mx.nd, mx.optimizer
SHAPES = [(3, 2), (4,), (2, 2, 2)]


def arrays(seed: int, dtype: str = "float32") -> list[mx.nd.NDArray]:
    rng = np.random.default_rng(seed)
    return [nd.array(rng.normal(size=shape), dtype=dtype) for shape in SHAPES]


@pytest.mark.parametrize("name", ["sgd", "nag", "signum", "adam", "adagrad", "rmsprop", "ftrl"])
def test_rates_that_change_prepare_nothing_anew(name, monkeypatch):
    made = []
    function = updates._function
    monkeypatch.setattr(updates, "_function", lambda *args: made.append(args) or function(*args))
    optimizer = opt.create(name, wd=0.1, epsilon=3e-7) if name in ("adam", "rmsprop") else opt.create(name, wd=0.1)
    optimizer.clip_gradient = 0.001 * sum(map(ord, name))  # no other test has prepared this
    updater, weights = opt.get_updater(optimizer), arrays(0)
    for step in range(4):
        optimizer.set_learning_rate(0.1 / (step + 1))
        optimizer.rescale_grad = 1 / (step + 8)
        updater([0, 1, 2], arrays(step), weights)
    assert len(made) == 1


@pytest.mark.parametrize("name", ["sgd", "adam", "lamb"])
def test_together_as_one_by_one(name):
    made = []
    for is_together in (True, False):
        updater = opt.get_updater(opt.create(name, learning_rate=0.1, wd=0.01, param_idx2name={1: "b_bias"}))
        weights = arrays(0)
        for step in range(3):
            if is_together:
                updater([0, 1, 2], arrays(step), weights)
            else:
                for k, grad in enumerate(arrays(step)):
                    updater(k, grad, weights[k])
        made.append([w.asnumpy() for w in weights])
    for together, alone in zip(*made):
        np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_weights_of_several_dtypes_are_updated():
    optimizer = opt.SGD(learning_rate=1.0, momentum=0.9, multi_precision=True)
    updater = opt.get_updater(optimizer)
    weights = [nd.ones((2,), dtype=dtype) for dtype in ("float16", "float32", "float64")]
    updater([0, 1, 2], [w * 0.25 for w in weights], weights)
    assert [w.asnumpy().tolist() for w in weights] == [[0.75, 0.75]] * 3
    assert [w.dtype for w in weights] == [np.float16, np.float32, np.float64]
    assert updater.states[0][1].dtype == np.float32


def test_an_update_of_a_subclass_gets_one_weight():
    seen = []

    class Mine(opt.Adam):
        def update(self, index, weight, grad, state):
            seen.append((index, weight.shape))

    opt.get_updater(Mine())([0, 1, 2], arrays(0), arrays(1))
    assert seen == list(enumerate(SHAPES))


def test_states_are_written_under_the_names_of_mxnet_and_read_again():
    updater = opt.get_updater(opt.Adam(learning_rate=0.5, lr_scheduler=mx.lr_scheduler.PolyScheduler(9)))
    updater([0, 1, 2], arrays(0), arrays(1))
    content = updater.get_states(dump_optimizer=True)
    assert b"symc" not in content
    other = opt.get_updater(opt.SGD())
    other.set_states(content)
    assert isinstance(other.optimizer, opt.Adam) and other.optimizer.num_update == 1
    for own, read in zip(updater.states.values(), other.states.values()):
        np.testing.assert_array_equal(own[0].asnumpy(), read[0].asnumpy())


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("/nowhere/harm",)


@pytest.mark.parametrize(
    "content, match",
    [
        (pickle.dumps({0: Harmful()}), "mkdir, which is no array"),
        (pickle.dumps({0: np.zeros(2, object)}), "which is no array"),
        (pickle.dumps(None), "optimizer states: NoneType, expected a dictionary"),
        (pickle.dumps(([], None)), "optimizer states: list, expected a dictionary"),
        (b"no pickle", "no pickle that can be read"),
        (pickle.dumps({0: 1})[:-3], "no pickle that can be read"),
    ],
)
def test_other_pickles_are_refused(content, match):
    with pytest.raises(FormatError, match=match):
        opt.get_updater(opt.SGD()).set_states(content)


@pytest.mark.parametrize("base", [opt.SGD, opt.NAG])
def test_an_update_of_a_subclass_is_passed_by_where_mxnet_does(base):
    class Mine(base):
        def update(self, index, weight, grad, state):
            raise AssertionError

    weight, gradient = nd.ones(2), nd.ones(2)
    with pytest.warns(UserWarning, match=r"Mine.update is not called in training"):
        opt.get_updater(Mine(learning_rate=0.5))(0, gradient, weight)
    assert weight.asnumpy().tolist() == [0.5, 0.5]


class Counted(opt.Optimizer):
    """An optimizer of the user's own that takes several weights at once."""

    def __init__(self):
        super().__init__()
        self.aggregate_num = 4
        self.seen = []

    def create_state(self, index, weight):
        return None

    def update_multi_precision(self, index, weight, grad, state):
        self.seen.append([*index])


def test_a_store_hands_an_optimizer_of_ones_own_one_weight_at_a_time():
    optimizer, store = Counted(), mx.kv.create("local")
    store.set_optimizer(optimizer)
    store.init([0, 1], [nd.ones(2), nd.ones(3)])
    store.push([0, 1], [nd.ones(2), nd.ones(3)])
    assert store._updater.optimizer.seen == [[0], [1]]
    opt.get_updater(optimizer)([0, 1], [nd.ones(2), nd.ones(3)], [nd.ones(2), nd.ones(3)])
    assert optimizer.seen[-1] == [0, 1]
