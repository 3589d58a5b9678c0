"""An Executor called like a function: what it takes, what it gives, other shapes."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError, ShapeError, SymcError

from .small import dense, nd

sym = mx.sym
x, y = sym.var("x"), sym.var("y")


def kernels_of(ex):
    """Names of the kernels of all programs of an executor."""
    return {name for bound in ex._programs._found.values() for name in bound.session.program.kernel_names}


class Exported:
    """What another library hands over: DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


FORMS = {
    "numpy": lambda a: a,
    "ndarray": lambda a: mx.nd.array(a),
    "dlpack": Exported,
    "float64": lambda a: a.astype("f8"),
    "int32": lambda a: a.astype("i4"),
    "list": lambda a: a.tolist(),
    "read-only": lambda a: mx.nd.array(a).__array__(),
    "transposed": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), "f4", offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("batch", [4, 4000])  # a large input is read where it lies
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_calls_take_any_array(form, batch):
    data = np.arange(batch * 5).reshape(batch, 5).astype("f4") % 100
    want = data.sum(axis=1, keepdims=True) + np.arange(3)
    ex = dense(batch)
    for _ in range(2):
        (out,) = ex(data=form(data))
        assert isinstance(out, mx.nd.NDArray)
        np.testing.assert_array_equal(np.asarray(out), want)
    assert not ex.arg_dict["data"].asnumpy().any()


def test_calls_by_position_and_with_bound_values():
    ex = dense()
    ex.arg_dict["data"][:] = 1
    assert ex()[0].asnumpy()[0].tolist() == [5, 6, 7]
    assert ex(np.zeros((4, 5)))[0].asnumpy()[0].tolist() == [0, 1, 2]
    assert ex(np.zeros((4, 5)), fc_bias=np.zeros(3))[0].asnumpy()[0].tolist() == [0, 0, 0]
    assert ex()[0].asnumpy()[0].tolist() == [5, 6, 7]


@pytest.mark.parametrize("n", [100, 10_000, 100_000])
def test_inputs_of_several_dtypes_in_turn(n):
    """10,000 elements are a small input as float32 and a large one as float64."""
    ex = (x * 2).simple_bind(mx.cpu(), x=(n,))
    for k, dtype in enumerate(("f4", "f8", "f4", "f4", "f8")):
        value = np.arange(k, n + k).astype(dtype)
        np.testing.assert_array_equal(ex(x=value)[0].asnumpy(), (2 * value).astype("f4"))


@pytest.mark.parametrize("n", [10, 100_000])
def test_calls_return_fresh_arrays(n):
    ex = (x * 2).simple_bind(mx.cpu(), x=(n,))
    (first,) = ex(x=np.ones(n, "f4"))
    (second,) = ex(x=np.zeros(n, "f4"))
    (bound,) = ex.forward(x=np.full(n, 3, "f4"))
    for array, value in ((first, 2), (second, 0), (bound, 6)):
        assert (array.asnumpy() == value).all()


def test_call_errors():
    ex = dense()
    with pytest.raises(ArgumentTypeError, match="Unknown argument z; expected one of data, fc_weight, fc_bias"):
        ex(z=nd(1))
    with pytest.raises(ArgumentTypeError, match="at most 3 arguments, got 4"):
        ex(1, 2, 3, 4)
    with pytest.raises(ArgumentTypeError, match="argument data: expected a number or an array, got object"):
        ex(data=object())
    with pytest.raises(ArgumentError, match=r"fc_weight is bound with shape \(3, 5\).*need \(3, 6\)"):
        ex(data=np.ones((4, 6)))
    with pytest.raises(ShapeError, match="fc"):
        ex(data=np.ones((4, 5)), fc_bias=np.ones(4))
    assert ex(data=np.ones((4, 5)))[0].asnumpy()[0].tolist() == [5, 6, 7]
    for strange in ("abc", np.full((2, 4), "x"), np.ones((2, 4), complex)):
        with pytest.raises(ArgumentTypeError, match="argument data: expected"):
            ex(data=strange)
    with pytest.raises(SymcError, match=r"calling with data \(\d+, \d+\) \(bound: "):
        ex(data=np.ones((2, 99)))


A, B = mx.sym.var("a"), mx.sym.var("b")


@pytest.mark.parametrize(
    "symbol, bound, given, want",
    [
        (mx.sym.broadcast_like(A, B), {"a": (1, 4), "b": (2, 4)}, {"b": (5, 4)}, np.full((5, 4), 3.0)),
        (mx.sym.broadcast_like(A, B), {"a": (1, 4), "b": (2, 4)}, {"a": (5, 1), "b": (5, 4)}, np.full((5, 4), 3.0)),
        (A + mx.sym.zeros_like(B), {"a": (2, 4), "b": (2, 4)}, {"a": (5, 4), "b": (5, 4)}, np.full((5, 4), 3.0)),
        (mx.sym.ones_like(B), {"b": (2, 4)}, {"b": (5, 3)}, np.ones((5, 3))),
        (mx.sym.shape_array(B), {"b": (2, 4)}, {"b": (5, 3, 2)}, [5, 3, 2]),
        (mx.sym.size_array(B), {"b": (2, 4)}, {"b": (5, 3)}, [15]),
        (mx.sym.slice_like(A, B), {"a": (7, 7), "b": (2, 4)}, {"a": (7, 7), "b": (5, 4)}, np.full((5, 4), 3.0)),
        (mx.sym.reshape_like(A, B), {"a": (2, 6), "b": (4, 3)}, {"a": (2, 6), "b": (3, 4)}, np.full((3, 4), 3.0)),
        (mx.sym.contrib.arange_like(B, axis=0), {"b": (2, 4)}, {"b": (5, 4)}, np.arange(5.0)),
    ],
    ids=str,
)
def test_the_shape_of_an_argument_counts_though_nobody_reads_its_values(symbol, bound, given, want):
    ex = symbol.simple_bind(mx.cpu(), **bound)
    ex.arg_dict[next(iter(bound))][:] = 3
    for _ in range(2):
        (out,) = ex(**{name: np.full(shape, 3.0, "f4") for name, shape in given.items()})
        np.testing.assert_array_equal(out.asnumpy(), want)


def test_shapes_that_change_the_number_of_boxes():
    ex = mx.sym.contrib.MultiBoxPrior(A, sizes=(0.5,)).simple_bind(mx.cpu(), a=(1, 3, 2, 2))
    assert ex(a=np.zeros((1, 3, 5, 4)))[0].shape == (1, 20, 4)
    crop = mx.sym.Crop(A, B, num_args=2).simple_bind(mx.cpu(), a=(1, 3, 9, 9), b=(1, 3, 2, 2))
    assert crop(b=np.zeros((1, 3, 5, 4)))[0].shape == (1, 3, 5, 4)
    with pytest.raises(mx.MXNetError, match=r"calling with b \(1, 3, 50, 4\)"):
        crop(b=np.zeros((1, 3, 50, 4)))


@pytest.mark.parametrize("given", [{"a": (0, 30_000_000)}, {"a": (0, 3), "i": (4,)}], ids=str)
@pytest.mark.parametrize("mode", ["clip", "wrap"])
def test_a_call_with_nothing_to_read_from(given, mode):
    ex = mx.sym.take(mx.sym.var("a"), mx.sym.var("i"), mode=mode).simple_bind(mx.cpu(), a=(5, 3), i=(2,))
    with pytest.raises(mx.MXNetError, match=r"a of shape \[0,\d+\] has no elements"):
        ex(**{name: np.zeros(shape, "f4") for name, shape in given.items()})
    assert ex(a=np.zeros((0, 3)), i=np.zeros((0,)))[0].shape == (0, 3)


def test_compile_takes_numpy_parameters_and_names_what_is_no_input():
    net = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="fc")
    weight, bias = np.arange(15.0).reshape(3, 5), np.ones(3, "f4")
    params = {"arg:fc_weight": weight.astype("f4"), "fc_bias": bias, "of another model": bias}
    (out,) = mx.compile(net, params, data=(2, 5))(data=np.ones((2, 5)))
    np.testing.assert_allclose(out.asnumpy(), np.ones((2, 5)) @ weight.T + 1)
    with pytest.raises(ArgumentError, match="compile: the symbol has no input dta; did you mean data"):
        mx.compile(net, params, dta=(2, 5))
    with pytest.raises(ArgumentError, match="no array and no shape for fc_weight"):
        mx.compile(net, {"fc_bias": bias}, data=(2, 5))


EMPTY_AND_SCALAR = [
    (mx.sym.exp(A), {"a": (0, 3)}, (0, 3)),
    (mx.sym.exp(A), {"a": ()}, ()),
    (A + B, {"a": (2, 0), "b": (2, 0)}, (2, 0)),
    (mx.sym.sum(A), {"a": (2, 0)}, (1,)),
    (mx.sym.reshape(A, shape=(-1,)), {"a": (0, 3)}, (0,)),
    (mx.sym.FullyConnected(A, B, num_hidden=4, no_bias=True, flatten=False), {"a": (2, 0, 3), "b": (4, 3)}, (2, 0, 4)),
    (mx.sym.Convolution(A, B, num_filter=4, kernel=(3, 3), no_bias=True), {"a": (0, 3, 5, 5), "b": (4, 3, 3, 3)},
     (0, 4, 3, 3)),
    (mx.sym.FullyConnected(A, B, num_hidden=4, no_bias=True), {"a": (3, 0), "b": (4, 0)}, (3, 4)),
    (mx.sym.slice(A, begin=(2,), end=(2,)), {"a": (5, 3)}, (0, 3)),
    (mx.sym.concat(A, B, dim=0), {"a": (0, 3), "b": (2, 3)}, (2, 3)),
    (mx.sym.take(A, B), {"a": (5, 3), "b": (0,)}, (0, 3)),
    (mx.sym.repeat(A, repeats=0), {"a": (2, 3)}, (0,)),
    (mx.sym.reverse(A, axis=0), {"a": (0, 3)}, (0, 3)),
    (mx.sym.dot(A, B, transpose_a=True), {"a": (4, 0), "b": (4, 5)}, (0, 5)),
    (mx.sym.tile(A, reps=(2, 0)), {"a": (2, 3)}, (4, 0)),
    (mx.sym.tile(A, reps=(0,)), {"a": ()}, (0,)),
    (mx.sym.reshape(A, shape=()), {"a": (1,)}, ()),
    (mx.sym.linalg.det(A), {"a": (3, 3)}, ()),
    (mx.sym.linalg.slogdet(A)[1], {"a": (3, 3)}, ()),
    (mx.sym.linalg.det(A), {"a": (2, 3, 3)}, (2,)),
    (mx.sym.contrib.index_array(A), {"a": ()}, (0,)),
    (mx.sym.contrib.index_array(A), {"a": (0, 0, 0)}, (0, 0, 0, 3)),
    (mx.sym.contrib.index_array(A, axes=(2, 1)), {"a": (0, 0, 0, 0)}, (0, 0, 0, 0, 2)),
]  # fmt: skip


@pytest.mark.parametrize("symbol, shapes, want", EMPTY_AND_SCALAR, ids=str)
def test_np_shape_binds_scalars_and_what_has_no_elements(symbol, shapes, want):
    with mx.util.np_shape():
        arrays = {name: mx.nd.ones(shape) for name, shape in shapes.items()}
        trained = symbol.simple_bind(mx.cpu(), grad_req={n: "null" if n == "b" else "write" for n in shapes}, **shapes)
        (made,) = trained.forward(is_train=True)
        trained.backward(mx.nd.ones(made.shape))
        assert trained.grad_dict["a"].shape == shapes["a"]
        bound = symbol.bind(mx.cpu(), arrays)
        found = [made, *bound.forward(), *bound(**arrays), *symbol.eval(mx.cpu(), **arrays)]
    assert [o.shape for o in found] == [want] * 4
    if symbol.name.startswith("concat"):
        assert trained.grad_dict["b"] is None and made.shape == (2, 3)


MADE = [
    mx.sym.zeros,
    mx.sym.ones,
    lambda shape: mx.sym.full(shape, 3),
    lambda shape: mx.sym.random.uniform(shape=shape),
    lambda shape: mx.sym.random.randint(0, 5, shape=shape),
]


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("shape", [(0, 3), (), (2, 0)])
def test_np_shape_makes_scalars_and_what_has_no_elements(make, shape):
    symbol = make(shape)
    with pytest.raises(ShapeError, match="cannot decide shapes"):
        symbol.bind(mx.cpu(), {})
    with mx.util.np_shape():
        assert symbol.infer_shape()[1] == [shape]
        bound, simple = symbol.bind(mx.cpu(), {}), symbol.simple_bind(mx.cpu())
        (evaluated,) = symbol.eval()
        assert mx.nd.CachedOp(symbol)().shape == shape
    for found in (*bound.forward(), *simple.forward(is_train=True), evaluated):  # compiled outside
        assert found.shape == shape
    if make is mx.sym.ones:
        assert (evaluated.asnumpy() == 1).all()


def test_an_extent_of_0_is_the_users_outside_np_shape():
    symbol = mx.sym.ones((0, 3)) + A
    (found,) = symbol.simple_bind(mx.cpu(), a=(2, 3)).forward()
    assert found.shape == (2, 3)
    with mx.util.np_shape(), pytest.raises(ShapeError, match="Shape inconsistent"):
        symbol.simple_bind(mx.cpu(), a=(2, 3))


def test_other_batch_sizes_share_kernels():
    """Extents are arguments of a kernel; an extent of 1, an odd one and tiles for few rows may choose others."""
    hidden = sym.Convolution(sym.var("data"), num_filter=10, kernel=(3, 3), pad=(1, 1), name="conv")
    hidden = sym.Pooling(sym.Activation(hidden, act_type="relu"), global_pool=True, pool_type="avg", kernel=(1, 1))
    symbol = sym.SoftmaxOutput(sym.Flatten(hidden), name="softmax")
    ex = symbol.simple_bind(mx.cpu(), data=(8, 3, 8, 8), grad_req="null")
    random = np.random.default_rng(0)
    ex.arg_dict["conv_weight"][:] = random.normal(size=(10, 3, 3, 3))
    data = random.normal(size=(10, 3, 8, 8)).astype("f4")
    want = np.concatenate([ex(data=data[:8])[0].asnumpy(), ex(data=data[2:])[0].asnumpy()[6:]])
    before = kernels_of(ex)
    for batch in (10, 5, 2, 1):
        (out,) = ex(data=data[:batch])  # the label, which predicting does not read, keeps its shape
        np.testing.assert_allclose(out.asnumpy(), want[:batch], rtol=1e-5, atol=1e-6)
        assert kernels_of(ex) == before or batch < 8


def test_programs_for_other_shapes_are_few():
    from symc.executor.programs import MAX_PROGRAMS

    ex = (x + 1).simple_bind(mx.cpu(), x=(2,))
    for n in range(3, 3 * MAX_PROGRAMS):
        assert ex(x=np.zeros(n))[0].shape == (n,)
    assert len(ex._programs._found.values()) == MAX_PROGRAMS


@pytest.mark.parametrize("rows", [32, 5])
@pytest.mark.parametrize("kind", ["dense", "convolution", "deconvolution", "batch norm"])
def test_a_call_computes_with_the_parameters_it_is_given(kind, rows):
    """Parameters are prepared once for the bound arrays, not for those of a call."""
    a, w, rng = mx.sym.Variable("a"), mx.sym.Variable("w"), np.random.default_rng(0)
    if kind == "dense":
        y, shapes = mx.sym.FullyConnected(a, w, num_hidden=64, no_bias=True), {"a": (32, 64), "w": (64, 64)}
    elif kind == "batch norm":
        y, shapes = mx.sym.BatchNorm(a, w, mx.sym.Variable("b"), fix_gamma=False, name="n"), {"a": (32, 8), "w": (8,)}
    else:
        layer = mx.sym.Convolution if kind == "convolution" else mx.sym.Deconvolution
        params = {"kernel": (3, 3), "num_filter": 16, "no_bias": True}
        y, shapes = layer(a, w, **params), {"a": (32, 16, 6, 6), "w": (16, 16, 3, 3)}
    ex = y.simple_bind(mx.cpu(), grad_req="null", a=shapes["a"])
    for array in ex.aux_dict.values():
        array[:] = 1
    given = {"a": rng.normal(size=(rows, *shapes["a"][1:])), "w": rng.normal(size=shapes["w"])}
    zeros = ex(a=given["a"])[0].asnumpy()
    assert not zeros.any()
    got = ex(**given)[0].asnumpy()
    np.testing.assert_allclose(got, _layer(kind, given["a"], given["w"]), rtol=1e-4, atol=1e-4)


def _layer(kind, a, w):
    """What NumPy makes of it in float64."""
    if kind == "dense":
        return a @ w.T
    if kind == "batch norm":  # both moving statistics are 1, beta is 0
        return (a - 1) / np.sqrt(1 + 1e-3) * w
    if kind == "deconvolution":
        a, w = np.pad(a, ((0, 0), (0, 0), (2, 2), (2, 2))), w.swapaxes(0, 1)[:, :, ::-1, ::-1]
    return np.einsum("nchwij,ocij->nohw", np.lib.stride_tricks.sliding_window_view(a, (3, 3), (2, 3)), w)
