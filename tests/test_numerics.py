"""What float16 rounds to: the same whatever is fused, and as MXNet has it."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError

S = mx.sym
X = np.array([1.2036175, 70000.0, -2049.0, 0.1, 3e-8, 65519.0], "float32")


def half(values) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(values, "float32").astype("float16").astype("float32")


def run(symbol, dtype="float32", **arrays) -> list[np.ndarray]:
    """The outputs of a symbol on float32 values given in a dtype."""
    with np.errstate(over="ignore"):
        args = {n: mx.nd.array(np.asarray(a).astype(dtype), dtype=dtype) for n, a in arrays.items()}
    return [o.asnumpy() for o in symbol.bind(mx.cpu(), args).forward()]


@pytest.mark.parametrize("numerics", ["strict", "default", "fast", "bfloat16"])
@pytest.mark.parametrize("cast", ["Cast", "amp_cast"])
def test_a_cast_to_float16_rounds_inside_a_kernel(cast, numerics, monkeypatch):
    monkeypatch.setenv("SYMC_NUMERICS", numerics)
    x = S.Variable("x")
    there_and_back = S.Cast(getattr(S, cast)(x, dtype="float16"), dtype="float32")
    (y,) = run(there_and_back, x=X)
    assert y.tolist() == half(X).tolist()
    (y,) = run(there_and_back * 2, "float64", x=X)
    assert y.tolist() == (2 * (half(X) if cast == "Cast" else X)).tolist()  # mixed precision leaves float64 as it is
    (y,) = run(S.amp_multicast(S.Cast(x, dtype="float16"), x, num_outputs=2)[0], x=X)
    assert y.tolist() == half(X).tolist()


def test_a_float16_value_is_one_value_for_all_its_readers():
    x = S.Variable("x")
    h = S.Cast(x, dtype="float16")
    wide = S.Cast(h, dtype="float32")
    h_out, difference, total = run(S.Group([h, wide - x, S.sum(wide)]), x=X[2:5])
    assert h_out.dtype == np.float16 and h_out.tolist() == half(X[2:5]).tolist()
    assert difference.tolist() == (half(X[2:5]) - X[2:5]).tolist()
    assert total == half(X[2:5]).sum()


def test_every_operator_rounds_as_if_it_were_alone():
    x, y = S.Variable("x"), S.Variable("y")
    rng = np.random.default_rng(0)
    a, b = half(rng.normal(size=(3, 33))), half(rng.normal(size=(3, 33)))
    want = half(half(half(half(a * b) + a) * half(3)) - b)
    (got,) = run((x * y + x) * 3 - y, "float16", x=a, y=b)
    np.testing.assert_array_equal(got.astype("float32"), want)
    want = half(half(half(a * half(1000.0)) * half(1000.0)) / half(1000.0))  # the product is infinite
    (got,) = run(x * 1000 * 1000 / 1000, "float16", x=a)
    np.testing.assert_array_equal(got.astype("float32"), want)


def test_a_limit_of_a_sum_is_rounded_once_and_gives_the_same():
    a = half([60000, -60000, 1.0, 6e-8, 0.1, np.inf, np.nan, 3.0])
    b = half([9000, -9000, 2e-4, -3e-8, 0.3, 1, 1, 3.001])
    x, y = S.Variable("x"), S.Variable("y")
    for symbol, want in (
        (S.relu(x + y), np.maximum(half(a + b), 0)),
        (S.maximum(x - y, S.minimum(x + y, y)), np.maximum(half(a - b), np.minimum(half(a + b), b))),
    ):
        executor = symbol.bind(mx.cpu(), {n: mx.nd.array(v, dtype="float16") for n, v in (("x", a), ("y", b))})
        np.testing.assert_array_equal(executor.forward()[0].asnumpy().astype("float32"), want)
        assert " = cast " not in executor.source()


def test_gradients_in_float16_round_too():
    x = S.Variable("x")
    a = half([300.0, 0.3])
    array, gradient = mx.nd.array(a, dtype="float16"), mx.nd.zeros((2,), dtype="float16")
    executor = S.square(x).bind(mx.cpu(), {"x": array}, {"x": gradient})
    executor.forward(is_train=True)
    executor.backward(mx.nd.array([300.0, 1.0], dtype="float16"))
    assert gradient.asnumpy().tolist() == half(half(2 * a) * half([300.0, 1.0])).tolist()


def test_fast_rounds_what_is_stored_only(monkeypatch):
    monkeypatch.setenv("SYMC_NUMERICS", "fast")
    (y,) = run(S.Variable("x") * 1000 * 1000 / 1000, "float16", x=[2.0, 0.5])
    assert y.tolist() == [2000.0, 500.0]


def test_an_unknown_setting_is_an_error(monkeypatch):
    monkeypatch.setenv("SYMC_NUMERICS", "exact")
    with pytest.raises(ArgumentError, match="SYMC_NUMERICS='exact': expected one of strict, default, fast, bfloat16"):
        run(S.Variable("x") + 1, x=X)


@pytest.mark.parametrize("operator", ["LayerNorm", "InstanceNorm", "GroupNorm"])
def test_norms_of_float16_take_their_moments_in_float32(operator):
    data = half(np.linspace(-600, 600, 24).reshape(2, 3, 4))  # squares are beyond float16
    symbol = getattr(S, operator)(*(S.Variable(n) for n in ("data", "gamma", "beta")), eps=1e-5)
    n = {"LayerNorm": 4, "InstanceNorm": 3, "GroupNorm": 1}[operator]
    axes = {"LayerNorm": 2, "InstanceNorm": 2, "GroupNorm": (1, 2)}[operator]
    (got,) = run(symbol, "float16", data=data, gamma=np.ones(n), beta=np.zeros(n))
    wide = data.astype("float64")
    want = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)


def test_l2_norms_and_moments_of_float16():
    data = half(np.linspace(-300, 500, 12).reshape(3, 4))
    wide = data.astype("float64")
    (got,) = run(S.L2Normalization(S.Variable("x")), "float16", x=data)
    np.testing.assert_allclose(got, wide / np.sqrt((wide**2).sum(1, keepdims=True)), rtol=2e-3, atol=1e-3)
    mean, variance = run(S.moments(S.Variable("x") / 8, axes=(1,)), "float16", x=data)
    np.testing.assert_allclose(mean, wide.mean(1) / 8, rtol=2e-3)
    np.testing.assert_allclose(variance, wide.var(1) / 64, rtol=2e-3)


N = 5000  # ones that are added to one place: more than the 2048 up to which float16 counts
X16 = S.Variable("x")
SCATTERS = {
    "take": (S.take(X16, S.Variable("i")), {"x": np.zeros((2, 1)), "i": np.zeros(N)}),
    "take wrap": (S.take(X16, S.Variable("i"), axis=1, mode="wrap"), {"x": np.zeros((1, 2)), "i": np.full(N, 2)}),
    "Embedding": (
        S.Embedding(S.Variable("i"), X16, input_dim=2, output_dim=1, dtype="float16"),
        {"x": np.zeros((2, 1)), "i": np.zeros(N)},
    ),
    "gather_nd": (S.gather_nd(X16, S.Variable("i")), {"x": np.zeros((2, 1)), "i": np.zeros((1, N))}),
    "pad": (S.Pad(X16, mode="edge", pad_width=(0, 0, 0, 0, 0, 0, N, 0)), {"x": np.zeros((1, 1, 1, 2))}),
    "repeat": (S.repeat(X16, repeats=N), {"x": np.zeros(2)}),
    "broadcast_to": (S.broadcast_to(X16, shape=(N, 1)), {"x": np.zeros((1, 1))}),
    "BilinearSampler": (
        S.BilinearSampler(X16, S.Variable("grid")),
        {"x": np.zeros((1, 1, 2, 2)), "grid": np.full((1, 2, N, 1), -1)},
    ),
    "im2col": (S.im2col(X16, kernel=(N,), stride=1, dilate=1, pad=N - 1), {"x": np.zeros((1, 1, 1))}),
}


@pytest.mark.parametrize("name", SCATTERS)
def test_gradients_that_scatter_float16_do_not_stop_growing(name):
    symbol, values = SCATTERS[name]
    arrays = {n: mx.nd.array(v, dtype="float16") for n, v in values.items()}
    gradient = mx.nd.zeros(values["x"].shape, dtype="float16")
    executor = symbol.bind(
        mx.cpu(), arrays, {"x": gradient}, grad_req={n: "write" if n == "x" else "null" for n in arrays}
    )
    (out,) = executor.forward(is_train=True)
    executor.backward(mx.nd.ones(out.shape, dtype="float16"))
    assert half(N) == N == gradient.asnumpy().ravel()[0]


def test_a_recorded_gradient_scatters_in_float32_too():
    table = mx.nd.zeros((2, 1), dtype="float16")
    table.attach_grad()
    with mx.autograd.record():
        rows = mx.nd.take(table, mx.nd.zeros((N,)))
    rows.backward()
    assert table.grad.asnumpy().tolist() == [[N], [0]]


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_scalar_is_a_number_of_the_arrays_dtype(is_compiled):
    x = np.linspace(0.1, 3, 1000).astype("float16")
    forms = {
        "multiply": (lambda v: v * 1.1, 1.1), "add": (lambda v: v + 0.3, 0.3), "divide": (lambda v: 3.3 / v, 3.3),
        "power": (lambda v: v**1.7, 1.7), "inf": (lambda v: v * 1e6, 1e6),
    }  # fmt: skip
    for name, (form, scalar) in forms.items():
        with np.errstate(over="ignore"):
            half = np.float64(np.float16(scalar))
            wide = x.astype("float64")
            exact = {"multiply": wide * half, "add": wide + half, "divide": half / wide, "power": wide**half}
            want = exact.get(name, wide * half).astype("float16")
        if is_compiled:
            got = form(mx.sym.Variable("x")).bind(mx.cpu(), {"x": mx.nd.array(x, dtype=x.dtype)}).forward()[0]
        else:
            got = form(mx.nd.array(x, dtype=x.dtype))
        np.testing.assert_array_equal(got.asnumpy(), want, err_msg=name)
