"""NDArray against what MXNet 1.9.1 answered for the same expressions (or, where it crashed, what symc decided)."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest

import symc as mx
import symc.ndarray as nd
from symc.base import MXNetError
from symc.context import Context, cpu, cpu_pinned, current_context, gpu, num_gpus
from symc.core.dtypes import ALIGNMENT
from symc.core.errors import ArgumentError, DTypeError, ShapeError, SymcError
from symc.ndarray.reshape_codes import infer_reshape
from symc.ndarray.storage import WriteCounter

INTS = [7, -7, 0, 5]


def ints(values=INTS, dtype="int32"):
    return nd.array(values, dtype=dtype)


def grid():
    return nd.arange(6).reshape((2, 3))


def check(result, values, dtype="float32"):
    assert isinstance(result, nd.NDArray)
    assert result.asnumpy().dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result.asnumpy(), np.array(values, dtype))
    assert result.shape == np.shape(values)


# Contexts.


def test_context_prints_compares_and_hashes_by_value():
    assert repr(cpu()) == "cpu(0)" and str(gpu(1)) == "gpu(1)" and repr(cpu_pinned()) == "cpu_pinned(0)"
    assert cpu(1) == Context("cpu", 1) != cpu(0) and cpu() != gpu() and cpu() != "cpu(0)"
    assert len({cpu(), Context(cpu()), gpu()}) == 2
    assert gpu(3).device_typeid == 2 and gpu(3).device_id == 3 and num_gpus() == 0


def test_with_sets_the_default_context_of_this_thread_only():
    seen = []
    with cpu(2) as outer:
        with outer, gpu(1):
            assert current_context() == gpu(1)
            thread = threading.Thread(target=lambda: seen.append(current_context()))
            thread.start()
            thread.join()
        assert current_context() == cpu(2) and nd.ones(1).context == cpu(2)
    assert current_context() == cpu() and seen == [cpu()]


def test_context_errors():
    with pytest.raises(ArgumentError, match="tpu"):
        Context("tpu")
    for number in ("a", 1.5, None):
        with pytest.raises(TypeError, match="must be an integer"):
            cpu(number)
    with pytest.raises(SymcError, match=r"no device gpu\(0\).*use mx.cpu\(\)"):
        nd.ones((2,), gpu())
    with pytest.raises(TypeError, match="Context"):
        nd.ones((2,), "cpu")
    with pytest.warns(DeprecationWarning, match="use current_context"):
        assert Context.default_ctx == cpu()


# What an array is.


def test_array_is_float32_unless_told_or_made_from_an_ndarray():
    for source in ([1, 2], np.arange(3), np.ones(3), np.arange(3, dtype="int64"), (1, 2)):
        assert nd.array(source).dtype is np.float32
    assert nd.array(ints()).dtype is np.int32
    assert nd.array(ints(), dtype="float16").dtype is np.float16
    check(nd.array([grid()[0], grid()[1]]), [[0, 1, 2], [3, 4, 5]])
    assert nd.array(3.0).shape == () and nd.array([]).shape == (0,)


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


# Views and the write counters.


def test_views_share_memory_and_version():
    x = grid()
    for view in (x[0], x[1:2], x.reshape((3, 2)), x[:, :], x[0, 1], x.detach(), x.flatten(inplace=True), x[0:1, 1:3]):
        assert view._storage is x._storage
    for made in (x[:, 1], x[[0]], x[:, ::-1], x.T, x.copy(), x.astype("float32"), x.flatten(), x.expand_dims(0)):
        assert made._storage is not x._storage and not np.shares_memory(made._host, x._host)
    x[0][:] = 5
    x[1, 2][:] = 9
    check(x, [[5, 5, 5], [3, 4, 9]])
    assert x[1]._address == x._address + 12


WRITES = {
    "assign": lambda x: x.__setitem__(slice(None), 1),
    "assign element": lambda x: x.__setitem__((0, 0), 1),
    "assign through a view": lambda x: x[0].__setitem__(0, 1),
    "assign by index array": lambda x: x.__setitem__([0], 1),
    "+=": lambda x: x.__iadd__(1),
    "-=": lambda x: x.__isub__(1),
    "*=": lambda x: x.__imul__(x),
    "/=": lambda x: x.__itruediv__(2),
    "%=": lambda x: x.__imod__(2),
    "+= on a view": lambda x: x.reshape(-1).__iadd__(1),
    "copyto": lambda x: nd.zeros((2, 3)).copyto(x),
    "copyto a view": lambda x: nd.zeros(3).copyto(x[1]),
    "full": lambda x: nd.full((2, 3), 7, out=x),
    "touch": lambda x: x._touch(),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_moves_version_and_epoch(write):
    x, other = grid(), grid()
    view = x.reshape((3, 2))
    before = (x._version, WriteCounter.write_epoch, other._version)
    WRITES[write](x)
    assert x._version > before[0] and WriteCounter.write_epoch > before[1]
    assert view._version == x._version and other._version == before[2]


def test_reading_moves_nothing():
    x = grid()
    version = x._version
    x.asnumpy(), x + 1, x[0], x[[1]], x.T, np.asarray(x), repr(x), x == 1, x.copy(), nd.sum(x), x.astype("int8")
    assert x._version == version


# Indexing.

READS = [
    (np.s_[0], [0, 1, 2]),
    (np.s_[-1], [3, 4, 5]),
    (np.s_[1, 2], [5]),
    (np.s_[0:1], [[0, 1, 2]]),
    (np.s_[5:7], np.empty((0, 3))),
    (np.s_[:, 1], [1, 4]),
    (np.s_[:, ::-1], [[2, 1, 0], [5, 4, 3]]),
    (np.s_[None], [[[0, 1, 2], [3, 4, 5]]]),
    (np.s_[:, None, 1], [[1], [4]]),
    (np.s_[..., 0], [0, 3]),
    (np.s_[[0, 1], [1, 2]], [1, 5]),
    (np.s_[[1, 0]], [[3, 4, 5], [0, 1, 2]]),
    (np.s_[[-1]], [[3, 4, 5]]),
    (np.s_[nd.array([1.7, 0])], [[3, 4, 5], [0, 1, 2]]),
    (np.s_[range(2)], [[0, 1, 2], [3, 4, 5]]),
    (np.s_[0:2, [0, 2]], [[0, 2], [3, 5]]),
    (np.s_[[0, 1], None, [0, 2]], [[0], [5]]),
    (np.s_[np.int64(1)], [3, 4, 5]),
]


@pytest.mark.parametrize("key, values", READS, ids=str)
def test_reading_parts(key, values):
    check(grid()[key], values)


def test_the_whole_is_the_array_itself():
    x = grid()
    assert x[:] is x and x[()] is x and x[...] is x


@pytest.mark.parametrize(
    "key, error",
    [
        (2, IndexError),
        (-3, IndexError),
        ([5], IndexError),
        ((0, 0, 0), IndexError),
        (1.5, ValueError),
        ("a", ValueError),
        (nd.array([1, 0], dtype="bool"), ValueError),
    ],
    ids=str,
)
def test_bad_keys(key, error):
    with pytest.raises(error):
        grid()[key]
    with pytest.raises(error):
        grid()[key] = 1


ASSIGNMENTS = [
    (np.s_[:, 1], nd.array([7, 8]), [[0, 7, 2], [3, 8, 5]]),
    (np.s_[[0, 1], [1, 2]], np.array([7, 8]), [[0, 7, 2], [3, 4, 8]]),
    (nd.array([1]), 9, [[0, 1, 2], [9, 9, 9]]),
    (np.s_[1, 2], nd.array([9]), [[0, 1, 2], [3, 4, 9]]),
    (np.s_[0:0], 9, [[0, 1, 2], [3, 4, 5]]),
    (np.s_[::-1], [[1, 2, 3], [4, 5, 6]], [[4, 5, 6], [1, 2, 3]]),
    (np.s_[..., 0], 9, [[9, 1, 2], [9, 4, 5]]),
    (np.s_[None, 0], 9, [[9, 9, 9], [3, 4, 5]]),
    (np.s_[[1, 1]], nd.array([[1, 1, 1], [2, 2, 2]]), [[0, 1, 2], [2, 2, 2]]),
    (np.s_[:], nd.ones((1, 1, 2, 3)), [[1, 1, 1], [1, 1, 1]]),
    (np.s_[:], nd.array([1, 2, 3]), [[1, 2, 3], [1, 2, 3]]),
]


@pytest.mark.parametrize("key, value, values", ASSIGNMENTS, ids=str)
def test_writing_parts(key, value, values):
    x = grid()
    x[key] = value
    check(x, values)


def test_writing_overlapping_memory():
    x = nd.arange(5)
    x[1:] = x[:4]
    check(x, [0, 0, 1, 2, 3])


@pytest.mark.parametrize("value", [300, 300.5, [300], np.array([300]), nd.array([300])], ids=str)
def test_assignment_casts_as_c_does(value):
    x = nd.zeros(1, dtype="uint8")
    x[:] = value
    check(x, [44], "uint8")
    x[:] = -1
    check(x, [255], "uint8")


def test_assignment_errors():
    with pytest.raises(ValueError, match="broadcast"):
        grid()[:] = [1, 2]
    with pytest.raises(TypeError, match="expected real numbers, got str"):
        grid()[:] = "a"


# Arithmetic.


def binary_cases():
    x, inf, nan = ints(), math.inf, math.nan
    f = nd.array([7.0, -7, 0, 5])
    return {
        "int / fraction": (x / 2.5, [3, -3, 0, 2], "int32"),
        "int / int": (nd.array([-7, 7], dtype="int64") / nd.array([2, -2], dtype="int64"), [-3, -3], "int64"),
        "int / 0": (x / 0, [0, 0, 0, 0], "int32"),
        "fraction / int": (7.9 / ints([2, -2]), [3, -3], "int32"),
        "uint8 / int": (ints([200, 7], "uint8") / 2, [100, 3], "uint8"),
        "int8 overflow": (ints([-128], "int8") / -1, [-128], "int8"),
        "int % 3": (x % 3, [1, 2, 0, 2], "int32"),
        "int % -3": (x % -3, [-2, -1, 0, -1], "int32"),
        "int % 0": (x % 0, [0, 0, 0, 0], "int32"),
        "int % fraction": (x % 2.5, [1, 1, 0, 1], "int32"),
        "fraction % int": (5.5 % x, [5, -2, 0, 0], "int32"),
        "float % 0": (f % 0, [0, 0, 0, 0], "float32"),
        "float % array": (f % nd.array([0, 3, 2, -2.5]), [0, 2, 0, 0], "float32"),
        "float % inf": (nd.array([7.5, -7.5]) % inf, [7.5, inf], "float32"),
        "number % float": (7 % nd.array([0, -3, 2, -2.5]), [0, -2, 1, -0.5], "float32"),
        "float / 0": (f / 0, [inf, -inf, nan, inf], "float32"),
        "int ** 2": (x**2, [49, 49, 0, 25], "int32"),
        "int ** fraction": (x**0.5, [1, 1, 1, 1], "int32"),
        "2 ** int": (2**x, [128, 0, 1, 32], "int32"),
        "int64 ** 33": (ints([3], "int64") ** 33, [5559060459945984], "int64"),
        "uint8 ** 8": (ints([2, 3], "uint8") ** 8, [0, 161], "uint8"),
        "fraction * int": (2.5 * x, [14, -14, 0, 10], "int32"),
        "int + fraction": (x + 1.7, [8, -6, 1, 6], "int32"),
        "fraction - int": (1.7 - x, [-6, 8, 1, -4], "int32"),
        "int == fraction": (ints([1, 4]) == 1.5, [1, 0], "int32"),
        "int >= fraction": (ints([1, 4]) >= 4.5, [0, 1], "int32"),
        "int < fraction": (ints([1, 4]) < 4.5, [1, 0], "int32"),
        "reflected <": (1 < nd.array([1, 2]), [0, 1], "float32"),
        "!=": (x != ints([7, 1, 0, 0]), [0, 1, 0, 1], "int32"),
        "nan > 0": (nd.array([nan, 1]) > 0, [0, 1], "float32"),
        "negative": (-x, [-7, 7, 0, -5], "int32"),
        "negative uint8": (-ints([1, 2], "uint8"), [255, 254], "uint8"),
        "absolute": (abs(x), [7, 7, 0, 5], "int32"),
        "uint8 wraps": (ints([200, 100], "uint8") + ints([100, 100], "uint8"), [44, 200], "uint8"),
        "uint8 + 300": (ints([1, 2], "uint8") + 300, [45, 46], "uint8"),
        "int64 exact": (ints([2**53 + 1], "int64") + 1, [2**53 + 2], "int64"),
        "float16 overflow": (ints([60000], "float16") * 2, [inf], "float16"),
        "float64 stays": (ints([0.1], "float64") + 0.1, [0.2], "float64"),
        "bool and number": (ints([1, 0], "bool") + 1.5, [2, 1], "int64"),
        "numpy number": (np.float64(1.5) + nd.array([1, 2]), [2.5, 3.5], "float32"),
        "python bool": (nd.array([1, 2]) + True, [2, 3], "float32"),
        "broadcast": (nd.array([1, 2]) + nd.array([[1], [2]]), [[2, 3], [3, 4]], "float32"),
        "shape ()": (nd.array(3) + 1, 4, "float32"),
        "maximum nan": (nd.maximum(nd.array([nan, 1]), 0.5), [nan, 1], "float32"),
        "minimum nan": (nd.minimum(nd.array([nan, 1]), nd.array([1, nan])), [nan, nan], "float32"),
        "maximum fraction": (nd.maximum(x, 1.5), [7, 1, 1, 5], "int32"),
        "function reflected": (nd.power(2, nd.array([1, 3])), [2, 8], "float32"),
        "logical_xor": (nd.logical_xor(nd.array([1.5, 0]), nd.array([1, 0])), [0, 0], "float32"),
        "logical_or int": (nd.logical_or(ints([1, 0]), 0.5), [1, 0], "int32"),
        "lesser_equal": (nd.lesser_equal(1, nd.array([1, 0])), [1, 0], "float32"),
    }


BINARY = binary_cases()


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    check(*BINARY[name])


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "modulo", "maximum", "minimum", "power"])
@pytest.mark.parametrize("shapes", [((1,), (1,)), ((7, 1), (1, 33)), ((2, 3, 5), (3, 1)), ((4,), (3, 1, 4))], ids=str)
def test_float_arithmetic_is_numpys(name, shapes):
    draw = np.random.default_rng(0)
    a, b = (draw.uniform(0.5, 2, shape).astype("float32") for shape in shapes)
    wide = (v.astype("float64") for v in (a, b))  # each result is the exact one, rounded once
    expected = getattr(np, {"modulo": "mod"}.get(name, name))(*wide).astype("float32")
    result = getattr(nd, name)(nd.array(a), nd.array(b))
    np.testing.assert_array_equal(result.asnumpy(), expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integer_division_against_exact_arithmetic(dtype):
    draw = np.random.default_rng(1)
    low = 0 if dtype == "uint8" else -100
    a, b = draw.integers(low, 100, (2, 500))
    b[b == 0] = 3
    x, y = (nd.array(v, dtype=dtype) for v in (a, b))
    check(x / y, [int(p / q) for p, q in zip(a.tolist(), b.tolist())], dtype)
    check(x % y, [p % q for p, q in zip(a.tolist(), b.tolist())], dtype)


def test_in_place_forms_keep_the_array():
    x = same = grid()
    x += 1
    x *= nd.array([1, 2, 3])
    x -= 1
    x /= 2
    check(x, [[0, 1.5, 4], [1.5, 4.5, 8.5]])
    x %= x
    check(x, np.zeros((2, 3)))
    assert x is same
    y = ints([1, 2])
    y += 1.7
    check(y, [2, 3], "int32")
    x **= 2  # MXNet has no in-place power: a new array
    assert x is not same


def test_two_numbers_give_a_number():
    assert nd.divide(7, 2) == 3.5 and nd.modulo(-7, 3) == 2 and nd.maximum(2, 3) == 3 and nd.power(2, 3) == 8
    assert nd.equal(2, 2) == 1 and nd.logical_xor(1, 0) == 1 and nd.lesser(3, 2) == 0


@pytest.mark.parametrize("other", ["a", None, [1, 2], np.array([1, 2])], ids=str)
def test_other_operands_are_type_errors(other):
    x = nd.array([1, 2])
    for attempt in (lambda: x + other, lambda: other - x, lambda: x == other, lambda: x.__iadd__(other)):
        with pytest.raises(TypeError, match="not supported"):
            attempt()


def test_arrays_that_do_not_fit():
    with pytest.raises(MXNetError, match=r"broadcast together with shapes \[2\] \[3\]"):
        nd.ones(2) + nd.ones(3)
    with pytest.raises(DTypeError, match="expected one dtype, got float32, int32"):
        ints() + nd.ones(4)
    with pytest.raises(DTypeError, match="bool"):
        nd.equal(nd.zeros(2, dtype="bool"), nd.zeros(2, dtype="bool"))
    x = nd.ones(3)
    with pytest.raises(ArgumentError, match=r"\(2, 3\)"):
        x += nd.ones((2, 3))
    for attempt in (lambda: x // 2, lambda: x @ x, lambda: ~x):
        with pytest.raises(TypeError):
            attempt()


# Reshape, reductions, creation, copies.

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
