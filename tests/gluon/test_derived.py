"""Classes of other libraries that derive from Gluon's and use what MXNet's have inside."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import gluon, nd


class WeightDrop(gluon.Parameter):
    """A parameter in the place of another, as GluonNLP makes it: reading it drops elements of its array."""

    def __init__(self, p, rate):
        super().__init__(
            name=p.name, grad_req=p.grad_req, shape=p._shape, dtype=p.dtype, lr_mult=p.lr_mult, wd_mult=p.wd_mult,
            init=p.init, allow_deferred_init=p._allow_deferred_init, differentiable=p._differentiable,
        )  # fmt: skip
        self._rate = rate
        self._var, self._data, self._grad, self._trainer = p._var, p._data, p._grad, p._trainer
        self._ctx_list, self._ctx_map = p._ctx_list, p._ctx_map

    def data(self, ctx=None):
        return nd.Dropout(self._check_and_get(self._data, ctx), self._rate)


def dense(rate):
    net = gluon.nn.Dense(4, in_units=50, use_bias=False)
    net.initialize(mx.init.One())
    dropped = WeightDrop(net.weight, rate)
    net.params._params[dropped.name] = net._reg_params["weight"] = dropped
    object.__setattr__(net, "weight", dropped)
    return net


def test_a_parameter_that_drops_elements():
    x = nd.ones((1, 50))
    for is_hybridized in (False, True):
        net = dense(0.5)
        net.hybridize(is_hybridized)
        assert net(x).asnumpy().tolist() == [[50] * 4]  # predicting drops nothing
        with mx.autograd.record():
            y = net(x)
        y.backward()
        kept = net.weight.grad().asnumpy()
        assert set(kept.ravel()) == {0, 2} and (kept.sum(axis=1) == y.asnumpy()[0]).all()
        with mx.autograd.train_mode():
            assert net(x).asnumpy().tolist() != y.asnumpy().tolist()


@pytest.mark.parametrize("is_hybridized", [False, True])
def test_arrays_put_in_the_place_of_a_parameters_own(is_hybridized):
    """As MXFusion gives a network's weights values, whose gradients flow on."""
    net = gluon.nn.Dense(1, in_units=3, use_bias=False)
    net.initialize(mx.init.One())
    net.hybridize(is_hybridized)
    x, weight, before = nd.ones((1, 3)), nd.full((1, 3), 2), net.weight._data
    assert net(x).asscalar() == 3
    weight.attach_grad()
    place = net.weight._ctx_map[x.context.device_typeid & 1][x.context.device_id]
    with mx.autograd.record():
        net.weight._data[place] = weight * 4
        y = net(x)
    y.backward()
    assert y.asscalar() == 24 and weight.grad.asnumpy().tolist() == [[4] * 3]
    net.weight._data = [nd.zeros((1, 3))]
    assert net(x).asscalar() == 0
    net.weight._data = before
    assert net(x).asscalar() == 24


def stepped(trainer, net):
    """The first weight after a step from ones, of 2 samples whose gradients are ones."""
    with mx.autograd.record():
        y = net(nd.ones((2, 3)))
    y.backward()
    trainer.step(2)
    return net.weight.data().asnumpy()[0, 0]


def ones():
    net = gluon.nn.Dense(2, in_units=3)
    net.initialize(mx.init.One())
    return net


class Reducing(gluon.Trainer):
    """Sums gradients itself, without a store, as Horovod's does."""

    def _allreduce_grads(self):
        for parameter in self._params:
            parameter.grad()[:] *= 3

    def _update(self, ignore_stale_grad=False):
        assert self._optimizer.rescale_grad == 0.5 and not ignore_stale_grad
        super()._update(ignore_stale_grad)


def test_a_trainer_that_sums_gradients_itself():
    net = ones()
    trainer = Reducing(net.collect_params(), "sgd", {"learning_rate": 0.125}, kvstore=None)
    assert stepped(trainer, net) == 1 - 0.125 * 3


class Counting(mx.optimizer.Adam):
    def _update_count(self, index):
        self.seen = [*getattr(self, "seen", []), index]
        super()._update_count(index)


def test_an_optimizer_that_counts_itself_is_told_one_weight_at_a_time():
    net = ones()
    trainer = gluon.Trainer(net.collect_params(), Counting(learning_rate=0.125))
    assert abs(stepped(trainer, net) - 0.875) < 1e-5 and trainer.optimizer.seen == [0, 1]


class OfOne:
    """Rates as subclasses give them where MXNet asks for one weight at a time, and for those of lists."""

    def _get_lr(self, index):
        return 0.25 * (index + 1)

    def _get_wd(self, index):
        return 0.5


class OfLists:
    def _get_lrs(self, indices):
        return [0.25 for _ in range(self.aggregate_num)]

    def _get_wds(self, indices):
        return [0.5 for _ in indices]


@pytest.mark.parametrize(
    ("rates", "kind", "second"),
    [
        (OfOne, mx.optimizer.NAG, 1 - 0.5 * 1.5),
        (OfOne, mx.optimizer.Signum, 1 - 0.5 * 0.5 - 0.5),
        (OfOne, mx.optimizer.Adam, 0.5),
        (OfOne, mx.optimizer.SGD, 1 - 0.125),  # asks for lists only
        (OfLists, mx.optimizer.SGD, 1 - 0.25 * 1.5),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_rates_of_a_subclass_are_asked_for_as_mxnet_asks(rates, kind, second):
    class Own(rates, kind):
        pass

    options = {"momentum": 0.0} if kind is mx.optimizer.Signum else {}
    optimizer = Own(learning_rate=0.125, **options)
    if rates is OfLists:
        optimizer.aggregate_num = 1
    weights = [nd.ones((2,)) for _ in range(3)]
    mx.optimizer.get_updater(optimizer)([0, 1, 2], [nd.ones((2,)) for _ in range(3)], weights)
    np.testing.assert_allclose(weights[1].asnumpy(), second, rtol=1e-5)


class Scaling(mx.optimizer.Adam):
    def update_multi_precision(self, index, weight, grad, state):
        super().update_multi_precision(index, weight, grad * (index == 1), state)


def test_a_step_of_a_subclass_gets_one_weight_at_a_time():
    net = ones()
    trainer = gluon.Trainer(net.collect_params(), Scaling(learning_rate=0.125))
    assert abs(stepped(trainer, net) - 0.875) < 1e-5 and not net.bias.data().asnumpy().any()


class Best(mx.metric.EvalMetric):
    """Its own state is made after the base's: resetting must not ask for it before."""

    def __init__(self):
        super().__init__("best")
        self.best = 0.0

    def update(self, labels, preds):
        self.sum_metric += 1
        self.num_inst += 1

    def reset_local(self):
        self.best = max(self.best, self.get()[1])
        super().reset_local()


def test_a_metric_whose_local_reset_has_a_state():
    metric = Best()
    metric.update([], [])
    metric.reset_local()
    metric.reset()
    assert metric.best == 1 and metric.num_inst == 0
