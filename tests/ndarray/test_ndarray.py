"""NDArray against what MXNet 1.9.1 answered for the same expressions (or, where it crashed, what symc decided)."""

import copy
import math
import pickle

import numpy as np
import pytest

import symc as mx
import symc.ndarray as nd
from symc import autograd
from symc.base import MXNetError
from symc.context import cpu
from symc.core.dtypes import ALIGNMENT
from symc.core.errors import ArgumentError, DTypeError, ShapeError
from symc.ndarray.reshape_codes import infer_reshape

from .arrays import check, grid, ints


def test_array_is_float32_unless_told_or_made_from_an_ndarray():
    for source in ([1, 2], np.arange(3), np.ones(3), np.arange(3, dtype="int64"), (1, 2)):
        assert nd.array(source).dtype is np.float32
    assert nd.array(ints()).dtype is np.int32
    assert nd.array(ints(), dtype="float16").dtype is np.float16
    check(nd.array([grid()[0], grid()[1]]), [[0, 1, 2], [3, 4, 5]])
    assert nd.array(3.0).shape == () and nd.array([]).shape == (0,)


def test_texts_are_read_as_numbers_of_the_dtype():
    for texts in (["1", "12"], [b"1", b"12"], np.array(["1", "12"]), [1, "12"]):
        found = nd.array(texts, dtype="int32")
        assert found.asnumpy().tolist() == [1, 12] and found.dtype == np.int32
    assert nd.array([["1.5"], ["2"]]).asnumpy().tolist() == [[1.5], [2]]
    for texts, dtype in ((["a"], None), (["1.5"], "int32"), (["300"], "uint8")):
        with pytest.raises(TypeError, match=r"source_array must be array like object: .*('a'|'1\.5'|300)"):
            nd.array(texts, dtype=dtype)


@pytest.mark.parametrize("source", ["abc", [[1, 2], [3]], object()])
def test_array_refuses_what_is_no_array(source):
    with pytest.raises(TypeError, match="source_array must be array like object"):
        nd.array(source)


def test_attributes_and_repr():
    x = nd.array([[1, 2], [3, 4]])
    assert (x.shape, x.size, x.ndim, x.dtype, x.stype, x.grad) == ((2, 2), 4, 2, np.float32, "default", None)
    assert x.context == x.ctx == cpu() and len(x) == 2
    assert repr(x) == "\n[[1. 2.]\n [3. 4.]]\n<NDArray 2x2 @cpu(0)>"
    assert repr(nd.array([1, 2])) == "\n[1. 2.]\n<NDArray 2 @cpu(0)>"
    assert [row.shape for row in x] == [(2,), (2,)]
    check(grid().T, [[0, 3], [1, 4], [2, 5]])
    v = nd.array([1])
    assert v.T is v


def test_one_element_has_a_truth_value_and_no_more():
    assert bool(nd.ones(1)) and not bool(nd.zeros((1, 1))) and not bool(nd.array([]))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(grid())
    assert nd.array([3]).asscalar() == 3
    with pytest.raises(ValueError, match="not a scalar"):
        grid().asscalar()
    with pytest.raises(TypeError):
        float(nd.ones(1))


@pytest.mark.parametrize("shape", [(1,), (7,), (33, 3), (0, 3), ()])
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "uint8", "int8", "int16", "int64", "uint64", "bool"]
)
def test_memory_is_aligned_contiguous_and_known(shape, dtype):
    with mx.util.np_shape(True):  # () is a shape
        zeros = nd.zeros(shape, dtype=dtype)
    for x in (nd.empty(shape, dtype=dtype), zeros, nd.array(np.ones(shape), dtype=dtype)):
        assert x._host.flags.c_contiguous and x._host.flags.writeable
        assert x._address == x._host.ctypes.data and (x._address % ALIGNMENT == 0 or not x.size)
        assert x.shape == shape and x._dtype == dtype
    assert zeros.asnumpy().sum() == 0


def test_every_dtype_of_mxnet_and_no_other():
    assert nd.zeros(1, dtype=float).dtype is np.float64 and nd.zeros(1, dtype=bool).dtype is np.bool_
    for dtype in ("complex64", "S3", "nope"):
        with pytest.raises(DTypeError):
            nd.zeros(1, dtype=dtype)


RESHAPES = [
    ((2, 3, 4), (4, 0, 2), (4, 3, 2)),
    ((2, 3, 4), (2, 0, 0), (2, 3, 4)),
    ((2, 3, 4), (6, 1, -1), (6, 1, 4)),
    ((2, 3, 4), (3, -1, 8), (3, 1, 8)),
    ((2, 3, 4), (-2, 1, 1), (2, 3, 4, 1, 1)),
    ((2, 3, 4, 5), (-3, -3), (6, 20)),
    ((2, 3, 4), (0, -3), (2, 12)),
    ((2, 3, 4), (-4, 1, 2, -2), (1, 2, 3, 4)),
    ((2, 3, 4), (2, -4, -1, 3, -2), (2, 1, 3, 4)),
    ((2, 3), (0, 0, -1), (2, 3, 1)),
    ((1,), (), ()),
    ((0, 3), (-1, 3), (0, 3)),
]


@pytest.mark.parametrize("shape, target, expected", RESHAPES, ids=str)
def test_reshape_codes(shape, target, expected):
    assert infer_reshape(shape, target) == expected


def test_reshape_from_the_right():
    assert infer_reshape((10, 5, 4), (-1, 0), reverse=True) == (50, 4)
    assert infer_reshape((2, 3, 4, 5), (-3, 0, 0), reverse=True) == (6, 4, 5)
    assert grid().reshape(shape=(3, 2)).shape == grid().reshape(3, 2).shape == (3, 2)


@pytest.mark.parametrize(
    "target", [(4, 2), (2, 2), (-1, -1), (0, 0, 0), (4, -1), (-3, -3), (-4, 2, 2, 0), (-4, -1, -1, 0), (-5, 6), (-4, 2)]
)
def test_reshapes_that_do_not_fit(target):
    with pytest.raises(MXNetError, match="cannot reshape array of size 6") as caught:
        grid().reshape(target)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("axis", [None, (), 0, -1, (0, 2), (2, 0), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_are_numpys_but_for_shape_one(name, axis, keepdims):
    data = np.random.default_rng(2).uniform(-1, 1, (3, 5, 7)).astype("float32")
    result = getattr(nd, name)(nd.array(data), axis=axis, keepdims=keepdims)
    expected = getattr(np, name)(data, axis=None if axis == () else axis, keepdims=keepdims)
    np.testing.assert_allclose(result.asnumpy(), expected.reshape(expected.shape or (1,)), rtol=1e-5)
    assert result.dtype is np.float32


def test_reduction_rules():
    check(nd.sum(grid(), axis=0, exclude=True), [3, 12])
    check(nd.sum(ints([200, 100], "uint8")), [44], "uint8")
    check(nd.mean(ints([200, 100], "uint8")), [22], "uint8")
    check(nd.mean(ints([-1, -2])), [-1], "int32")
    check(nd.sum(nd.ones(5000, dtype="float16")), [5000], "float16")
    check(nd.max(nd.array([1, math.nan, 2])), [math.nan])
    check(nd.norm(nd.array([3, 4])), [5])
    check(nd.norm(grid(), ord=1, axis=1), [3, 12])
    check(nd.argmax(nd.array([[1, 3, 3], [2, 1, 0]]), axis=1), [1, 0])
    check(nd.argmax(grid()), [5])
    check(nd.argmin(ints([3, 1, 1]), axis=0), [1], "int32")
    check(nd.argmax(grid(), axis=1, keepdims=True), [[2], [2]])
    for bad in (2, -3, (0, 0)):
        with pytest.raises(MXNetError, match=r"ax[ie]s"):
            nd.sum(grid(), axis=bad)
    with pytest.raises(MXNetError, match="ord"):
        nd.norm(grid(), ord=3)


def test_creation():
    check(nd.arange(2, 10, 3), [2, 5, 8])
    check(nd.arange(5, 0, -2), [5, 3, 1])
    check(nd.arange(0, 2, repeat=2, dtype="int32"), [0, 0, 1, 1], "int32")
    check(nd.arange(0, 1, 0.3, dtype="int32"), [0, 0, 0, 0], "int32")
    check(nd.arange(0, 1, 0.1), np.arange(10).astype("float32") * np.float32(0.1))
    check(nd.full((2,), 7.5, dtype="int32"), [7, 7], "int32")
    check(nd.linspace(0, 1, 5, endpoint=False), [0, 0.2, 0.4, 0.6, 0.8])
    check(nd.eye(2, 3, 1), [[0, 1, 0], [0, 0, 1]])
    check(nd.ones_like(ints()), [1, 1, 1, 1], "int32")
    check(nd.zeros_like(grid()), np.zeros((2, 3)))
    check(nd.concatenate([grid(), nd.ones((1, 3))]), [[0, 1, 2], [3, 4, 5], [1, 1, 1]])
    for bad in (
        lambda: nd.arange(0),
        lambda: nd.arange(0, 5, -1),
        lambda: nd.arange(0, 1, 0),
        lambda: nd.zeros((-1, 2)),
    ):
        with pytest.raises(MXNetError):
            bad()
    with pytest.raises(MXNetError, match=r"shape|dimension"):
        nd.concatenate([grid(), nd.ones((1, 2))])


def test_squeeze_and_expand_dims():
    assert nd.zeros((1, 2, 1)).squeeze().shape == (2,) and nd.zeros((1, 1)).squeeze().shape == (1,)
    assert nd.zeros((1, 2, 1)).squeeze(axis=0).shape == (2, 1) and grid().expand_dims(-1).shape == (2, 3, 1)
    with pytest.raises(MXNetError, match="squeeze"):
        grid().squeeze(axis=0)
    with pytest.raises(MXNetError, match="axis 3"):
        grid().expand_dims(3)


def test_broadcasting_puts_dimensions_in_front():
    row = nd.array([1, 2])
    like = nd.ones((1, 2, 2))
    for made in (row.broadcast_to((1, 2, 2)), row.broadcast_to(shape=[1, 2, 2]), row.broadcast_like(like)):
        check(made, [[[1, 2], [1, 2]]])
    check(nd.array([[1], [2]]).broadcast_to((2, 2)), [[1, 1], [2, 2]])
    row.attach_grad()
    with autograd.record():
        wide = row.broadcast_to((3, 2))
    wide.backward(nd.array([[1, 2], [3, 4], [5, 6]]))
    check(row.grad, [9, 12])
    for shape in ((3,), (2, 3), ()):
        with pytest.raises(ValueError, match="operands could not be broadcast together with remapped shapes"):
            row.broadcast_to(shape)


def test_copies():
    x = grid()
    y = nd.zeros((2, 3), dtype="int32")
    assert x.copyto(y) is y
    check(y, [[0, 1, 2], [3, 4, 5]], "int32")
    assert x.as_in_context(cpu()) is x and x.as_in_context(cpu(1)).context == cpu(1)
    assert x.copyto(cpu(1)).context == cpu(1)
    assert x.astype("float32") is not x and x.astype("float32", copy=False) is x
    check(nd.array([300.7, -1.5]).astype("uint8"), [44, 255], "uint8")
    with pytest.warns(RuntimeWarning, match="itself"):
        assert x.copyto(x) is False
    with pytest.raises(ShapeError):
        x.copyto(nd.zeros(3))
    with pytest.raises(TypeError):
        x.copyto(3)


def test_pickle_and_copy_make_independent_arrays():
    x = nd.array([1, 2], ctx=cpu(1), dtype="int8")
    for twin in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        check(twin, [1, 2], "int8")
        assert twin.context == cpu(1) and not np.shares_memory(twin._host, x._host)


@pytest.mark.parametrize("shape", ["a", None, (2.5,), ("2",), [[2]]])
def test_a_shape_is_of_whole_numbers(shape):
    for make in (nd.zeros, nd.ones, nd.empty, lambda shape: nd.full(shape, 3)):
        with pytest.raises(TypeError, match="a shape is an integer or a sequence of them"):
            make(shape)
    assert nd.zeros(np.array([2, 3])).shape == (2, 3)


def test_what_has_a_dtype_stands_for_it():
    label, x = nd.array([1, 2], dtype="int32"), nd.array([1.5, 2.5])
    assert label.astype(label, copy=False) is label
    made = [x.astype(label), nd.cast(x, dtype=label), nd.zeros(2, dtype=label), nd.array([1], dtype=label)]
    made += [nd.arange(3, dtype=label), nd.full((2,), 3, dtype=label), nd.one_hot(x, 3, dtype=label)]
    made += [nd.random.randint(0, 3, shape=(2,), dtype=label)]
    assert {y.dtype for y in made} == {np.int32}
    a = mx.sym.var("a", dtype=label)
    assert (a + mx.sym.zeros((2,), dtype=label)).infer_type()[1] == [np.int32]
    assert mx.sym.var("b").astype(label).infer_type(b="float32")[1] == [np.int32]
    with pytest.raises(TypeError):  # NumPy's arrays do not, as in NumPy
        x.astype(np.array([1]))


@pytest.mark.parametrize("name", ["zz", object, "complex64"])
def test_an_unknown_dtype_is_a_type_error_as_in_numpy(name):
    for use in (lambda: nd.zeros(2, dtype=name), lambda: nd.ones(2).astype(name), lambda: nd.array([1], dtype=name)):
        with pytest.raises(TypeError, match="unknown dtype"):
            use()


def test_numpy_sees_the_memory_read_only_and_asnumpy_copies():
    x = grid()
    view = np.asarray(x)
    assert np.shares_memory(view, x._host) and not view.flags.writeable
    assert not np.shares_memory(np.array(x), x._host) and np.asarray(x, dtype="int32").dtype == np.int32
    x.asnumpy()[:] = 9
    check(x, [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype="int32", copy=False)


def test_memory_is_shared_through_dlpack_and_from_numpy():
    x = grid()
    y = nd.from_dlpack(x)
    y += 1
    check(x, [[1, 2, 3], [4, 5, 6]])
    check(nd.from_dlpack(nd.to_dlpack_for_read(x)), [[1, 2, 3], [4, 5, 6]])
    z = nd.from_dlpack(nd.to_dlpack_for_write(x))
    z *= 2
    check(x, [[2, 4, 6], [8, 10, 12]])
    assert np.shares_memory(np.from_dlpack(x), x._host)
    source = np.ones(3, "float64")
    z = nd.from_numpy(source)
    z[:] = 2
    assert source.tolist() == [2, 2, 2] and not source.flags.writeable and z.dtype is np.float64
    assert nd.from_numpy(np.ones(2), zero_copy=False).dtype is np.float64
    with pytest.raises(ValueError, match="contiguous"):
        nd.from_numpy(np.ones((2, 3)).T)
    with pytest.raises(ArgumentError, match="capsule"):
        nd.from_dlpack(3)


def test_random_repeats_after_seed():
    def draws():
        nd.random.seed(3)
        return nd.random.uniform(-1, 1, (4,)), nd.random.normal(shape=(2, 2)), nd.random.randint(0, 9, (5,))

    for first, second in zip(draws(), draws()):
        np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())
    uniform, normal, integers = draws()
    assert uniform.shape == (4,) and normal.dtype is np.float32 and integers.dtype is np.int32
    with pytest.raises(ArgumentError):
        nd.random.randint(3, 3)
