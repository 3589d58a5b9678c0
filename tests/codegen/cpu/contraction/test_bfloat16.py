"""Layers of bfloat16 by pairs: results against NumPy's in float64, and where there are none."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.contraction.products import multiplies_bfloat16
from symc.codegen.cpu.target import Target, host_target
from symc.loopir.interpret import as_bfloat16
from symc.runtime.lowered import Lowered, lower_program
from symc.symbol.graph import to_graph

S = mx.sym
needs_the_cpu = pytest.mark.skipif(not multiplies_bfloat16(host_target()), reason="a CPU without AVX512-BF16")
HALF_BIT = 2.0**-9  # of bfloat16's 8 bits, relative


@pytest.fixture(autouse=True)
def numerics(monkeypatch):
    monkeypatch.setenv("SYMC_NUMERICS", "bfloat16")


def predicted(layer: mx.sym.Symbol, x: np.ndarray, **parameters: np.ndarray) -> tuple[np.ndarray, str]:
    """A layer's result, and how it was computed."""
    executor = layer.simple_bind(mx.cpu(), grad_req="null", x=x.shape)
    for name, value in parameters.items():
        executor.arg_dict[f"y_{name}"][:] = value
    return executor.forward(x=x)[0].asnumpy(), executor.explain()


def convolved(x: np.ndarray, w: np.ndarray, stride: int, pad: int, groups: int) -> np.ndarray:
    """A convolution in float64."""
    x = np.pad(x.astype("float64"), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n_out, kernel = len(w) // groups, w.shape[2]
    seen = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(seen, groups, axis=1), w.reshape(groups, n_out, *w.shape[1:]))
    return np.concatenate([np.einsum("ncyxij,ocij->noyx", *part) for part in parts], axis=1)


@needs_the_cpu
@pytest.mark.parametrize(("n", "k", "columns"), [(1, 34, 7), (3, 1000, 96), (33, 64, 50), (2, 20000, 5)])
def test_fully_connected(n, k, columns):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype("float32") for shape in ((n, k), (columns, k), columns))
    got, how = predicted(S.FullyConnected(S.Variable("x"), num_hidden=columns, name="y"), x, weight=w, bias=b)
    want = as_bfloat16(x).astype("float64") @ as_bfloat16(w).astype("float64").T + b
    assert "bfloat16" in how
    assert np.abs(got - want).max() < 2e-6 * np.abs(want).max()
    exact = x.astype("float64") @ w.astype("float64").T + b
    assert (np.abs(got - exact) < 2.01 * HALF_BIT * (np.abs(x) @ np.abs(w).T)).all()


@needs_the_cpu
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "groups"),
    [((6, 20), 1, 1, 1), ((32, 64), 3, 2, 1), ((8, 12), 5, 1, 2), ((10, 9), 3, 1, 1)],
)
def test_convolutions_and_what_is_fused_with_them(channels, kernel, stride, groups):
    (n_in, n_out), pad, rng = channels, kernel // 2, np.random.default_rng(1)
    x = rng.standard_normal((2, n_in, 11, 13)).astype("float32")
    w = rng.standard_normal((n_out, n_in // groups, kernel, kernel)).astype("float32")
    shared = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad), "num_group": groups}
    layer = S.Convolution(S.Variable("x"), num_filter=n_out, no_bias=True, name="y", **shared)
    got, how = predicted(S.relu(layer) + 1, x, weight=w)
    want = np.maximum(convolved(as_bfloat16(x), as_bfloat16(w), stride, pad, groups), 0) + 1
    assert "bfloat16" in how
    assert np.abs(got - want).max() < 2e-6 * np.abs(want).max()


@needs_the_cpu
@pytest.mark.parametrize(("kernel", "stride", "groups"), [(2, 2, 1), (3, 2, 2)])
def test_deconvolutions(kernel, stride, groups):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 12, 5, 6)).astype("float32")
    w = rng.standard_normal((12, 20 // groups, kernel, kernel)).astype("float32")
    shared = {"kernel": (kernel, kernel), "stride": (stride, stride), "num_group": groups}
    got, how = predicted(S.Deconvolution(S.Variable("x"), num_filter=20, name="y", **shared), x, weight=w)
    want = np.zeros(got.shape)
    parts = (np.split(a, groups, axis) for a, axis in ((as_bfloat16(x), 1), (as_bfloat16(w), 0), (want, 1)))
    for xs, ws, sums in zip(*parts):  # `sums` are views
        products = np.einsum("ncyx,coij->noyxij", xs.astype("float64"), ws)
        for i, j in np.ndindex(kernel, kernel):
            sums[:, :, i : i + stride * 4 + 1 : stride, j : j + stride * 5 + 1 : stride] += products[..., i, j]
    assert "bfloat16" in how
    assert np.abs(got - want).max() < 2e-6 * np.abs(want).max()


def test_winograds_algorithm_stays_where_it_is_faster():
    for extent, is_rounded in (14, False), (7, True):
        layer = S.Convolution(S.Variable("x"), num_filter=32, kernel=(3, 3), pad=(1, 1), name="y")
        assert ("vdpbf16ps" in texts(lowered(layer, (1, 32, extent, extent)))) is is_rounded


@needs_the_cpu
def test_a_layer_of_ones_shows_what_is_rounded():
    """To nearest even; infinities and NaN stay; denormals become zeros when they are multiplied."""
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-7, 3.4e38, np.inf, np.nan, 1e-40, 65535], "float32")
    got, _ = predicted(S.FullyConnected(S.Variable("x"), num_hidden=1, no_bias=True, name="y"), _alone(x), weight=1)
    np.testing.assert_array_equal(got[:, 0], np.array([1, 1 + 2**-6, -1 - 2**-7, np.inf, np.inf, np.nan, 0, 65536]))


def _alone(x: np.ndarray) -> np.ndarray:
    """Rows with one of the numbers each."""
    return np.stack([x, np.zeros_like(x)], axis=1)


def test_the_interpreter_rounds_alike():
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-7, 3.4e38, np.inf, np.nan, 65535], "float32")
    np.testing.assert_array_equal(as_bfloat16(x), np.array([1, 1 + 2**-6, -1 - 2**-7, np.inf, np.inf, np.nan, 65536]))


@needs_the_cpu
def test_a_float32_reader_sees_float32():
    """What one layer rounds is not rounded for another reader."""
    x = np.full((2, 4), 1 + 2**-10, "float32")
    data = S.Variable("x") * 1
    outputs = S.Group([data, S.FullyConnected(data, num_hidden=2, no_bias=True, name="y")])
    executor = outputs.simple_bind(mx.cpu(), grad_req="null", x=x.shape)
    executor.arg_dict["y_weight"][:] = 1
    same, sums = (o.asnumpy() for o in executor.forward(x=x))
    assert (same == x).all() and (sums == 4).all()


def lowered(layer: mx.sym.Symbol, shape: tuple[int, ...], features: str = "+avx512bf16", bits: int = 512) -> Lowered:
    graph = to_graph(layer, False, {"x": shape}, {"x": "float32"})
    return lower_program(graph, {}, CpuBackend(Target("x86_64-linux-gnu", "any", features, bits)))


def texts(found: Lowered) -> str:
    return "".join(code.source for code in found.codes.values())


def test_machines_without_it_multiply_float32(monkeypatch):
    layer = S.FullyConnected(S.Variable("x"), num_hidden=32, name="y")
    assert "vdpbf16ps" in texts(lowered(layer, (4, 16)))
    for machine in ("+avx512f", 512), ("+avx512bf16", 256):
        rounded = lowered(layer, (4, 16), *machine).program.to_bytes()
        monkeypatch.setenv("SYMC_NUMERICS", "default")
        assert lowered(layer, (4, 16), *machine).program.to_bytes() == rounded
        monkeypatch.setenv("SYMC_NUMERICS", "bfloat16")
