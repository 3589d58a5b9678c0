"""mx.operator: operators written in Python, in programs, at once and on the tape: values from NumPy, MXNet's calls."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.errors import GradientError
from symc.ops.control.custom import definitions

from .custom_operators import arrays_of, network, registered, square, square_back, squared

nd, sym = mx.nd, mx.sym


def test_between_kernels_of_a_program():
    _, executor = network(registered(square, square_back))
    executor.forward(is_train=True)
    executor.backward(nd.ones((2, 3)))
    value, gradient = squared(arrays_of(executor))
    np.testing.assert_allclose(executor.outputs[0].asnumpy(), value, rtol=1e-4)
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), gradient, rtol=1e-4)
    assert "the run comes back to Python for it" in executor.explain(True)
    assert "custom" in str(executor.profile(True, n_runs=2))


def test_calls_from_several_threads_do_not_meet():
    made = []

    class Slow(mx.operator.CustomOp):
        def __init__(self):
            self.is_busy = False
            made.append(self)

        def forward(self, is_train, req, in_data, out_data, aux):
            assert not self.is_busy
            self.is_busy = True
            out_data[0][:] = in_data[0].asnumpy() ** 2  # lets other threads in
            self.is_busy = False

    name = registered(square, create_operator=lambda *_: Slow())
    _, executor = network(name)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(2, 5)).astype(np.float32) for _ in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda x: executor(data=x)[0].asnumpy(), given))
    a = arrays_of(executor)
    for x, y in zip(given, results):
        np.testing.assert_allclose(y, squared(a, x)[0], rtol=1e-3, atol=1e-4)
    assert 1 <= len(made) <= 5


@pytest.mark.parametrize(
    ("grad_req", "expected"),
    [
        ({"data": "write", "c_w": "write"}, ["write", "write"]),
        ({"data": "write"}, ["write", "null"]),
        ({"c_w": "add"}, ["null", "write"]),  # symc adds
    ],
)
def test_what_calls_are_told(grad_req, expected):
    """Order, modes, requests and dependencies as MXNet's (but for "add"); "a" is the head, nobody reads "b"."""
    log = []

    def forward(self, is_train, req, in_data, out_data, aux):
        modes = (autograd.is_recording(), autograd.is_training())
        log.append(("forward", is_train, req, modes, [x.shape for x in (*in_data, *out_data, *aux)]))
        out_data[0][:] = in_data[0] + in_data[1]
        aux[0][:] += 1
        self.seen = in_data[0].asnumpy()

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        log.append(("backward", req, [x.shape for x in (*out_grad, *in_data, *out_data, *in_grad)]))
        np.testing.assert_array_equal(self.seen, np.ones((2, 3)))  # the operator of forward
        for k in range(2):
            self.assign(in_grad[k], req[k], in_data[1] * out_grad[0] * (k + 1))

    made = []
    name = registered(
        forward,
        backward,
        __init__=lambda self, **kw: made.append(kw),
        list_arguments=["data", "w"],
        list_outputs=["a", "b"],
        list_auxiliary_states=["count"],
        infer_shape=lambda self, s: ([s[0], s[0]], [s[0], s[0]], [(1,)]),
        infer_type=lambda self, t: ([t[0], t[0]], [t[0], t[0]], [np.float32]),
        declare_backward_dependency=lambda self, dy, x, y: [*dy, x[1]],
    )
    symbol = sym.Custom(sym.Variable("data"), op_type=name, name="c", pad=(1, 2), lr_mult=2)
    assert made == [{"pad": "(1, 2)", "__lr_mult__": "2"}]
    assert symbol.list_arguments() == ["data", "c_w"]
    assert (symbol.list_outputs(), symbol.list_auxiliary_states()) == (["c_a", "c_b"], ["c_count"])
    executor = symbol[0].simple_bind(mx.cpu(), grad_req=grad_req, data=(2, 3))
    executor.arg_dict["data"][:], executor.arg_dict["c_w"][:] = 1, 5
    for array in (a for a in executor.grad_dict.values() if a is not None):
        array[:] = 100
    executor.forward(is_train=True)
    executor.backward(nd.ones((2, 3)) * 3)
    executor.forward()
    shape, none = (2, 3), (0,)
    assert log == [
        ("forward", 1, ["write", "null"], (False, True), [shape, shape, shape, shape, (1,)]),
        ("backward", expected, [shape, shape, none, shape, none, none, shape, shape]),
        ("forward", 0, ["write", "null"], (False, False), [shape, shape, shape, shape, (1,)]),
    ]
    assert executor.aux_dict["c_count"].asnumpy() == 2
    np.testing.assert_array_equal(executor.outputs[0].asnumpy(), np.full((2, 3), 6))
    start = {"write": 0, "add": 100}
    for k, argument in enumerate(("data", "c_w")):
        if argument in grad_req:
            gradient = executor.grad_dict[argument].asnumpy()
            np.testing.assert_array_equal(gradient, np.full((2, 3), start[grad_req[argument]] + 15 * (k + 1)))


def test_a_state_that_other_kernels_read():
    """What the operator writes to a state is there for whatever is prepared from states."""

    def forward(self, is_train, req, in_data, out_data, aux):
        aux[0][:] = in_data[0].sum()
        out_data[0][:] = in_data[0]

    name = registered(forward, list_auxiliary_states=["total"], infer_shape=lambda self, s: (s, [s[0]], [(1,)]))
    total = sym.Variable("total")
    net = sym.Custom(sym.Variable("data"), total, op_type=name) * 1
    net = sym.Group([net, sym.broadcast_mul(sym.Variable("y"), total)])
    executor = net.simple_bind(mx.cpu(), data=(3,), y=(2,))
    executor.arg_dict["y"][:] = [1, 2]
    for value in (1, 2):
        executor.forward(data=np.full(3, value))
        executor.forward()
        np.testing.assert_array_equal(executor.outputs[1].asnumpy(), [3 * value, 6 * value])


def test_a_loss_needs_no_head_gradient():
    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        assert [g.shape for g in out_grad] == [(0,)]
        in_grad[0][:] = out_data[0] - in_data[1]

    name = registered(
        square,
        backward,
        __init__=lambda self: mx.operator.CustomOpProp.__init__(self, need_top_grad=False),
        list_arguments=["data", "label"],
        infer_shape=lambda self, s: ([s[0], s[0]], [s[0]], []),
    )
    executor = sym.Custom(sym.Variable("data"), op_type=name, name="loss").simple_bind(mx.cpu(), data=(2, 2))
    executor.forward(is_train=True, data=np.full((2, 2), 3), loss_label=np.ones((2, 2)))
    executor.backward()
    np.testing.assert_array_equal(executor.grad_dict["data"].asnumpy(), np.full((2, 2), 8))
    x, label = nd.full((2, 2), 3), nd.ones((2, 2))
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, label, op_type=name)
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), np.full((2, 2), 8))


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "bool"])
def test_dtypes(dtype):
    def forward(self, is_train, req, in_data, out_data, aux):
        assert in_data[0].dtype == np.dtype(dtype)
        out_data[0][:] = in_data[0].astype("float32") + 1

    name = registered(forward, infer_type=lambda self, t: (t, [np.float32], []))
    x = np.array([[0, 1, 1]], dtype)
    np.testing.assert_array_equal(nd.Custom(nd.array(x, dtype=dtype), op_type=name).asnumpy(), x + np.float32(1))
    executor = sym.Custom(sym.Variable("x"), op_type=name).simple_bind(mx.cpu(), x=(1, 3), type_dict={"x": dtype})
    (y,) = executor(x=x)
    np.testing.assert_array_equal(y.asnumpy(), x + np.float32(1))


def test_no_arguments():
    def forward(self, is_train, req, in_data, out_data, aux):
        out_data[0][:] = np.arange(6).reshape(2, 3)

    name = registered(
        forward, list_arguments=[], infer_shape=lambda self, s: ([], [(2, 3)]), infer_type=lambda self, t: ([], [float])
    )
    assert nd.Custom(op_type=name).dtype == np.float64
    executor = (sym.Custom(op_type=name) + 1).bind(mx.cpu(), {})
    np.testing.assert_array_equal(executor.forward()[0].asnumpy(), np.arange(6).reshape(2, 3) + 1)


def test_at_once_and_on_the_tape():
    name = registered(square, square_back)
    x = nd.array([[1, 2], [3, 4]])
    x.attach_grad()
    for _ in range(2):
        with autograd.record():
            y = nd.Custom(x * 1, op_type=name)
            z = (y * nd.array([[1, 10], [100, 1000]])).sum()
        z.backward(retain_graph=True)
        z.backward()
        np.testing.assert_array_equal(x.grad.asnumpy(), [[2, 40], [600, 8000]])
    out = nd.zeros((2, 2))
    assert nd.Custom(data=x, op_type=name, out=out) is not None
    np.testing.assert_array_equal(out.asnumpy(), [[1, 4], [9, 16]])


def test_gradients_of_one_at_once_are_not_recorded():
    x = nd.array([3])
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type=registered(square, square_back))
    with pytest.raises(GradientError, match="cannot be recorded"):
        autograd.grad(y, [x], create_graph=True)


def test_inside_a_cached_op():
    """Two calls in flight have two operators; a program that was recorded finds the one of its forward."""

    def forward(self, is_train, req, in_data, out_data, aux):
        self.scale = float(in_data[0].asnumpy()[0, 0])
        out_data[0][:] = in_data[0] * self.scale

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        in_grad[0][:] = out_grad[0] * self.scale

    name = registered(forward, backward)
    data = sym.Variable("data")
    op = nd.CachedOp(sym.exp(sym.Custom(sym.log(data), op_type=name)))
    arrays = [nd.array(np.exp([[k, 2.0]])) for k in (1, 3)]
    for x in arrays:
        x.attach_grad()
    with autograd.record():
        results = [op(x) for x in arrays]
    for x, y, k in zip(arrays, results, (1, 3)):
        np.testing.assert_allclose(y.asnumpy(), np.exp([[k * k, 2 * k]]), rtol=1e-5)
        y.backward(retain_graph=True)
        y.backward()
        np.testing.assert_allclose(x.grad.asnumpy(), k * y.asnumpy() / x.asnumpy(), rtol=1e-5)
    np.testing.assert_allclose(op(arrays[1]).asnumpy(), results[1].asnumpy(), rtol=1e-6)


def test_arrays_that_are_kept_stay_readable():
    """An operator may keep what it was lent: the memory lives as long as that."""
    kept = []

    def forward(self, is_train, req, in_data, out_data, aux):
        kept.extend([in_data[0], in_data[0][0], out_data[0]])
        out_data[0][:] = in_data[0]

    name = registered(forward)
    op = nd.CachedOp(sym.Custom(sym.Variable("data") * 2, op_type=name))
    x = nd.ones((1 << 10, 1 << 8))
    op(x)
    executor = sym.Custom(sym.Variable("data"), op_type=name).simple_bind(mx.cpu(), data=x.shape)
    executor(data=x.asnumpy())
    watch = weakref.ref(op)
    del op, executor, x
    gc.collect()
    assert watch() is None
    churn = [nd.zeros((1 << 10, 1 << 8)) for _ in range(8)]
    assert {a.asnumpy().shape for a in kept} == {(1 << 10, 1 << 8), (1 << 8,)}
    assert kept[0].asnumpy().max() == 2 and len(churn) == 8


def test_operators_inside_an_operator():
    """The user's code may run programs and record gradients of its own."""

    def forward(self, is_train, req, in_data, out_data, aux):
        (out_data[0][:],) = inner(data=in_data[0])

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        x = in_data[0].copy()
        x.attach_grad()
        with autograd.record():
            y = nd.tanh(x)
        y.backward(out_grad[0])
        in_grad[0][:] = x.grad

    inner = sym.tanh(sym.Variable("data")).simple_bind(mx.cpu(), data=(64, 64))
    net = sym.Custom(sym.Variable("x") * 2, op_type=registered(forward, backward))
    executor = net.simple_bind(mx.cpu(), x=(64, 64))
    x = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    executor.forward(is_train=True, x=x)
    executor.backward(nd.ones((64, 64)))
    np.testing.assert_allclose(executor.outputs[0].asnumpy(), np.tanh(2 * x), rtol=1e-5)
    np.testing.assert_allclose(executor.grad_dict["x"].asnumpy(), 2 / np.cosh(2.0 * x) ** 2, rtol=1e-3, atol=1e-6)


def test_the_last_one_registered_counts():
    name = registered(square)
    x = nd.array([3])
    assert nd.Custom(x, op_type=name).asscalar() == 9
    kept = sym.Custom(sym.Variable("x"), op_type=name)
    definitions[name] = definitions[registered(lambda self, a, b, x, y, s: y[0].__setitem__(slice(None), x[0] + 1))]
    assert nd.Custom(x, op_type=name).asscalar() == 4
    assert kept.bind(mx.cpu(), {"x": x}).forward()[0].asscalar() == 9
    assert sym.Custom(sym.Variable("x"), op_type=name).bind(mx.cpu(), {"x": x}).forward()[0].asscalar() == 4


def test_equal_nodes_run_each():
    calls = []

    def forward(self, is_train, req, in_data, out_data, aux):
        calls.append(self)
        out_data[0][:] = in_data[0] + len(calls)

    name = registered(forward)
    x = sym.Variable("x")
    net = sym.Custom(x, op_type=name, name="c") + 10 * sym.Custom(x, op_type=name, name="c")
    executor = net.simple_bind(mx.cpu(), x=(1,))
    assert executor.forward()[0].asscalar() == 21
    assert len(set(map(id, calls))) == 2


def test_operators_that_are_there():
    assert {"Custom", "FullyConnected", "_plus_scalar"} <= set(mx.operator.get_all_registered_operators())
    taken = mx.operator.get_operator_arguments("Activation")
    assert taken.narg == 2 and taken.names == ["data", "act_type"] and taken.types[0] == "NDArray-or-Symbol"
    assert taken.types[1] == "{'relu', 'sigmoid', 'softrelu', 'softsign', 'tanh'}, required"
    assert mx.operator.get_operator_arguments("Concat").types[0] == "NDArray-or-Symbol[]"
    with pytest.raises(mx.base.MXNetError, match="nowhere is not registered"):
        mx.operator.get_operator_arguments("nowhere")


def test_a_monitor_sees_what_mxnet_has():
    """The operator's number is nobody's business."""
    _, executor = network(registered(square, square_back))
    seen = []
    executor.set_monitor_callback(lambda name, array: seen.append(name))
    executor.forward(is_train=True)
    executor.backward(nd.ones((2, 3)))
    assert seen[:3] == ["fc1_output", "custom_output", "fc2_output"] and "custom_backward_output" in seen


def test_arrays_without_elements():
    name = registered(square, square_back)
    x = nd.zeros((0, 3))
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type=name)
    y.backward()
    assert y.shape == x.grad.shape == (0, 3)
    with mx.util.np_shape(True):
        assert sym.Custom(sym.Variable("x"), op_type=name).bind(mx.cpu(), {"x": x}).forward()[0].shape == (0, 3)


def test_in_a_channels_last_stretch():
    """What lies in another order in memory comes and goes row by row."""
    data = sym.Variable("data")
    name = registered(square)

    def layers(middle):
        net = middle(sym.Convolution(data, kernel=(3, 3), num_filter=4, pad=(1, 1), name="c1"))
        return sym.Convolution(net, kernel=(1, 1), num_filter=2, name="c2")

    executor = layers(lambda x: sym.Custom(x, op_type=name)).simple_bind(mx.cpu(), data=(1, 3, 5, 5))
    rng = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(size=array.shape)
    expected = layers(sym.square).bind(mx.cpu(), executor.arg_dict).forward()[0].asnumpy()
    np.testing.assert_allclose(executor.forward()[0].asnumpy(), expected, rtol=1e-4, atol=1e-4)


def test_in_a_hybridized_block(tmp_path):
    """Hybridized, recorded, exported and imported again it gives the same."""
    name = registered(square, square_back)

    class Net(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__(prefix="net_")
            with self.name_scope():
                self.dense = mx.gluon.nn.Dense(4, in_units=5)

        def hybrid_forward(self, F, x):
            return F.Custom(self.dense(x), op_type=name)

    net = Net()
    net.initialize(mx.init.Uniform(1))
    x = nd.array(np.random.default_rng(0).normal(size=(3, 5)))
    weight = net.dense.weight.data().asnumpy()
    expected = (x.asnumpy() @ weight.T) ** 2
    for is_hybrid in (False, True):
        net.hybridize(is_hybrid)
        x.attach_grad()
        with autograd.record():
            y = net(x)
        y.backward()
        np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(x.grad.asnumpy(), 2 * (x.asnumpy() @ weight.T) @ weight, rtol=1e-4, atol=1e-5)
    net.export(str(tmp_path / "net"))
    with pytest.warns(UserWarning, match="Cannot decide type"):
        again = mx.gluon.SymbolBlock.imports(
            str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
        )
    np.testing.assert_allclose(again(x).asnumpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["NumpyOp", "NDArrayOp"])
def test_operators_from_before_custom_op(kind):
    class Scaled(getattr(mx.operator, kind)):
        """data * scale."""

        def list_arguments(self):
            return ["data", "scale"]

        def infer_shape(self, in_shape):
            return [in_shape[0], [1]], [in_shape[0]]

        def forward(self, in_data, out_data):
            assert isinstance(in_data[0], np.ndarray if kind == "NumpyOp" else nd.NDArray)
            out_data[0][:] = in_data[0] * in_data[1]

        def backward(self, out_grad, in_data, out_data, in_grad):
            in_grad[0][:] = out_grad[0] * in_data[1]
            in_grad[1][:] = (out_grad[0] * in_data[0]).sum()

    with pytest.warns(UserWarning, match="has been deprecated"):
        scaled = Scaled()
    net = scaled(sym.Variable("x") + 1)
    hint = "_native" if kind == "NumpyOp" else "_ndarray"
    assert net.name.startswith(hint) and net.list_arguments() == ["x", f"{net.name}_scale"]
    executor = net.simple_bind(mx.cpu(), x=(2, 2))
    executor.arg_dict[f"{net.name}_scale"][:] = 3
    executor.forward(is_train=True, x=np.arange(4).reshape(2, 2))
    executor.backward(nd.ones((2, 2)))
    np.testing.assert_array_equal(executor.outputs[0].asnumpy(), [[3, 6], [9, 12]])
    np.testing.assert_array_equal(executor.grad_dict["x"].asnumpy(), np.full((2, 2), 3))
    np.testing.assert_array_equal(executor.grad_dict[f"{net.name}_scale"].asnumpy(), [10])


@pytest.mark.parametrize("is_train", [False, True])
def test_in_the_body_of_a_loop(is_train):
    """Every round has an operator of its own, whose backward finds what its forward kept."""
    made = []

    class Scaled(mx.operator.CustomOp):
        def __init__(self):
            made.append(self)

        def forward(self, is_train, req, in_data, out_data, aux):
            self.scale = float(in_data[0].asnumpy()[0])
            out_data[0][:] = in_data[0] * self.scale

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            in_grad[0][:] = out_grad[0] * self.scale

    name = registered(square, create_operator=lambda *_: Scaled())

    def body(x, states):
        y = sym.Custom(sym.sin(x), op_type=name) + states[0]
        return y, [y]

    out, _ = sym.contrib.foreach(body, sym.Variable("x"), [sym.Variable("start")])
    executor = out.simple_bind(mx.cpu(), x=(4, 3), start=(3,))
    x = np.random.default_rng(0).normal(size=(4, 3))
    scale = np.sin(x)[:, :1]
    for _ in range(2):
        executor.forward(is_train=is_train, x=x, start=np.ones(3))
        np.testing.assert_allclose(executor.outputs[0].asnumpy(), 1 + np.cumsum(np.sin(x) * scale, axis=0), rtol=1e-5)
    if is_train:
        executor.backward(nd.ones((4, 3)))
        n_later = np.arange(4, 0, -1)[:, None]
        np.testing.assert_allclose(executor.grad_dict["x"].asnumpy(), np.cos(x) * scale * n_later, rtol=1e-4, atol=1e-6)
    assert len(made) == 4
