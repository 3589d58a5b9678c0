"""infer_shape and infer_type: MXNet's arguments, results, warnings and errors."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx

var = mx.sym.var


def fc(data=None):
    return mx.sym.FullyConnected(var("data") if data is None else data, num_hidden=3, name="fc")


def test_shapes_of_arguments_outputs_and_states():
    assert fc().infer_shape(data=(2, 5)) == ([(2, 5), (3, 5), (3,)], [(2, 3)], [])
    assert fc().infer_shape((2, 5)) == fc().infer_shape((2, 5), None, (3,)) == fc().infer_shape(data=(2, 5))
    b = mx.sym.BatchNorm(var("d"), name="bn")
    assert b.infer_shape(d=(2, 3)) == ([(2, 3), (3,), (3,)], [(2, 3)], [(3,), (3,)])
    assert b.infer_shape(d=(2, 3), bn_moving_mean=(4,)) == b.infer_shape(d=(2, 3))  # states are not arguments


def test_incomplete_shapes_warn_and_give_none():
    with pytest.warns(UserWarning, match=r"Cannot decide shape .*\n\tdata: \(\)\n\tfc_bias: \(\)"):
        assert fc().infer_shape(fc_weight=(3, 7)) == (None, None, None)
    assert fc().infer_shape_partial(fc_weight=(3, 7)) == ([(), (3, 7), ()], [()], [])
    assert fc().infer_shape_partial(data=(0, 5)) == ([(0, 5), (3, 5), (3,)], [(0, 3)], [])


def test_shapes_flow_backwards_and_unify():
    x, y = var("x"), var("y")
    assert (x + y).infer_shape(y=(2, 3)) == ([(2, 3), (2, 3)], [(2, 3)], [])
    assert (x + y).infer_shape(x=(2, 0), y=(0, 3))[1] == [(2, 3)]


def test_a_variables_own_shape():
    x = mx.sym.Variable("x", shape=(2, 3))
    assert mx.sym.exp(x).infer_shape()[1] == [(2, 3)]
    assert mx.sym.exp(x).infer_shape(x=(3, 3))[1] == [(3, 3)]  # a known shape wins
    assert mx.sym.exp(x).infer_shape_partial(x=(0, 0))[1] == [(2, 3)]  # a partial one does not
    assert mx.sym.exp(mx.sym.Variable("x", shape=(0, 3))).infer_shape_partial(x=(3, 0))[1] == [(0, 3)]
    with pytest.raises(mx.MXNetError, match="variable x: __shape__ is 'two'"):
        mx.sym.exp(var("x", __shape__="two")).infer_shape()


def test_contradictions_name_the_node_the_shapes_and_the_line():
    f = fc()
    with pytest.raises(mx.MXNetError) as e:
        f.infer_shape(data=(2, 5), fc_weight=(3, 6))
    assert "Error in operator fc: Shape inconsistent, Provided = [3,6], inferred shape=" in str(e.value)
    assert "weight (fc_weight) [3,6]" in str(e.value) and f"made at: {__file__}:" in str(e.value)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: fc().infer_shape(nope=(1,)), mx.MXNetError,
         r"InferShapeKeyword argument name nope not found.\nCandidate arguments:\n\t\[0\]data\n\t\[1\]fc_weight"),
        (lambda: fc().infer_shape(data="abc"), TypeError, "'data' is <class 'str'>"),
        (lambda: fc().infer_shape_partial(data=None), TypeError, "'data' is <class 'NoneType'>"),
        (lambda: fc().infer_shape((2, 3), data=(2, 3)), ValueError, "either by positional or kwargs way"),
        (lambda: fc().infer_shape((2,), (2,), (2,), (2,)), ValueError, "4 given for 3 arguments"),
        (lambda: fc().infer_type(nope="float32"), mx.MXNetError, "InferTypeKeyword argument name nope not found"),
        (lambda: (var("x") + var("y")).infer_type(x="float16", y="float32"), mx.MXNetError,
         "Error in operator _plus.*float16.*float32"),
        (lambda: mx.sym.exp(var("x", __dtype__="99")).infer_type(), mx.MXNetError, "__dtype__ is '99'"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_types():
    assert fc().infer_type(data="float16") == ([np.float16] * 3, [np.float16], [])
    assert fc().infer_type(np.float64) == ([np.float64] * 3, [np.float64], [])
    assert fc(var("x", dtype="float64")).infer_type()[1] == [np.float64]
    b = mx.sym.BatchNorm(var("d"), name="bn")
    assert b.infer_type(d="float16") == ([np.float16, np.float32, np.float32], [np.float16], [np.float32, np.float32])
    with pytest.warns(UserWarning, match=r"Cannot decide type for the following arguments\. Consider"):
        assert fc().infer_type() == (None, None, None)
    assert fc().infer_type_partial() == ([None] * 3, [None], [])


def test_arguments_of_one_name_get_one_shape():
    assert (var("x") * var("x")).infer_shape(x=(2,)) == ([(2,), (2,)], [(2,)], [])


def test_under_np_shape_other_marks_mean_unknown():
    s = mx.sym.exp(var("x"))
    with mx.np_shape(True):
        assert s.infer_shape_partial() == ([None], [None], [])
        assert s.infer_shape_partial(x=(-1, 3)) == ([(-1, 3)], [(-1, 3)], [])
        assert s.infer_shape(x=(0, 3)) == ([(0, 3)], [(0, 3)], [])  # an extent of 0 is one
        assert s.infer_shape(x=()) == ([()], [()], [])
    assert s.infer_shape_partial(x=(0, 3)) == ([(0, 3)], [(0, 3)], [])
