"""Arrays without axes, without elements, and with more axes than there can be."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ShapeError
from symc.ndarray import operators

nd = mx.nd


def grid(*shape: int) -> mx.nd.NDArray:
    return nd.array(np.arange(np.prod(shape)).reshape(shape))


@pytest.mark.parametrize("make", [mx.nd.zeros, mx.nd.ones, lambda shape: mx.nd.full(shape, 3)])
def test_a_shape_without_axes_is_unknown_outside_np_shape(make):
    with pytest.raises(ShapeError, match=r"the shape \(\) is unknown"):
        make(())
    with mx.util.np_shape(True):
        assert make(()).shape == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: grid(2, 3)[1, 2],
        lambda: next(iter(nd.ones(3))),
        lambda: nd.reshape(nd.ones(1), shape=()),
        lambda: nd.linalg.det(grid(3, 3)),
        lambda: nd.linalg.slogdet(grid(3, 3))[1],
        lambda: nd.random.uniform(shape=()),
        lambda: nd._internal._random_normal(shape=()),
        lambda: nd._internal._full(shape=(), value=3),
        lambda: nd.contrib.foreach(lambda row, total: (row, row + total), nd.ones(3), nd.ones(()))[1],
    ],
)
def test_a_single_number_has_no_axes_under_np_shape(make):
    with mx.util.np_shape(True):
        assert make().shape == ()


def test_np_shape_is_asked_at_each_call():
    x = grid(3, 3)
    for is_active, shape in ((False, (1,)), (True, ()), (False, (1,))):
        with mx.util.np_shape(is_active):
            assert nd.linalg.det(x).shape == x[1, 1].shape == shape


def test_an_element_taken_under_np_shape_leads_back():
    x = grid(2, 3)
    x.attach_grad()
    with mx.util.np_shape(True), mx.autograd.record():
        y = x[1, 2] * 3
    y.backward()
    assert y.shape == () and x.grad.asnumpy().tolist() == [[0, 0, 0], [0, 0, 3]]


@pytest.mark.parametrize(
    "run, shape",
    [
        (lambda: nd.reverse(nd.zeros((0, 3)), axis=0), (0, 3)),
        (lambda: nd.flip(nd.zeros((3, 0)), axis=0), (3, 0)),
        (lambda: nd.concat(nd.zeros((0, 3)), nd.ones((2, 3)), dim=0), (2, 3)),
        (lambda: nd.concat(nd.zeros((0, 3)), nd.ones((0, 3)), dim=1), (0, 6)),
        (lambda: nd.stack(nd.zeros((0, 3)), nd.zeros((0, 3))), (2, 0, 3)),
        (lambda: nd.split(nd.zeros((0, 4)), num_outputs=2, axis=1)[1], (0, 2)),
        (lambda: nd.take(nd.ones((5, 3)), nd.zeros((0,))), (0, 3)),
        (lambda: nd.take(nd.ones((0, 3)), nd.zeros((0,))), (0, 3)),
        (lambda: nd.slice(nd.ones((5, 3)), begin=(3,), end=(2,)), (0, 3)),
        (lambda: nd.slice(nd.ones((5, 3)), begin=(7,), end=(9,)), (0, 3)),
        (lambda: nd.split_v2(nd.ones((5, 3)), (2, 2))[1], (0, 3)),
        (lambda: nd.repeat(nd.ones((2, 3)), repeats=0, axis=1), (0,)),
        (lambda: nd.pad(nd.ones((0, 1, 2, 2)), mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1)), (0, 1, 4, 4)),
        (lambda: nd.SequenceReverse(nd.zeros((0, 2, 3))), (0, 2, 3)),
        (lambda: nd.transpose(nd.zeros((0, 3))), (3, 0)),
        (lambda: nd.one_hot(nd.zeros((0,)), depth=3), (0, 3)),
        (lambda: nd.topk(nd.zeros((0, 3)), k=2, ret_typ="mask"), (0, 3)),
        (lambda: nd.sort(nd.zeros((3, 0)), axis=None), (0,)),
        (lambda: nd.cumsum(nd.zeros((0, 3))), (0,)),
        (lambda: nd.dot(nd.zeros((2, 0)), nd.zeros((0, 3))), (2, 3)),
        (lambda: nd.LayerNorm(nd.zeros((0, 3)), nd.ones(3), nd.zeros(3)), (0, 3)),
        (lambda: nd.Dropout(nd.zeros((0, 3))), (0, 3)),
    ],
)
def test_arrays_without_elements(run, shape):
    found = run()
    assert found.shape == shape == found.asnumpy().shape


@pytest.mark.parametrize(
    "make",
    [
        lambda: mx.nd.zeros((1,) * 65),
        lambda: mx.nd.ones(2).reshape((1,) * 64 + (2,)),
        lambda: mx.nd.ones((1,) * 64).expand_dims(0),
        lambda: mx.nd.reshape(mx.nd.ones(2), shape=(1,) * 64 + (2,)),
        lambda: mx.nd.expand_dims(mx.nd.ones((1,) * 64), axis=0),
        lambda: mx.nd.stack(mx.nd.ones((1,) * 64), mx.nd.ones((1,) * 64)),
        lambda: mx.nd.one_hot(mx.nd.ones((1,) * 64), depth=2),
        lambda: mx.nd.tile(mx.nd.ones((1,)), reps=(1,) * 65),
        lambda: (mx.sym.Variable("x") * 2).simple_bind(mx.cpu(), x=(1,) * 65),
        lambda: mx.sym.expand_dims(mx.sym.Variable("x"), axis=0).eval(mx.cpu(), x=mx.nd.ones((1,) * 64)),
    ],
)
def test_more_axes_than_numpy_has_are_refused(make):
    with pytest.raises(ShapeError, match=r"65 axes|at most 64 axes"):
        make()


@pytest.mark.parametrize(
    "function, given, parameters, shape",
    [
        ("slice", [(2, 4, 5)], {"begin": (2, 1), "end": (0, None)}, (0, 3, 5)),
        ("_slice_assign_scalar", [(1, 2, 3)], {"begin": (1, 2), "end": (-1, 100)}, (1, 2, 3)),
        ("_contrib_fft", [(3, 0)], {}, (3, 0)),
        ("_contrib_ifft", [(3, 0)], {}, (3, 0)),
        ("_contrib_MultiBoxPrior", [(1, 1, 0, 3)], {}, (1, 0, 4)),
        ("preloaded_multi_sgd_update", [(3, 0), (3, 0), (1,), (1,)], {}, (3, 0)),
        ("lamb_update_phase2", [(0,), (0,), (0,), (1,)], {"lr": 1}, (0,)),
    ],
)
def test_results_without_elements(function, given, parameters, shape):
    result = operators.call(function, *map(mx.nd.ones, given), **parameters)
    assert result.shape == shape and (result.asnumpy() == 1).all()
