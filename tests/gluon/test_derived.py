"""Classes of other libraries that derive from Gluon's and use what MXNet's have inside."""

from __future__ import annotations

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
