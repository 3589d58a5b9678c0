"""The dictionaries of an Executor: assigning an array binds it; everything else about them is fixed."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError


def dense(**options):
    symbol = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="fc")
    return symbol.simple_bind(mx.cpu(), data=(2, 5), **options)


def test_an_assigned_argument_is_bound_in_place_of_the_old_one():
    ex = dense()
    ones = mx.nd.ones((2, 5))
    assert ex.forward(data=ones)[0].asnumpy().sum() == ex(data=ones)[0].asnumpy().sum() == 0
    weight = mx.nd.full((3, 5), 2)
    ex.arg_dict["fc_weight"] = weight
    assert ex.arg_dict["fc_weight"] is ex.arg_arrays[1] is weight
    assert (ex.forward()[0].asnumpy() == 10).all() and (ex(data=ones)[0].asnumpy() == 10).all()
    weight[:] = 3  # writes to it are seen, as of every bound array
    assert (ex.forward()[0].asnumpy() == 15).all() and (ex(data=ones)[0].asnumpy() == 15).all()
    assert (ex(data=mx.nd.ones((4, 5)))[0].asnumpy() == 15).all()


def test_assigning_compiles_nothing(monkeypatch):
    ex = dense()
    ex.forward()
    monkeypatch.setattr("symc.runtime.compiler.compile_graph", lambda *_: pytest.fail("compiled"))
    ex.arg_dict.update(fc_weight=mx.nd.ones((3, 5)), data=mx.nd.ones((2, 5)))
    assert (ex.forward()[0].asnumpy() == 5).all()


def test_gradients_and_states_can_be_replaced():
    ex = mx.sym.BatchNorm(mx.sym.var("x"), fix_gamma=False, momentum=0, name="bn").simple_bind(mx.cpu(), x=(4, 2))
    gradient, mean = mx.nd.zeros((4, 2)), mx.nd.zeros(2)
    old = ex.aux_dict["bn_moving_mean"]
    ex.grad_dict["x"], ex.aux_dict["bn_moving_mean"] = gradient, mean
    ex.arg_dict["bn_gamma"][:] = 1
    ex.forward(is_train=True, x=np.arange(8).reshape(4, 2))
    ex.backward(mx.nd.array(np.arange(8).reshape(4, 2) ** 2))
    assert mean.asnumpy().tolist() == [3, 4] and not old.asnumpy().any()
    assert gradient.asnumpy().any()


def test_replacing_between_forward_and_backward():
    ex = (mx.sym.var("x") ** 2).simple_bind(mx.cpu(), x=(2,))
    ex.forward(is_train=True, x=mx.nd.array([1, 2]))
    ex.grad_dict["x"] = gradient = mx.nd.zeros(2)
    ex.backward(mx.nd.ones(2))
    assert gradient.asnumpy().tolist() == [2, 4]


def test_outputs_are_refused_as_arguments():
    """A run would read what it has overwritten."""
    x = mx.sym.var("x")
    ex = mx.sym.Group([x * 2, mx.sym.broadcast_sub(x, mx.sym.sum(x, axis=0, keepdims=True))]).simple_bind(
        mx.cpu(), x=(2, 3), grad_req="write"
    )
    bound = ex.arg_dict["x"]
    ex.forward(x=mx.nd.ones((2, 3)))
    reshaped = ex.reshape(x=(2, 3))
    for arrays in ex.arg_dict, ex.grad_dict, reshaped.arg_dict:
        with pytest.raises(ArgumentError, match=r"x \(to copy into .* memory of an output"):
            arrays["x"] = ex.outputs[0]
    assert ex.arg_dict["x"] is bound
    ex.arg_dict["x"] = ex.outputs[0].copy()
    assert (ex.forward()[1].asnumpy() == -2).all()
    ex.arg_dict["x"][:] = ex.outputs[0]
    assert (ex.forward()[1].asnumpy() == -4).all()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda ex: ex.arg_dict.__setitem__("w", mx.nd.ones(2)), ArgumentError, "argument w; expected one of data"),
        (lambda ex: ex.arg_dict.__setitem__("data", np.ones((2, 5))), ArgumentTypeError, r"arrays\[name\]\[:\] = "),
        (lambda ex: ex.arg_dict.__setitem__("data", mx.nd.ones((3, 5))), ArgumentError, r"3, 5\), expected \(2, 5\)"),
        (lambda ex: ex.arg_dict.update(data=mx.nd.ones((2, 5), dtype="float64")), ArgumentError, "is float64, exp"),
        (lambda ex: ex.grad_dict.__setitem__("data", mx.nd.ones((2, 5))), ArgumentError, "data was not asked for"),
        (lambda ex: ex.arg_dict.pop("data"), ArgumentError, "names of an executor's arguments are fixed: data"),
        (lambda ex: ex.arg_dict.clear(), ArgumentError, "are fixed"),
        (lambda ex: setattr(ex, "arg_dict", {}), AttributeError, "arg_dict"),
        (lambda ex: ex.aux_dict.__setitem__("m", mx.nd.ones(2)), ArgumentError, "Unknown auxiliary state m"),
    ],
)  # fmt: skip
def test_refused(change, error, message):
    ex = dense(grad_req={"fc_weight": "write"})
    with pytest.raises(error, match=message):
        change(ex)
    assert list(ex.arg_dict) == ["data", "fc_weight", "fc_bias"]


def test_they_are_dictionaries():
    ex = dense(grad_req="null")
    again = ex._symbol.bind(mx.cpu(), ex.arg_dict, grad_req="null")
    assert again.arg_dict["data"] is ex.arg_dict["data"]
    for copied in (copy.copy(ex.arg_dict), copy.deepcopy(ex.grad_dict), dict(ex.arg_dict)):
        assert type(copied) is dict and list(copied) == list(ex.arg_dict)


def test_an_executor_goes_with_its_last_user():
    ex = dense()
    ex.forward()
    gone = weakref.ref(ex.arg_dict["fc_weight"])
    gc.disable()
    try:
        del ex
        assert gone() is None
    finally:
        gc.enable()


def test_pickling_gives_a_dict_of_the_arrays():
    found = pickle.loads(pickle.dumps(dense(grad_req="null").grad_dict))
    assert found == dict.fromkeys(["data", "fc_weight", "fc_bias"])
