"""Every place where an array of the caller is read or written checks that it fits: otherwise memory is at stake."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import autograd, nd
from symc.core.errors import AllocationError, ArgumentError, ArgumentTypeError, DTypeError, GraphError, ShapeError
from symc.ndarray import tape

READ_ONLY = np.frombuffer(b"\0" * 12, "f4")
x = mx.sym.Variable("x")


@pytest.mark.parametrize(
    "data",
    [
        np.arange(3, dtype=">f4"),
        np.arange(3, dtype=">i8"),
        np.ones((3, 4), "f4", order="F"),
        np.ones(6, "f4")[::2],
        np.frombuffer(bytearray(13), np.uint8)[1:].view("f4"),
        READ_ONLY,
        np.ones(3, "c8"),
        np.array([None]),
    ],
    ids=["swapped", "swapped integers", "columns", "every other", "unaligned", "read-only", "complex", "objects"],
)
def test_memory_that_kernels_cannot_use_is_no_ndarray(data):
    for make in (nd.NDArray, nd.from_numpy):
        with pytest.raises(ArgumentError):
            make(data)


@pytest.mark.parametrize("data", [[1.0], memoryview(b"1234"), 3.0, nd.ones(2)], ids=lambda d: type(d).__name__)
def test_what_is_no_numpy_array_is_no_ndarray(data):
    for make in (nd.NDArray, nd.from_numpy):
        with pytest.raises(ArgumentTypeError, match="NumPy array, got"):
            make(data)


def test_byte_swapped_numbers_are_converted_where_they_are_copied():
    swapped, want = np.arange(1, 4, dtype=">f4"), [1, 2, 3]
    bound = x.bind(mx.cpu(), {"x": nd.zeros(3)})
    bound.arg_dict["x"][:] = swapped
    assigned = nd.zeros(3)
    assigned[1:] = swapped[1:]
    assert bound.forward()[0].asnumpy().tolist() == bound.forward(x=swapped)[0].asnumpy().tolist() == want
    assert bound(x=swapped)[0].asnumpy().tolist() == want and assigned.asnumpy().tolist() == [0, 2, 3]
    big = np.arange(1 << 15, dtype=">f4")  # beyond what a call copies anyway
    assert mx.sym.sum(x).bind(mx.cpu(), {"x": nd.zeros(1 << 15)})(x=big)[0].asscalar() == big.sum(dtype="f8")
    for made in (nd.array(swapped), nd.array(swapped, dtype=">f4"), nd.from_numpy(swapped, zero_copy=False)):
        assert made.asnumpy().tolist() == want and made.asnumpy().dtype.isnative
    assert nd.NDArray._copy_of(swapped).asnumpy().dtype.isnative


def test_memory_of_numpy_is_shared_again_though_it_is_read_only_by_then():
    data = np.ones(3, "f4")
    first, second = nd.from_numpy(data), nd.from_numpy(data)
    first[:] = 2
    assert second.asnumpy().tolist() == [2, 2, 2] and not data.flags.writeable


def test_memory_that_was_refused_stays_writable():
    data = np.arange(3, dtype=">f4")
    with pytest.raises(ArgumentError, match="byte order"):
        nd.from_numpy(data)
    assert data.flags.writeable


def test_dlpack_that_cannot_be_taken_over():
    with pytest.raises(ArgumentError, match="from_dlpack: cannot take over"):
        nd.from_dlpack(np.array(["a"]))
    with pytest.raises(DTypeError, match="complex64"):
        nd.from_dlpack(np.ones(3, "c8"))
    assert nd.from_dlpack(np.ones((3, 4), "f4").T).shape == (4, 3)  # a copy
    assert nd.from_dlpack(READ_ONLY).asnumpy().tolist() == [0, 0, 0]  # a copy


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_a_gradient_array_of_another_dtype_is_refused(dtype):
    for symbol, name in ((x * 2, "x"), (mx.sym.FullyConnected(x, num_hidden=2, name="fc"), "fc_bias")):
        args = dict(zip(symbol.list_arguments(), map(nd.ones, symbol.infer_shape(x=(3, 4))[0])))
        with pytest.raises(ArgumentError, match=f"args_grad of {name} is {dtype}, expected float32"):
            symbol.bind(mx.cpu(), args, {name: nd.ones(args[name].shape, dtype=dtype)})


def test_arrays_bound_to_states_fit():
    symbol = mx.sym.BatchNorm(x, name="bn")
    args = {"x": nd.ones((2, 3)), "bn_gamma": nd.ones(3), "bn_beta": nd.ones(3)}
    states = {"bn_moving_mean": nd.ones(3), "bn_moving_var": nd.ones(3, dtype="float64")}
    with pytest.raises(mx.MXNetError, match="float64"):
        symbol.bind(mx.cpu(), args, aux_states=states)


def test_shared_buffers_hold_arrays():
    with pytest.raises(ArgumentTypeError, match=r"shared_buffer\['x'\]: expected an NDArray, got ndarray"):
        (x * 2).simple_bind(mx.cpu(), x=(3,), shared_buffer={"x": np.ones(3, "f4")})
    with pytest.raises(DTypeError, match="complex64"):
        (x * 2).simple_bind(mx.cpu(), x=(3,), type_dict={"x": "complex64"})


def test_a_program_never_runs_over_an_array_too_small_for_it():
    """Whatever the checks before it let through."""
    ex = (x * 2).simple_bind(mx.cpu(), x=(64,))
    for arrays, wrong in ((ex.arg_dict, nd.ones(3)), (ex.grad_dict, nd.ones(64, dtype="float16"))):
        right = arrays["x"]
        dict.__setitem__(arrays, "x", wrong)
        with pytest.raises((GraphError, ArgumentError)):
            ex.forward(is_train=True, x=np.ones(64))
        dict.__setitem__(arrays, "x", right)


@pytest.mark.parametrize("out", [nd.ones(2), nd.ones((1, 3)), nd.ones(3, dtype="float16"), nd.ones(3, dtype="int32")])
def test_an_out_that_does_not_fit_is_not_written(out):
    before = out.asnumpy()
    cached = nd.CachedOp(mx.sym.exp(x))
    for run in (nd.exp, nd.relu, cached):
        with pytest.raises(ArgumentError, match="out= "):
            run(nd.zeros(3), out=out)
    np.testing.assert_array_equal(out.asnumpy(), before)


def test_of_several_outs_none_is_written_unless_all_fit():
    out = [nd.ones((1, 2)), nd.ones((1, 3))]
    with pytest.raises(ArgumentError, match=r"out= has shape \(1, 3\), expected \(1, 2\)"):
        nd.split(nd.zeros((2, 2)), num_outputs=2, axis=0, out=out)
    assert out[0].asnumpy().all()


@pytest.mark.parametrize(
    "run",
    [
        lambda out: nd.exp(nd.zeros(3), out=out),
        lambda out: nd.full((3,), 1, out=out),
        lambda out: nd.zeros((3,), out=out),
        lambda out: nd.random.uniform(shape=3, out=out),
        lambda out: nd.random.shuffle(nd.ones(3), out=out),
        lambda out: nd.eye(3, out=out),
        lambda out: nd.CachedOp(mx.sym.exp(x))(nd.zeros(3), out=out),
        lambda out: nd.sgd_update(nd.ones(3), nd.ones(3), lr=0.1, out=out),
        lambda out: nd.concat(nd.ones(3), nd.ones(3), dim=0, out=out),
    ],
)
@pytest.mark.parametrize("out", [np.ones(3, "f4"), "abc", 3], ids=["numpy", "text", "number"])
@pytest.mark.parametrize("recording", [False, True])
def test_an_out_that_is_no_ndarray(run, out, recording):
    with pytest.raises(ArgumentTypeError), tape.scope(recording, None):
        run(out)


@pytest.mark.parametrize(
    "gradient", [nd.ones(2), nd.ones((1, 3)), nd.ones(3, dtype="float16"), nd.ones(3, dtype="float64"), np.ones(3)]
)
def test_gradients_in_autograd_fit(gradient):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="the gradient of a variable"):
        autograd.mark_variables(nd.ones(3), gradient)
    v = nd.ones(3)
    v.attach_grad()
    with autograd.record():
        y = v * 2
    with pytest.raises((ArgumentError, ArgumentTypeError), match="the head gradient"):
        y.backward(gradient)
    y.backward(nd.ones(3))
    assert v.grad.asnumpy().tolist() == [2, 2, 2]


@pytest.mark.parametrize("value", [np.ones(3), [1, 1, 1], nd.ones(3, dtype="float64"), np.ones(3, ">i2")])
def test_parameters_are_copied_from_any_array(value):
    ex = (x * 2).simple_bind(mx.cpu(), x=(3,))
    ex.copy_params_from({"x": value})
    assert ex.forward()[0].asnumpy().tolist() == [2, 2, 2]
    for wrong in (np.ones(1), np.ones((1, 3)), 1.0, nd.ones(4)):
        with pytest.raises(ArgumentError, match="copying parameter x"):
            ex.copy_params_from({"x": wrong})


@pytest.mark.parametrize("make", [nd.zeros, nd.empty, nd.ones])
def test_more_memory_than_there_is_is_one_error(make):
    with pytest.raises(ArgumentError, match=r"cannot allocate 8796093022208 bytes for an array of shape \(1048576, "):
        make((1 << 20, 1 << 20), dtype="float64")


ONE = nd.ones((1, 1, 2, 2))
BOXES = nd.array([[0, 0, 0, 1, 1]])
N = 1 << 20


@pytest.mark.parametrize(
    "run, name",
    [
        (lambda: nd.tile(nd.ones((1, 1)), reps=(N, N)), "tile"),
        (lambda: nd.broadcast_to(nd.ones((1, 1)), shape=(N, N)), "broadcast_to"),
        (lambda: nd.repeat(nd.ones(1), repeats=N * N), "repeat"),
        (lambda: nd.pad(ONE, mode="edge", pad_width=(0, 0, 0, 0, N // 2 - 2, 0, N // 2 - 2, N)), "Pad"),
        (lambda: nd.one_hot(nd.arange(4), depth=N * N // 4), "one_hot"),
        (lambda: nd._internal._arange(start=0, stop=N * N), "_arange"),
        (lambda: nd._internal._eye(N=N, M=N), "_eye"),
        (lambda: nd._internal._full(shape=(N, N), value=2), "_full"),
        (lambda: nd.ROIPooling(ONE, BOXES, pooled_size=(N, N), spatial_scale=1), "ROIPooling"),
        (lambda: nd.arange(0, N * N), "arange"),
        (lambda: nd.linspace(0, 1, N * N), "linspace"),
        (lambda: nd.random.uniform(shape=(N, N)), "uniform"),
        (lambda: nd.random.multinomial(nd.ones(2), shape=(N, N)), "multinomial"),
        (lambda: nd.CachedOp(mx.sym.tile(x, reps=(N, N)))(nd.ones((1, 1))), "tile"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operators_that_need_more_memory_than_there_is_are_named(run, name):
    with pytest.raises(AllocationError, match=rf"^{name}: (U|u|cannot a)\D*\d"):
        run()


@pytest.mark.parametrize(
    "symbol",
    [mx.sym.zeros((N, N)), mx.sym.repeat(x, repeats=N * N // 4), mx.sym.ROIPooling(x, mx.sym.var("r"), (N, N), 1)],
    ids=lambda symbol: symbol.name,
)
def test_programs_that_need_more_memory_than_there_is(symbol):
    shapes = {name: shape for name, shape in {"x": ONE.shape, "r": (1, 5)}.items() if name in symbol.list_arguments()}
    with pytest.raises(AllocationError, match=r"cannot allocate \d+ bytes"):
        symbol.simple_bind(mx.cpu(), grad_req="null", **shapes).forward()


@pytest.mark.parametrize(
    "run",
    [
        lambda: nd.tile(nd.ones((1, 1)), reps=(N * N, N * N)),
        lambda: nd.arange(0, 1, 1e-30),
        lambda: nd.arange(0, float("inf")),
        lambda: nd.arange(float("nan"), 1),
        lambda: nd.linspace(0, 1, -1),
        lambda: mx.sym.zeros((N * N, N * N)).eval(),
    ],
)
def test_sizes_that_nothing_can_have(run):
    with pytest.raises((ArgumentError, ShapeError), match=r"expected at most|more than|invalid range|negative"):
        run()
