"""Whole programs on a simulated GPU: both directions, loops, routines, random numbers, operators of mx.nd."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

import symc as mx
from symc.context import register_device, unregister_device
from symc.executor.cached_op import MOST_APART
from symc.ops.control.custom import definitions
from symc.runtime.cuda.device import device_of
from symc.testing.driver import SimDriver
from tests.codegen.cuda.packages import needs_compiler
from tests.codegen.nests import rand
from tests.conformance import golden, replay

pytestmark = needs_compiler
NETWORKS = [c for c in golden.net_cases() if c.family != "dag" or c.name < "dag04"]  # others: see every_case


@pytest.fixture
def gpu(monkeypatch) -> Iterator[SimDriver]:
    monkeypatch.setenv("SYMC_COMPILERS", "1")  # others would take longer to start than to compile
    driver = SimDriver()
    device = device_of(driver)
    register_device("gpu", lambda number: device)
    try:
        with mx.gpu():
            yield driver
    finally:
        unregister_device("gpu")


@pytest.mark.parametrize("case", NETWORKS, ids=lambda c: c.name)
def test_networks_run_both_directions_as_recorded(gpu, case):
    replay.check_net(mx, case)
    assert gpu.counts["graph"] > 0 and not gpu.counts["launch"]


def run(net: mx.sym.Symbol, ctx: mx.Context, **shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Heads of training, then gradients and states."""
    rng = np.random.default_rng(0)
    mx.random.seed(7)
    executor = net.simple_bind(ctx, **shapes)
    for array in executor.arg_arrays:
        array[:] = rng.uniform(0.1, 1, array.shape)
    executor.forward(is_train=True)
    executor.backward([mx.nd.ones(o.shape, ctx) for o in executor.outputs])
    gradients = [g for g in executor.grad_arrays if g is not None]
    return [a.asnumpy() for a in [*executor.outputs, *gradients, *executor.aux_arrays]]


def convolutions() -> mx.sym.Symbol:
    """Tiles of windows, forward and both gradients; groups and one channel at a time as nests."""
    x = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=20, kernel=(3, 3), pad=(1, 1), name="tile")
    x = mx.sym.Convolution(x, num_filter=20, kernel=(3, 3), num_group=20, stride=(2, 2), name="depthwise")
    x = mx.sym.LayerNorm(mx.sym.Flatten(mx.sym.tanh(x)), name="norm")
    return mx.sym.FullyConnected(x, num_hidden=24, name="dense")


def random() -> mx.sym.Symbol:
    x = mx.sym.Dropout(mx.sym.Variable("data"), p=0.4)
    return x + mx.sym.random.normal(shape=(40, 30)) + mx.sym.random.gamma(alpha=2.0, shape=(40, 30))


def ordered() -> mx.sym.Symbol:
    """A stable sort, running sums, gathers, scatters."""
    x = mx.sym.Variable("data")
    first = mx.sym.reshape(mx.sym.slice_axis(x, axis=1, begin=0, end=1), (-1,))
    return mx.sym.cumsum(mx.sym.sort(x, axis=0), axis=1) + mx.sym.take(x, mx.sym.argsort(first))


def loop() -> mx.sym.Symbol:
    step = lambda x, state: (x * state, mx.sym.sigmoid(x + state))  # noqa: E731
    rows, state = mx.sym.contrib.foreach(step, mx.sym.Variable("data"), mx.sym.Variable("state", shape=(30,)))
    return mx.sym.concat(rows, mx.sym.reshape(state, (1, 30)), dim=0)


def lstm() -> mx.sym.Symbol:
    """Two layers, the second one backwards as well."""
    names = ("data", "parameters", "state", "state_cell")
    return mx.sym.RNN(*map(mx.sym.Variable, names), mode="lstm", state_size=8, num_layers=2, bidirectional=True)


def attention() -> mx.sym.Symbol:
    """A layer of BERT: two heads of 8 units over (2, 20, 16), then 24 units."""
    x = mx.sym.Variable("data")
    dense = lambda x, n, name: mx.sym.FullyConnected(x, num_hidden=n, flatten=False, name=name)  # noqa: E731
    heads = [mx.sym.transpose(mx.sym.reshape(dense(x, 16, name), (0, 0, 2, 8)), (0, 2, 1, 3)) for name in "qkv"]
    query, key, value = (mx.sym.reshape(h, (-3, -2)) for h in heads)
    mixed = mx.sym.batch_dot(mx.sym.softmax(mx.sym.batch_dot(query, key, transpose_b=True) * 0.35), value)
    mixed = mx.sym.reshape(mx.sym.transpose(mx.sym.reshape(mixed, (-4, -1, 2, 0, 0)), (0, 2, 1, 3)), (0, 0, -3))
    x = mx.sym.LayerNorm(x + dense(mixed, 16, "out"), name="first")
    wide = mx.sym.LeakyReLU(dense(x, 24, "wide"), act_type="gelu")
    return mx.sym.LayerNorm(x + dense(wide, 16, "back"), name="last")


CASES = {"convolutions": (convolutions, (3, 3, 9, 8)), "random": (random, (40, 30)),
         "ordered": (ordered, (9, 30)), "loop": (loop, (4, 30)),
         "lstm": (lstm, (3, 2, 5)), "lstm of 17": (lstm, (3, 17, 12)),
         "attention": (attention, (2, 20, 16))}  # fmt: skip


@pytest.mark.parametrize("make, shape", CASES.values(), ids=CASES)
def test_numbers_are_those_of_the_cpu(gpu, make, shape):
    found, expected = (run(make(), ctx, data=shape) for ctx in (mx.gpu(), mx.cpu()))
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    if make is random:
        np.testing.assert_array_equal(found[1], expected[1])  # the mask of the dropout


def halves() -> mx.sym.Symbol:
    """Layers of float16, their sums in float32; the normalisation's parameters stay float32."""
    x = mx.sym.cast(mx.sym.Variable("data"), "float16")
    x = mx.sym.Convolution(x, num_filter=16, kernel=(3, 3), pad=(1, 1), no_bias=True, name="narrow")
    x = mx.sym.Activation(mx.sym.BatchNorm(x, fix_gamma=False, name="norm"), act_type="relu")
    x = mx.sym.Convolution(x, num_filter=24, kernel=(3, 3), num_group=1, name="conv")
    return mx.sym.cast(mx.sym.FullyConnected(x, num_hidden=20, name="dense"), "float32") * 0.05


def bytes_() -> mx.sym.Symbol:
    """Layers of 8-bit integers, unsigned and signed: 3 channels, which become 4; pooling; a network's head."""
    contrib, ends = mx.sym.contrib, dict(min_calib_range=-3.0, max_calib_range=4.0)
    x = contrib.quantize_v2(mx.sym.Variable("data"), out_type="uint8", min_calib_range=0.0, max_calib_range=1.0)
    x = contrib.quantized_conv(**_ranged(x), name="first", num_filter=20, kernel=(3, 3), pad=(1, 1), no_bias=True)
    x = contrib.quantized_act(*contrib.requantize(*x, **ends), act_type="relu")
    x = contrib.quantized_pooling(*x, kernel=(2, 2), stride=(2, 2), pool_type="max")
    x = contrib.quantized_conv(**_ranged(x), name="second", num_filter=36, kernel=(3, 3), stride=(2, 1), no_bias=True)
    x = contrib.quantized_flatten(*contrib.requantize(*x, **ends))
    x = contrib.quantized_fully_connected(**_ranged(x), name="dense", num_hidden=33, no_bias=True)
    return contrib.dequantize(*contrib.requantize(*x, **ends))


def _ranged(x: mx.sym.Symbol) -> dict[str, mx.sym.Symbol]:
    return {"data": x[0], "min_data": x[1], "max_data": x[2]}


def run_bytes(ctx: mx.Context) -> np.ndarray:
    rng = np.random.default_rng(0)
    executor = bytes_().simple_bind(ctx, grad_req="null", data=(16, 3, 9, 8))
    for name, array in executor.arg_dict.items():
        kind = name.removeprefix(name.split("_")[0])
        low, high = {"": (0, 1), "_weight": (-127, 128), "_min_weight": (-0.3, -0.2), "_max_weight": (0.2, 0.3)}[kind]
        values = rng.uniform(low, high, array.shape)
        array[:] = np.floor(values) if kind == "_weight" else values
    return executor.forward()[0].asnumpy()


def test_integers_are_multiplied_as_they_are_stored(gpu):
    """Equal to the CPU's to the bit, whichever block comes first."""
    wanted, found = run_bytes(mx.cpu()), run_bytes(mx.gpu())
    assert len(np.unique(wanted)) > 20
    np.testing.assert_array_equal(found, wanted)
    gpu.is_backwards = True
    np.testing.assert_array_equal(run_bytes(mx.gpu()), wanted)


def test_float16_is_multiplied_as_it_is_stored(gpu):
    found, expected = (run(halves(), ctx, data=(16, 3, 6, 5)) for ctx in (mx.gpu(), mx.cpu()))
    for a, b in zip(found, expected):
        scale = np.abs(b.astype(np.float64)).max()
        np.testing.assert_allclose(a.astype(np.float64), b, atol=4e-3 * scale)
    text = halves().simple_bind(mx.gpu(), grad_req="null", data=(16, 3, 6, 5)).explain()
    assert text.count("float16, sums of") == 3 and "Convolution + _scale_shift + Activation" in text


def test_a_run_gives_the_same_bits_again(gpu):
    first, second = (run(convolutions(), mx.gpu(), data=(3, 3, 9, 8)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second))


def test_blocks_that_share_a_tile_may_come_in_any_order_and_run_after_run(gpu):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=40, name="fc")
    executor = net.simple_bind(mx.gpu(), grad_req="null", data=(40, 700))
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=shape).astype("f4") for shape in ((40, 700), (40, 700), (40,)))
    for name, value in (("fc_weight", weight), ("fc_bias", bias)):
        executor.arg_dict[name][:] = value
    found = []
    for gpu.is_backwards in (False, True, False):
        found.append(executor.forward(data=mx.nd.array(x, mx.gpu()))[0].asnumpy())
    assert "each shared by" in executor.explain()
    np.testing.assert_allclose(found[0], x.astype("f8") @ weight.T + bias, rtol=1e-4, atol=1e-4)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_parameters_are_copied_when_they_were_written(gpu):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
    executor = net.simple_bind(mx.gpu(), grad_req="null", data=(1, 3))
    executor.arg_dict["data"][:] = 1
    n_copies = []
    for factor, is_written in ((1, True), (1, False), (2, True)):
        if is_written:
            executor.arg_dict["fc_weight"][:] = factor
        before = gpu.counts["copy_in"]
        (y,) = executor.forward()
        n_copies.append(gpu.counts["copy_in"] - before)
        np.testing.assert_array_equal(y.asnumpy(), np.full((1, 2), 3 * factor))
    assert n_copies[1:] == [0, 1]  # the weight alone


def test_parameters_in_the_host_s_memory_are_copied_when_they_were_written(gpu):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
    shapes = {"data": (1, 3), "fc_weight": (2, 3), "fc_bias": (2,)}
    arrays = {name: mx.nd.ones(shape, mx.cpu()) for name, shape in shapes.items()}
    executor = net.bind(mx.gpu(), arrays, grad_req="null")
    n_copies = []
    for factor, is_written in ((1, True), (1, False), (2, True)):
        if is_written:
            arrays["fc_weight"][:] = factor
        before = gpu.counts["copy_in"]
        (y,) = executor.forward()
        n_copies.append(gpu.counts["copy_in"] - before)
        np.testing.assert_array_equal(y.asnumpy(), np.full((1, 2), 3 * factor + 1))
    assert n_copies[1:] == [1, 3]  # the data alone; with weight and bias


def copies(driver: SimDriver) -> dict[str, int]:
    return {name: driver.counts[name] for name in ("copy_in", "copy_out", "copy")}


def test_results_stay_on_the_device_until_somebody_reads_them(gpu):
    net = mx.sym.exp(mx.sym.Variable("data"))
    executor = net.simple_bind(mx.gpu(), grad_req="null", data=(6, 5))
    x = mx.nd.array(np.arange(30).reshape(6, 5) / 30, ctx=mx.gpu())
    executor(data=executor(data=x)[0])  # compiles, writes its tables
    before = copies(gpu)
    first = executor(data=x)[0]
    second = executor(data=first)[0]
    after = copies(gpu)
    assert after["copy_out"] == before["copy_out"]
    assert after["copy_in"] - before["copy_in"] == 2  # the table of addresses, once a call
    half = second[2:4]
    kept = mx.nd.zeros((6, 5), mx.gpu())
    kept[:] = second
    np.testing.assert_allclose(kept.asnumpy(), np.exp(np.exp(x.asnumpy())), rtol=1e-6)
    np.testing.assert_array_equal(half.asnumpy(), second.asnumpy()[2:4])
    assert gpu.counts["copy"] == before["copy"] + 1


def test_a_block_prepares_its_weights_for_few_shapes(gpu):
    """Here each program has copies of its own."""
    weight = mx.nd.array(np.arange(6).reshape(2, 3), mx.gpu())
    product = mx.sym.FullyConnected(mx.sym.Variable("data"), mx.sym.Variable("weight"), no_bias=True, num_hidden=2)
    op = mx.nd.CachedOp(product, [("param_indices", [1])])
    for n in range(1, MOST_APART + 3):
        x = mx.nd.array(np.arange(3 * n).reshape(n, 3), mx.gpu())
        np.testing.assert_allclose(op(x, weight).asnumpy(), x.asnumpy() @ weight.asnumpy().T)
    assert sum(map(bool, (block._holding for block in op._blocks.values()))) == MOST_APART


def test_others_are_given_what_an_array_holds(gpu):
    executor = (mx.sym.Variable("data") + 1).simple_bind(mx.gpu(), grad_req="null", data=(4, 3))
    (y,) = executor.forward(data=mx.nd.ones((4, 3), mx.gpu()))
    for expected in (2, 3):
        others = np.from_dlpack(y, device="cpu"), np.asarray(y), mx.nd.from_dlpack(y.to_dlpack_for_read()).asnumpy()
        parts = y[:, 1:].asnumpy(), y[[1, 2]].asnumpy()
        for array in (*others, *parts, pickle.loads(pickle.dumps(y)).asnumpy()):
            np.testing.assert_array_equal(array, np.full(array.shape, expected))
        executor.forward(data=y)


def test_a_part_written_by_the_host_is_seen_by_the_next_run_and_by_all_views(gpu):
    executor = (mx.sym.Variable("data") + 1).simple_bind(mx.gpu(), grad_req="null", data=(4, 3))
    (y,) = executor.forward(data=mx.nd.ones((4, 3), mx.gpu()))
    view = y[1:3].reshape((3, 2))
    view[1] = 7
    np.testing.assert_array_equal(y.asnumpy().reshape(-1)[3:9], [2, 2, 7, 7, 2, 2])
    executor.forward(data=y)
    np.testing.assert_array_equal(view.asnumpy(), [[3, 3], [8, 8], [3, 3]])
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(y)[...] = 0


def test_programs_read_and_write_memory_that_others_share(gpu):
    executor = (mx.sym.Variable("data") * 2).simple_bind(mx.gpu(), grad_req="null", data=(4, 3))
    (y,) = executor.forward(data=mx.nd.ones((4, 3), mx.gpu()))
    shared = mx.nd.from_dlpack(y)
    for expected in (4, 8):
        before = copies(gpu)
        executor.forward(data=shared)  # writes y, which is the same memory
        assert gpu.counts["copy_out"] == before["copy_out"]
        np.testing.assert_array_equal(shared.asnumpy(), np.full((4, 3), expected))
    shared[1] = 1
    executor.forward(data=shared)
    np.testing.assert_array_equal(y.asnumpy(), [[16] * 3, [2] * 3, [16] * 3, [16] * 3])


@pytest.mark.parametrize("first", [1, 4])
def test_views_at_any_place_are_read_and_written(gpu, first):
    memory, weight = mx.nd.array(rand((4 + 64 * 72,)), mx.gpu()), mx.nd.array(rand((72, 72)), mx.gpu())
    x = memory[first : first + 64 * 72].reshape((64, 72))
    x0, w0, before = x.asnumpy().astype("float64"), weight.asnumpy().astype("float64"), memory.asnumpy()
    layer = mx.sym.FullyConnected(mx.sym.Variable("x"), mx.sym.Variable("w"), num_hidden=72, no_bias=True)
    executor = layer.bind(
        mx.gpu(), {"x": x, "w": weight}, {"x": x}, grad_req="add"
    )  # its gradient where it lies itself
    (y,) = executor.forward(is_train=True)
    np.testing.assert_allclose(y.asnumpy(), x0 @ w0.T, 1e-5, 1e-5)
    executor.backward(mx.nd.ones((64, 72), mx.gpu()))
    np.testing.assert_allclose(x.asnumpy(), x0 + w0.sum(0), 1e-5, 1e-5)
    outside = np.delete(memory.asnumpy(), np.s_[first : first + 64 * 72])
    np.testing.assert_array_equal(outside, np.delete(before, np.s_[first : first + 64 * 72]))


def test_gradients_of_python_functions_and_new_arrays_for_gradients(gpu):
    class Twice(mx.autograd.Function):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return dy * 2

    x = mx.nd.array([1.0, 2.0], ctx=mx.gpu())
    x.attach_grad()
    with mx.autograd.record():
        y = Twice()(x)
        z = y * 3
    z.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [6, 6])
    with mx.autograd.record():
        y = x * x
    (found,) = mx.autograd.grad(y, x, head_grads=mx.nd.array([1.0, 10.0], ctx=mx.gpu()))
    np.testing.assert_array_equal(found.asnumpy(), [2, 40])


def test_what_lies_on_another_device_is_brought_or_refused(gpu):
    x = mx.nd.array([[1.0, 2.0]], ctx=mx.gpu())
    doubled = (mx.sym.Variable("data") * 2).simple_bind(mx.gpu(), data=(1, 2))(data=x)[0]
    on_host = (mx.sym.Variable("data") + 1).simple_bind(mx.cpu(), data=(1, 2))
    np.testing.assert_array_equal(on_host(data=doubled)[0].asnumpy(), [[3, 5]])
    with pytest.raises(mx.MXNetError, match=r"data: the array lies on gpu\(0\), the executor runs on cpu\(0\)"):
        (mx.sym.Variable("data") + 1).bind(mx.cpu(), {"data": doubled}).forward()


def test_arrays_and_operators_of_a_gpu(gpu):
    x = mx.nd.array(np.linspace(0, 1, 300 * 300).reshape(300, 300), ctx=mx.gpu())
    x.attach_grad()
    with mx.autograd.record():
        y = mx.nd.exp(x) * 2
    y.backward()
    assert y.context == x.grad.context == mx.gpu() and gpu.counts["graph"] > 0
    np.testing.assert_allclose(x.grad.asnumpy(), 2 * np.exp(x.asnumpy()), rtol=1e-5)
    assert x.as_in_context(mx.cpu()).context == mx.cpu() and x.copyto(mx.cpu()).asnumpy().shape == (300, 300)


def scaled(operator: mx.operator.CustomOp, **members) -> str:
    """The name under which an operator of (data, scale) is registered."""
    members |= {"list_arguments": lambda self: ["data", "scale"], "create_operator": lambda *_: operator}
    name = f"of_gpus_{len(definitions)}"
    mx.operator.register(name)(type("Prop", (mx.operator.CustomOpProp,), members))
    return name


class Scaled(mx.operator.CustomOp):
    """data * scale: forward by operators of the GPU, backward by NumPy."""

    def forward(self, is_train, req, in_data, out_data, aux):
        assert {x.context for x in (*in_data, *out_data, *aux, mx.nd.zeros(1))} == {mx.gpu()}
        self.assign(out_data[0], req[0], in_data[0] * in_data[1])
        if is_train:
            for array in aux:
                array += 1

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        dy, x, scale = (a.asnumpy() for a in (out_grad[0], *in_data))
        self.assign(in_grad[0], req[0], dy * scale)
        in_grad[1][:] = dy * x


@pytest.mark.parametrize("size", [6, 300])
def test_python_runs_between_kernels(gpu, size):
    """Of 6 x 6 NumPy computes `in_data[0] * in_data[1]`, of 300 x 300 a kernel does, inside of the program's run."""
    name = scaled(
        Scaled(),
        list_auxiliary_states=lambda self: ["count"],
        infer_shape=lambda self, shapes: ([shapes[0]] * 2, [shapes[0]], [[1]]),
    )
    data, scale = mx.sym.Variable("data"), mx.sym.Variable("scale")
    net = mx.sym.exp(mx.sym.Custom(mx.sym.sin(data), scale, op_type=name, name="scaled"))
    executor = net.simple_bind(mx.gpu(), data=(size, size))
    x, s, dy = (rand((size, size)) for _ in range(3))
    for n_runs in (1, 2):
        executor.forward(is_train=True, data=x, scale=s)
        executor.backward(mx.nd.array(dy, ctx=mx.gpu()))
        y = np.exp(np.sin(np.float64(x)) * s)
        np.testing.assert_allclose(executor.outputs[0].asnumpy(), y, rtol=1e-5)
        np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), dy * y * s * np.cos(x), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(executor.grad_dict["scale"].asnumpy(), dy * y * np.sin(x), rtol=1e-4, atol=1e-5)
        assert executor.aux_dict["scaled_count"].asscalar() == n_runs
    assert len(executor.profile(n_runs=1).rows) >= 3


@pytest.mark.filterwarnings("ignore:Cannot decide type")
def test_python_runs_in_loops_at_once_and_in_blocks(gpu):
    name = scaled(Scaled())
    x, s = (mx.nd.array(rand((3, 4))) for _ in range(2))
    data, scale, first = map(mx.sym.Variable, ("data", "scale", "first"))
    outs, last = mx.sym.contrib.foreach(
        lambda row, state: (row + state, mx.sym.Custom(row + state, scale, op_type=name)), data, first
    )
    rounds = mx.sym.Group([outs, last]).bind(mx.gpu(), {"data": x, "scale": s[0], "first": mx.nd.zeros(4)})
    state, expected = np.zeros(4), []
    for row in x.asnumpy():
        expected.append(row + state)
        state = expected[-1] * s[0].asnumpy()
    np.testing.assert_allclose(rounds.forward()[0].asnumpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(rounds.outputs[1].asnumpy(), state, rtol=1e-6)
    block = mx.gluon.SymbolBlock(mx.sym.Custom(mx.sym.sin(data), scale, op_type=name), [data, scale])
    block.hybridize()
    for call in (block, lambda a, b: mx.nd.Custom(mx.nd.sin(a), b, op_type=name)):
        x.attach_grad()
        with mx.autograd.record():
            y = call(x, s)
        y.backward()
        np.testing.assert_allclose(y.asnumpy(), np.sin(x.asnumpy()) * s.asnumpy(), rtol=1e-6)
        np.testing.assert_allclose(x.grad.asnumpy(), np.cos(x.asnumpy()) * s.asnumpy(), rtol=1e-5)


def test_operators_that_take_numpy(gpu):
    class Twice(mx.operator.NumpyOp):
        def forward(self, in_data, out_data):
            out_data[0][:] = 2 * in_data[0]

        def backward(self, out_grad, in_data, out_data, in_grad):
            in_grad[0][:] = 2 * out_grad[0]

    with pytest.warns(UserWarning, match="deprecated"):
        net = Twice()(mx.sym.sin(mx.sym.Variable("data")))
    executor = net.simple_bind(mx.gpu(), data=(2, 3))
    x = rand((2, 3))
    executor.forward(is_train=True, data=x)
    executor.backward(mx.nd.ones((2, 3)))
    np.testing.assert_allclose(executor.outputs[0].asnumpy(), 2 * np.sin(x), rtol=1e-6)
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), 2 * np.cos(x), rtol=1e-5)


@pytest.mark.parametrize("is_hybrid", [False, True])
def test_what_training_computes_stays_on_the_gpu(gpu, monkeypatch, is_hybrid):
    """Neither weights nor gradients pass through the host, and no array of an earlier step is looked at."""
    n_units = 300 + is_hybrid  # what is prepared for a shape is kept, for the GPU of the test before
    net, loss = mx.gluon.nn.Dense(n_units, in_units=400), mx.gluon.loss.L2Loss()
    net.initialize(mx.init.Xavier())
    if is_hybrid:
        net.hybridize()
        loss.hybridize()
    net.weight.data().attach_grad("add")
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    x, y = mx.nd.array(rand((30, 400))), mx.nd.array(rand((30, n_units)))
    copied: list[int] = []
    copy_in, copy_out = gpu.copy_in, gpu.copy_out
    monkeypatch.setattr(gpu, "copy_in", lambda to, data: (copied.append(data.nbytes), copy_in(to, data)))
    monkeypatch.setattr(gpu, "copy_out", lambda data, at: (copied.append(data.nbytes), copy_out(data, at)))
    for _ in range(3):
        copied.clear()
        with mx.autograd.record():
            error = loss(net(x), y)
        error.backward()
        trainer.step(30)
    assert max(copied) <= 30 * n_units * 4


def test_explain_tells_of_registers_and_memory_is_given_back(gpu):
    executor = convolutions().simple_bind(mx.gpu(), data=(3, 3, 9, 8))
    executor.forward()
    text = executor.explain()
    free, total = mx.context.gpu_memory_info(0)
    assert total == gpu.total_bytes > free
    del executor
    gc.collect()
    assert mx.context.gpu_memory_info(0)[0] > free
    assert "tiles of 32x32x16" in text and " registers, 15360 B shared" in text and " x 256 threads" in text


def test_a_module_trains_on_a_gpu_as_on_the_cpu(gpu):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(32, 20)).astype(np.float32)
    hidden = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16), act_type="relu")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(hidden, num_hidden=3), name="softmax")
    weights = []
    for ctx in (mx.gpu(), mx.cpu()):
        mx.random.seed(1)
        module = mx.mod.Module(net, context=ctx)
        batches = mx.io.NDArrayIter(data, data[:, :3].argmax(axis=1).astype(np.float32), 16)
        module.fit(batches, num_epoch=2, optimizer="adam", initializer=mx.init.Xavier())
        weights.append([a.asnumpy() for a in module.get_params()[0].values()])
    for a, b in zip(*weights):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_train", [False, True])
def test_kernels_of_a_deep_network_spill_nothing(gpu, is_train):
    executor = mx.models.get("resnet-18").symbol.simple_bind(mx.gpu(), data=(1, 3, 32, 32))
    text = executor.explain(is_train)
    assert "tiles of " in text and "registers" in text and "spilled" not in text
