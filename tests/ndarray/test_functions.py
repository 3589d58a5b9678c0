"""mx.nd.<operator>: names, signatures, arguments, results, `out=`, updates, errors."""

from __future__ import annotations

import copy
import inspect
import pickle
import pkgutil
import threading

import numpy as np
import pytest

import symc as mx
from symc.core.bounded import BoundedCache
from symc.core.errors import (
    ArgumentError,
    ArgumentTypeError,
    ElementError,
    ParameterError,
    ShapeError,
    UnknownOperatorError,
)
from symc.functions import FLUENT, place_of
from symc.ir.op import lookup, operators
from symc.ndarray import eager, invoke
from symc.ndarray import operators as nd_operators
from tests.ops.recorded import assert_close
from tests.ops.reference import make_op, run_graph, single_node
from tests.ops.test_ops import all_cases

nd = mx.nd


def grid(*shape: int) -> mx.nd.NDArray:
    return nd.array(np.arange(np.prod(shape)).reshape(shape))


def test_every_operator_has_a_function():
    for cls in operators():
        namespace, name = place_of(cls.name)
        function = getattr(nd if namespace == "op" else getattr(nd, namespace), name)
        assert function.__name__ == name and function.__doc__ and "Parameters" in function.__doc__


def test_signatures_are_mxnets():
    assert str(inspect.signature(nd.relu)) == "(data=None, out=None, name=None, **kwargs)"
    assert str(inspect.signature(nd.FullyConnected)) == (
        "(data=None, weight=None, bias=None, num_hidden=_Null, no_bias=_Null, flatten=_Null, out=None, name=None, "
        "**kwargs)"
    )
    assert str(inspect.signature(nd.sgd_update)) == (
        "(weight=None, grad=None, lr=_Null, wd=_Null, rescale_grad=_Null, clip_gradient=_Null, lazy_update=_Null, "
        "out=None, name=None, **kwargs)"
    )
    assert "data : NDArray" in nd.relu.__doc__ and "data : Symbol" in mx.sym.relu.__doc__


@pytest.mark.parametrize("limit", [-1, 1 << 40], ids=["compiled", "numpy"])
@pytest.mark.parametrize("op", ["relu", "softmax", "sum", "broadcast_add", "Concat", "FullyConnected", "LayerNorm"])
def test_numpy_and_kernels_agree(monkeypatch, op, limit):
    monkeypatch.setattr(eager, "NUMPY_WORK", limit)
    monkeypatch.setattr(invoke, "_prepared", BoundedCache(2048))
    case = next(c for _, c in all_cases() if c.op == op and c.dtypes == "float32")
    instance = make_op(case.op, case.params)
    want = run_graph(
        single_node(instance, case.shapes, case.input_dtypes()), dict(zip(instance.input_names(), case.inputs()))
    )
    got = invoke.apply(instance, [nd.array(x, dtype=x.dtype) for x in case.inputs()])
    (prepared,) = invoke._prepared.values()
    assert prepared.run.is_compiled == (limit < 0 or op == "FullyConnected")
    for result, expected in zip(got, want):
        assert_close(result.asnumpy(), expected, op)


def test_arguments_by_position_and_by_name():
    x, w, b = grid(2, 3), grid(4, 3), nd.ones(4)
    want = x.asnumpy() @ w.asnumpy().T + 1
    for got in (
        nd.FullyConnected(x, w, b, 4),
        nd.FullyConnected(data=x, weight=w, bias=b, num_hidden=4),
        nd.FullyConnected(x, bias=b, weight=w, num_hidden="4", name="fc"),
    ):
        np.testing.assert_array_equal(got.asnumpy(), want)
    np.testing.assert_array_equal(nd.FullyConnected(x, w, None, 4, True).asnumpy(), want - 1)
    assert nd.Cast(x, np.float64).dtype == nd.cast(x, dtype="float64").dtype == np.float64
    assert nd.one_hot(nd.array([1]), depth=3, dtype=np.int32).dtype == np.int32
    assert nd.reshape(x, shape=np.array([3, 2])).shape == (3, 2)
    assert nd._internal._full(shape=(2,), value=3, ctx="cpu(1)").context == mx.cpu(1)


def test_several_inputs_and_several_results():
    x = grid(2, 4)
    assert nd.concat(x, x, dim=0).shape == nd.concat([x, x], dim=0).shape == (4, 4)
    left, right = nd.split(x, num_outputs=2)
    assert left.shape == right.shape == (2, 2)
    assert nd.add_n(x, x, x).asnumpy()[1, 3] == 21
    first, second, third = nd.split_v2(x, (1, 3), axis=1)
    assert [p.shape[1] for p in (first, second, third)] == [1, 2, 1]
    assert [p.shape for p in nd.split_v2(x, 2)] == [(1, 4)] * 2
    with pytest.raises(ArgumentError, match="equal division"):
        nd.split_v2(x, 3)


def test_numbers_of_equal_value_are_told_apart():
    zero = nd.zeros(1)
    assert np.signbit((zero * -0.0).asnumpy()[0]) and not np.signbit((zero * 0.0).asnumpy()[0])


def test_out():
    x, out = grid(2, 3) - 2, nd.zeros((2, 3))
    before = out._version
    assert nd.relu(x, out=out) is out and out._version != before
    np.testing.assert_array_equal(out.asnumpy(), [[0, 0, 0], [1, 2, 3]])
    parts = [nd.zeros((2, 1)) for _ in range(3)]
    assert nd.split(x, num_outputs=3, out=parts)[2] is parts[2] and parts[2].asnumpy()[1, 0] == 3
    nd.broadcast_add(x, x, out=x)
    assert x.asnumpy()[1, 2] == 6
    with pytest.raises(ArgumentError, match=r"relu: out= has shape \(3, 2\), expected \(2, 3\)"):
        nd.relu(x, out=nd.zeros((3, 2)))
    with pytest.raises(ArgumentError, match=r"relu: out= is int32, expected float32"):
        nd.relu(x, out=nd.zeros((2, 3), dtype="int32"))
    with pytest.raises(ArgumentError, match="3 outputs, out= holds 1"):
        nd.split(x, num_outputs=3, out=parts[:1])


@pytest.mark.parametrize(
    "attempt, error, text",
    [
        (lambda: nd.relu(3), AssertionError, "must have NDArray type"),
        (lambda: nd.relu(), ArgumentError, "expects 1 inputs"),
        (lambda: nd.FullyConnected(grid(2, 3), num_hidden=3), ArgumentError, "expects 3 inputs"),
        (
            lambda: nd.FullyConnected(grid(2, 3), grid(4, 5), num_hidden=4, no_bias=True),
            ShapeError,
            r"inconsistent, Provided = \[4,5\].*\n.*num_hidden=4.*\n  inputs: data \[2,3\], weight \[4,5\]$",
        ),
        (lambda: nd.concat(grid(2, 3), grid(2, 4), dim=0), ShapeError, r"Provided = \[-1,3\], inferred shape=\(-1,4\)"),
        (lambda: nd.softmax(grid(2, 3), depth=3), ParameterError, "Cannot find argument 'depth'"),
        (lambda: nd.one_hot(nd.ones(2)), ParameterError, "Required parameter depth"),
        (lambda: nd.dot(grid(2, 3), grid(2, 3)), ShapeError, "dot"),
        (lambda: nd.relu(grid(2), data=grid(2)), ArgumentTypeError, "multiple values"),
        (lambda: nd.relu(grid(2), None, None, 3), ArgumentTypeError, "at most"),
        (lambda: nd.concat(grid(2), 3), AssertionError, "must have NDArray type"),
        (lambda: nd._internal._full(shape=(2,), value=1, ctx="here"), ArgumentError, "cpu"),
        (lambda: nd._internal._zeros(shape=(2, 0)), ShapeError, "do not decide"),
        (lambda: nd.concatenate([]), ArgumentTypeError, "list of NDArrays"),
        (lambda: nd.imdecode(b""), ArgumentError, "mx.image.imdecode decodes images"),
    ],
)
def test_errors(attempt, error, text):
    with pytest.raises(error, match=text):
        attempt()


def test_an_operator_that_symc_lacks():
    with pytest.raises(AttributeError, match="no_such_operator"):
        nd.no_such_operator  # noqa: B018
    with pytest.raises(UnknownOperatorError, match=r"NDArray\.foo"):
        nd_operators._fluent("foo")(grid(2))
    with pytest.raises(UnknownOperatorError, match="no operator foo"):
        nd_operators.registered("foo")


def test_methods_are_functions():
    x = grid(2, 3, 4)
    for name in (*FLUENT, "diag", "split_v2"):
        assert callable(getattr(x, name)) and name in getattr(x, name).__doc__
    np.testing.assert_array_equal(x.sum(axis=(0, 2)).asnumpy(), x.asnumpy().sum(axis=(0, 2)))
    assert x.transpose((2, 0, 1)).shape == x.transpose(axes=(2, 0, 1)).shape == (4, 2, 3)
    assert x.tile((1, 2)).shape == (2, 3, 8) and x.flip(axis=1).asnumpy()[0, 0, 0] == 8
    assert x.broadcast_to((2, 3, 4)).shape == x.slice_like(x).shape == x.shape
    assert x.norm().shape == (1,) and x.split_v2(2)[0].shape == (1, 3, 4)


def test_prepared_runs_are_bounded(monkeypatch):
    monkeypatch.setattr(invoke, "_prepared", BoundedCache(4))
    for k in range(9):
        assert nd.clip(nd.ones(2), k, k + 1).asnumpy()[0] == max(1, k)
    assert len(invoke._prepared) == 4


def test_large_arrays_run_compiled_kernels():
    x = nd.array(np.linspace(-3, 3, 200_000))
    np.testing.assert_allclose(nd.exp(x).asnumpy(), np.exp(x.asnumpy()), rtol=1e-6)
    np.testing.assert_allclose((x + x).asnumpy(), 2 * x.asnumpy())
    y = nd.Dropout(x, p=0.5, mode="always").asnumpy()
    assert 0.45 < (y == 0).mean() < 0.55 and not np.array_equal(y, nd.Dropout(x, p=0.5, mode="always").asnumpy())
    assert nd.Dropout(x, p=0.5).asnumpy()[0] == x.asnumpy()[0]  # outside autograd operators predict


def test_empty_arrays():
    x = nd.zeros((0, 3))
    assert nd.relu(x).shape == (x + 1).shape == (0, 3) and x.sum(axis=0).asnumpy().tolist() == [0, 0, 0]
    assert nd.concat(x, nd.ones((2, 3)), dim=0).shape == (2, 3)
    y = nd.pad(nd.zeros((0, 1, 2, 3)), mode="reflect", pad_width=(0, 0, 0, 0, 1, 1, 2, 2))
    assert y.shape == (0, 1, 4, 7)
    with mx.np_shape(True):
        assert nd.shape_array(nd.zeros(())).shape == (0,) and nd.shape_array(x).asnumpy().tolist() == [0, 3]


def test_odd_parameters():
    """As MXNet 1.9.1 takes them."""
    x = grid(2, 3)
    assert nd.reverse(x, axis=(0, 0)).asnumpy().tolist() == x.asnumpy().tolist()
    for name in ("softmax", "softmin", "log_softmax"):
        assert np.isnan(getattr(nd, name)(x, temperature=0).asnumpy()).all()


def test_parameters_as_texts():
    assert nd.slice(grid(2, 3), begin="(1)", end="(None)").asnumpy().tolist() == [[3, 4, 5]]
    with pytest.raises(ParameterError, match=r"Invalid Parameter format for end .* value='None'"):
        nd.slice(grid(2, 3), begin="(1)", end="None")


def test_batch_norm_takes_its_states_as_inputs():
    x, ones, mean, var = grid(4, 2), nd.ones(2), nd.array([1.0, 2.0]), nd.array([4.0, 9.0])
    y = nd.BatchNorm(x, ones, nd.zeros(2), mean, var, eps=0, fix_gamma=False)
    np.testing.assert_allclose(y.asnumpy(), (x.asnumpy() - [1, 2]) / [2, 3], rtol=1e-6)
    assert mean.asnumpy().tolist() == [1, 2]


def test_cached_op():
    data, weight = mx.sym.var("data"), mx.sym.var("weight")
    net = mx.sym.relu(mx.sym.FullyConnected(data, weight, num_hidden=2, no_bias=True, name="fc"))
    op = nd.CachedOp(net)
    x, w = grid(2, 3), grid(2, 3) - 3
    want = np.maximum(x.asnumpy() @ w.asnumpy().T, 0)
    np.testing.assert_array_equal(op(x, w).asnumpy(), want)
    out = nd.zeros((2, 2))
    assert op(x, w, out=out) is out
    w.attach_grad()
    with mx.autograd.record():
        y = op(x, w)
    y.backward()
    np.testing.assert_array_equal(w.grad.asnumpy(), (want > 0).T.astype("float32") @ x.asnumpy())
    assert op(grid(5, 3), w).shape == (5, 2)
    with pytest.raises(ArgumentError, match="expected 2 inputs"):
        op(x)
    with pytest.raises(ArgumentTypeError, match="input weight: expected an NDArray"):
        op(x, 3)
    with pytest.raises(ShapeError):
        op(x, grid(2, 4))


def test_a_cached_op_may_be_deeper_than_python_recurses():
    x = mx.sym.var("x")
    net = x
    for _ in range(2000):
        net = -net
    assert nd.CachedOp(net)(nd.array([3.0])).asscalar() == 3.0


def test_combining():
    x = grid(2, 3, 4)
    for source, target in ((0, 2), (-1, 0), ([0, 1], [1, 2]), ([2, 0], [0, 1])):
        want = np.moveaxis(x.asnumpy(), source, target)
        np.testing.assert_array_equal(nd.moveaxis(x, source, target).asnumpy(), want)
    for bad in ((3, 0), ([0, 0], [0, 1]), (0, [0, 1])):
        with pytest.raises(ValueError, match="moveaxis"):
            nd.moveaxis(x, *bad)
    one = nd.zeros((2, 3))
    assert nd.onehot_encode(nd.array([2, 0]), out=one) is one
    assert one.asnumpy().tolist() == [[0, 0, 1], [1, 0, 0]]
    for dtype in ("int32", "float32"):
        counts, edges = nd.histogram(nd.array([1, 2, 2, 5], dtype=dtype), bins=2, range=(0, 6))
        assert counts.asnumpy().tolist() == [3, 1] and edges.asnumpy().tolist() == [0, 3, 6]
        assert (counts.dtype, edges.dtype) == (np.int64, np.dtype(dtype))
    with pytest.warns(UserWarning, match="range is not specified"):
        counts, edges = nd.histogram(nd.array([1, 2, 2, 5]), bins=2)
    assert counts.asnumpy().tolist() == [3, 1] and edges.asnumpy().tolist() == [1, 3, 5]
    assert counts.dtype == edges.dtype == np.float32
    m = grid(2, 3)
    assert nd.choose_element_0index(m, nd.array([1, 2])).asnumpy().tolist() == [1, 5]
    kept = nd.choose_element_0index(data=m, index=nd.array([1, 2]), axis=1, keepdims=True)
    assert kept.asnumpy().tolist() == [[1], [5]]
    filled = nd.fill_element_0index(m, nd.array([7, 8]), nd.array([0, 1]))
    assert filled.asnumpy().tolist() == [[7, 1, 2], [3, 8, 5]]
    with pytest.raises(ElementError, match="rhs must name places between 0 and 2"):
        nd.fill_element_0index(m, nd.array([7, 8]), nd.array([0, 3]))


def test_contrib_numbers():
    x = nd.array([1, np.nan, np.inf, -np.inf])
    assert nd.contrib.isnan(x).asnumpy().tolist() == [0, 1, 0, 0]
    assert nd.contrib.isinf(x).asnumpy().tolist() == [0, 0, 1, 1]
    assert nd.contrib.isfinite(x).asnumpy().tolist() == [1, 0, 0, 0]


def test_state_of_mxnets_pickles():
    x = grid(2, 3)
    y = nd.ones(1)
    y.__setstate__(x.__getstate__())
    np.testing.assert_array_equal(y.asnumpy(), x.asnumpy())
    with pytest.raises(mx.MXNetError, match="byte"):
        y.__setstate__({"handle": bytearray(b"\xc9\xfa\x93\xf9")})
    for other in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        np.testing.assert_array_equal(other.asnumpy(), x.asnumpy())


def test_slice_assign_and_storage_types():
    x = grid(3, 4)
    assert x.slice_assign(nd.zeros((1, 2)), (0, 0), (1, 2), (1, 1)) is x
    x.slice_assign_scalar(9, (2, None), (3, 2))
    assert x.asnumpy().tolist() == [[0, 0, 2, 3], [4, 5, 6, 7], [9, 9, 10, 11]]
    assert x.tostype("default") is not x and x.as_nd_ndarray() is x
    with pytest.raises(ArgumentError, match="csr"):
        x.tostype("csr")


def test_no_module_hides_an_operator():
    modules = {m.name for m in pkgutil.iter_modules(nd.__path__)} - {"contrib", "random"}
    hidden = {n for n in modules if lookup(n) is not None}
    assert not hidden


def test_several_threads_at_once(monkeypatch):
    monkeypatch.setattr(invoke, "_prepared", BoundedCache(8))
    weight = nd.array(np.linspace(-1, 1, 12).reshape(3, 4))
    failures = []

    def work(k: int) -> None:
        for n in range(1, 40):
            x = nd.array(np.full((n, 4), k + 1.0))
            got = (nd.FullyConnected(x, weight, num_hidden=3, no_bias=True) + k).asnumpy()
            want = x.asnumpy() @ weight.asnumpy().T + k
            if not np.allclose(got, want, rtol=1e-5):
                failures.append((k, n))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("mask, rows", [([0, 1, 1], [1, 2]), ([0, 0, 0], []), ([2, 0, -1], [0, 2])])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_boolean_mask(mask, rows, dtype):
    """As MXNet's; it keeps as many rows as the mask has numbers other than 0."""
    data = mx.nd.array([[1, 2], [3, 4], [5, 6]])
    data.attach_grad()
    with mx.autograd.record():
        kept = mx.nd.contrib.boolean_mask(data, mx.nd.array(mask, dtype=dtype))
    assert kept.shape == (len(rows), 2) and kept.asnumpy().tolist() == data.asnumpy()[rows].tolist()
    if rows:
        kept.backward(kept * 10)
        want = np.zeros((3, 2))
        want[rows] = data.asnumpy()[rows] * 10
        assert data.grad.asnumpy().tolist() == want.tolist()


def test_boolean_masks_that_do_not_fit():
    data = mx.nd.ones((3, 2))
    with pytest.raises(ShapeError, match=r"Provided = \[2\], inferred shape=\(3\)"):
        mx.nd.contrib.boolean_mask(data, mx.nd.ones((2,)))
    with pytest.raises(ShapeError, match="boolean_mask: only axis 0 is supported, got 1"):
        mx.nd.contrib.boolean_mask(data, mx.nd.ones((2,)), axis=1)


@pytest.mark.parametrize(
    "shape, params, want",
    [
        ((1, 1, 6), {"kernel": (2,), "pad": (0, 0, 0)}, (1, 1, 5)),
        ((1, 1, 6), {"kernel": (2,), "pad": (1, 0, 0)}, (1, 1, 7)),
        ((1, 1, 6), {"kernel": (2,), "stride": (2, 2)}, (1, 1, 3)),
        ((1, 1, 6, 6), {"kernel": (2, 2), "pad": (0, 0, 9)}, (1, 1, 5, 5)),
    ],
)
def test_pooling_counts_the_extents_of_its_kernel(shape, params, want):
    """Shapes from MXNet 1.9.1."""
    assert mx.nd.Pooling(mx.nd.ones(shape), **params).shape == want
    assert mx.sym.Pooling(mx.sym.Variable("x"), **params).infer_shape(x=shape)[1] == [want]


def test_the_maxima_of_pooling_v1_at_the_edges():
    """Values from MXNet 1.9.1: padding counts as zeros, a window behind it has nothing."""
    data = mx.nd.full((1, 1, 5, 5), -2)
    out = mx.nd.Pooling_v1(data, kernel=(1, 1), stride=(4, 4), pad=(1, 0), pooling_convention="full", pool_type="max")
    assert out.asnumpy().tolist() == [[[[0, 0], [-2, -2], [-np.inf, -np.inf]]]]


def test_dropping_everything_gives_nan_as_in_mxnet():
    with mx.autograd.train_mode():
        assert np.isnan(mx.nd.Dropout(mx.nd.ones((3,)), p=1).asnumpy()).all()
    assert mx.nd.Dropout(mx.nd.ones((3,)), p=1).asnumpy().tolist() == [1, 1, 1]


def test_boolean_mask_counts_its_inputs():
    with pytest.raises(ArgumentError, match=r"expects 2 inputs \(data, index\), got 1"):
        mx.nd.contrib.boolean_mask(mx.nd.ones((2, 3)))


def test_powers_of_lrn_beyond_numbers():
    """1 / inf; how a power is computed depends on it."""
    ones = mx.nd.ones((1, 3, 1, 1))
    assert not mx.nd.LRN(ones, nsize=1, beta=np.inf).asnumpy().any()
    assert np.isnan(mx.nd.LRN(ones, nsize=1, beta=np.nan).asnumpy()).all()


@pytest.mark.parametrize("n", [3, 70_000])
def test_the_mean_of_bool_is_whether_any_is_true(n):
    """By NumPy and by a kernel, as in MXNet."""
    for values in np.zeros(n, bool), np.arange(n) == 2:
        found = nd.mean(nd.array(values, dtype="bool"))
        assert found.dtype == np.bool_ and found.asscalar() == values.any()
