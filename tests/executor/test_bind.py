"""Arguments of bind, simple_bind and eval; what they hand to the Executor (which these tests replace)."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
import symc.executor

var = mx.sym.var


class Recorded:
    """Keeps what an Executor is made of."""

    def __init__(self, symbol, ctx, arg_arrays, grad_arrays, grad_req, aux_arrays):
        self.arg_dict, self.grad_dict, self.aux_dict = arg_arrays, grad_arrays, aux_arrays
        self.grad_req = grad_req

    def forward(self):
        return sorted(self.arg_dict) + sorted(self.aux_dict)


@pytest.fixture(autouse=True)
def _recorded(monkeypatch):
    monkeypatch.setattr(symc.executor, "Executor", Recorded)


def fc():
    return mx.sym.FullyConnected(var("data"), num_hidden=3, name="fc")


def bn():
    return mx.sym.BatchNorm(var("d"), name="bn")


def arrays(**changed):
    return {"data": mx.nd.ones((2, 5)), "fc_weight": mx.nd.ones((3, 5)), "fc_bias": mx.nd.ones((3,)), **changed}


def test_lists_and_dicts_are_the_callers_arrays():
    given = arrays(extra=mx.nd.ones((1,)))
    by_name = fc().bind(mx.cpu(), given)
    assert list(by_name.arg_dict) == fc().list_arguments() and by_name.arg_dict["data"] is given["data"]
    by_order = fc().bind(mx.cpu(), [given["data"], given["fc_weight"], given["fc_bias"]])
    assert by_order.arg_dict["fc_bias"] is given["fc_bias"]


def test_gradients_without_an_array_are_null():
    g = mx.nd.zeros((3, 5))
    e = fc().bind(mx.cpu(), arrays(), args_grad={"fc_weight": g}, grad_req="add")
    assert e.grad_dict == {"data": None, "fc_weight": g, "fc_bias": None}
    assert e.grad_req == {"data": "null", "fc_weight": "add", "fc_bias": "null"}
    e = fc().bind(mx.cpu(), arrays(), args_grad=[None, g, None], grad_req={"fc_weight": "write"})
    assert e.grad_req["fc_weight"] == "write"
    assert set(fc().bind(mx.cpu(), arrays()).grad_req.values()) == {"null"}


@pytest.mark.parametrize(
    "kwargs, error, message",
    [
        (dict(args={"data": None}), ValueError, "key `fc_weight` is missing in `args`"),
        (dict(args=[]), ValueError, "Length of args does not match the number of arguments"),
        (dict(args=None), TypeError, "Only accept list of NDArrays or dict of str to NDArray"),
        (dict(args=(1, 2)), TypeError, "Only accept list of NDArrays"),
        (dict(args=arrays(data=np.ones((2, 5)))), TypeError, "Only accept list of NDArrays"),
        (dict(ctx="cpu"), TypeError, "Context type error"),
        (dict(args=arrays(fc_weight=mx.nd.ones((3, 6)))), mx.MXNetError,
         r"Error in operator fc: Shape inconsistent, Provided = \[3,6\], inferred shape="),
        (dict(args=arrays(data=mx.nd.ones((2, 5), dtype="float64"))), mx.MXNetError, "Error in operator fc"),
        (dict(args_grad=[mx.nd.ones((2, 5))]), ValueError, "Length of args_grad does not match"),
        (dict(args_grad={"fc_bias": mx.nd.ones((4,))}), ValueError, "args_grad of fc_bias has shape"),
        (dict(grad_req="foo"), ValueError, "grad_req must be in"),
        (dict(grad_req=["write"]), ValueError, "expected 3, provided 1"),
        (dict(grad_req={"data": "foo"}), ValueError, "grad_req must be in"),
        (dict(grad_req=3), TypeError, "grad_req must be a string, a list or a dict"),
    ],
)  # fmt: skip
def test_bind_errors(kwargs, error, message):
    with pytest.raises(error, match=message):
        fc().bind(**{"ctx": mx.cpu(), "args": arrays(), **kwargs})


def test_auxiliary_states():
    args = {"d": mx.nd.ones((2, 5)), "bn_gamma": mx.nd.ones((5,)), "bn_beta": mx.nd.ones((5,))}
    states = [mx.nd.zeros((5,)), mx.nd.ones((5,))]
    assert bn().bind(mx.cpu(), args, aux_states=states).aux_dict == dict(zip(bn().list_auxiliary_states(), states))
    for wrong, message in (
        (None, "Length of aux_states does not match"),
        (states[:1], "Length of aux_states does not match"),
        ({"bn_moving_mean": states[0]}, "key `bn_moving_var` is missing in `aux_states`"),
    ):
        with pytest.raises(ValueError, match=message):
            bn().bind(mx.cpu(), args, aux_states=wrong)


def test_arguments_of_one_name_share_one_array():
    s, x = var("x") + var("x"), mx.nd.ones((2,))
    assert s.bind(mx.cpu(), {"x": x}).arg_dict == {"x": x}
    with pytest.raises(ValueError, match="two arguments are called x"):
        s.bind(mx.cpu(), [x, mx.nd.ones((2,))])


def test_simple_bind_makes_arrays_of_the_inferred_shape_and_dtype():
    e = bn().simple_bind(mx.cpu(), d=(2, 5), type_dict={"d": "float16"}, nope=(3,))
    assert [(n, a.shape, a.dtype) for n, a in {**e.arg_dict, **e.aux_dict}.items()] == [
        ("d", (2, 5), np.float16), ("bn_gamma", (5,), np.float32), ("bn_beta", (5,), np.float32),
        ("bn_moving_mean", (5,), np.float32), ("bn_moving_var", (5,), np.float32),
    ]  # fmt: skip
    assert e.grad_dict["d"].dtype == np.float16 and not e.arg_dict["d"].asnumpy().any()


@pytest.mark.parametrize(
    "grad_req, with_array",
    [
        ("write", ["data", "fc_weight", "fc_bias"]),
        ("null", []),
        (None, []),
        (["null", "write", "add"], ["fc_weight", "fc_bias"]),
        ({"fc_weight": "add", "nope": "write"}, ["fc_weight"]),
    ],
)
def test_simple_bind_gradients(grad_req, with_array):
    e = fc().simple_bind(mx.cpu(), grad_req=grad_req, data=(2, 5))
    assert [n for n, a in e.grad_dict.items() if a is not None] == with_array


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(data=(2, 5), fc_weight=(3, 6)),
         r"simple_bind error. Arguments:\ndata: \(2, 5\)\nfc_weight: \(3, 6\)\nError in operator fc: Shape inconsis"),
        (dict(), r"simple_bind error. Arguments:\nInferShape pass cannot decide shapes for the following arguments "
                 r"\(-1 means unknown dimensions\). Please consider providing them as inputs:\ndata: None, fc_w"),
        (dict(data=(0, 5)), r"as inputs:\ndata: \[-1,5\]"),
        (dict(dta=(2, 5)), r"cannot decide shapes(.|\n)*not among the inputs: dta; did you mean data\?"),
        (dict(zzz=(2, 5)), r"not among the inputs: zzz; expected one of data, fc_bias, fc_weight"),
        (dict(data=(2, 5), grad_req="foo"), "grad_req=foo is not a valid input in simple_bind"),
        (dict(data=(2, 5), grad_req=["write"]), "expected 3, provided 1"),
        (dict(data=(2, 5), grad_req=[]), "cannot be an empty list"),
        (dict(data=(2, 5), shared_arg_names=3), "must be a list or None"),
        (dict(data=(2, 5), shared_buffer=3), "must be dict or None"),
    ],
)  # fmt: skip
def test_simple_bind_errors(kwargs, message):
    with pytest.raises(RuntimeError, match=message):
        fc().simple_bind(mx.cpu(), **kwargs)


def test_shapes_may_be_lists():
    assert fc().simple_bind(mx.cpu(), data=[2, 5], label=[7]).arg_dict["fc_weight"].shape == (3, 5)


def test_arrays_are_shared_where_they_fit():
    first = fc().simple_bind(mx.cpu(), data=(2, 5))
    second = fc().simple_bind(mx.cpu(), data=(4, 5), shared_exec=first, shared_arg_names=["data", "fc_weight"])
    assert second.arg_dict["fc_weight"] is first.arg_dict["fc_weight"]
    assert second.grad_dict["fc_weight"] is first.grad_dict["fc_weight"]
    assert second.arg_dict["data"].shape == (4, 5) and second.arg_dict["fc_bias"] is not first.arg_dict["fc_bias"]
    buffer = {}
    third = fc().simple_bind(mx.cpu(), data=(2, 5), shared_buffer=buffer)
    assert buffer["fc_weight"] is third.arg_dict["fc_weight"] and buffer["grad of data"] is third.grad_dict["data"]
    assert fc().simple_bind(mx.cpu(), data=(2, 5), shared_buffer=buffer).arg_dict["data"] is buffer["data"]


def test_eval_binds_by_name():
    assert fc().eval(**arrays()) == ["data", "fc_bias", "fc_weight"]
    given = {"d": mx.nd.ones((2, 5)), **{n: mx.nd.ones((5,)) for n in bn().list_inputs()[1:]}}
    assert bn().eval(ctx=mx.cpu(), **given)[-2:] == ["bn_moving_mean", "bn_moving_var"]
    with pytest.raises(ValueError, match="key `fc_weight` is missing"):
        fc().eval(data=mx.nd.ones((2, 5)))


def test_groups_are_placed_on_contexts_of_the_one_device():
    with mx.AttrScope(ctx_group="first"):
        y = mx.sym.exp(var("x"))
    with mx.AttrScope(ctx_group="second"):
        y = mx.sym.relu(y)
    given = {"x": mx.nd.ones((2,))}
    ways = (lambda **kw: y.bind(mx.cpu(), given, **kw), lambda **kw: y.simple_bind(mx.cpu(), x=(2,), **kw))
    for bind in ways:
        for contexts in ({"first": mx.cpu(0), "second": mx.cpu(1), "third": mx.gpu(0)}, {}, None):
            assert list(bind(group2ctx=contexts).arg_dict) == ["x"]
        with pytest.raises(mx.MXNetError, match="The device assignment not found for group second; group2ctx names fi"):
            bind(group2ctx={"first": mx.cpu(0)})
        with pytest.raises(mx.MXNetError, match=r"there is no device gpu\(0\)"):
            bind(group2ctx={"first": mx.cpu(0), "second": mx.gpu(0)})
        for wrong in ({"first": "cpu", "second": mx.cpu()}, [mx.cpu()]):
            with pytest.raises(mx.MXNetError, match="group2ctx must be a dict of group name to Context"):
                bind(group2ctx=wrong)
    assert fc().simple_bind(mx.cpu(), data=(2, 5), group2ctx={"first": mx.gpu(0)}).arg_dict
    placed = y.simple_bind(mx.cpu(), x=(2,), group2ctx={"first": mx.cpu(1), "second": mx.cpu(2)})
    assert [a.context for a in (placed.arg_dict["x"], placed.grad_dict["x"])] == [mx.cpu(1)] * 2
