"""mx.test_utils, and the small modules scripts import beside it: util, engine, runtime, base."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import symc as mx
from symc import test_utils as tu
from symc.core.errors import ArgumentError

nd = mx.nd


def test_almost_equal_by_dtype():
    a = np.ones((2, 3), "float32")
    tu.assert_almost_equal(a, a + 1e-4)
    tu.assert_almost_equal(nd.array(a), a * 1.00005, rtol=1e-4, atol=0)
    tu.assert_almost_equal(1.0, np.float64(1.0))
    assert tu.same(a, a) and not tu.same(a, a[:1]) and tu.almost_equal(a, a + 1e-9) and not tu.almost_equal(a, a + 1e-3)
    assert tu.get_tols(a.astype("float16"), a, None, None) == (1e-2, 1e-1)
    assert tu.get_tolerance(a, {np.dtype("float32"): 3}, {}) == 3 and tu.get_rtol() == 1e-5 and tu.get_atol(2) == 2


def test_a_difference_is_shown():
    a, b = np.zeros((3, 4), "float32"), np.zeros((3, 4), "float32")
    b[1, 2], b[2, 0] = 5, 0.5
    with pytest.raises(AssertionError, match=r"(?s)differ in 2 of 12.*\(1, 2\): left=0, b=5.*\(2, 0\)"):
        tu.assert_almost_equal(a, b, names=("left", "b"))
    b[:] = np.nan
    with pytest.raises(AssertionError, match="12 of 12"):
        tu.assert_almost_equal(a, b)
    tu.assert_almost_equal(b, b, equal_nan=True)
    tu.assert_almost_equal_ignore_nan(a, b)
    with pytest.raises(AssertionError, match="not equal"):
        tu.assert_almost_equal(a, a[:1], use_broadcast=False)
    with pytest.raises(AssertionError):
        tu.assert_almost_equal(np.array([True]), np.array([False]))


def test_share_of_wrong_elements():
    a, b = np.zeros(10, "float32"), np.zeros(10, "float32")
    b[0] = 1
    tu.assert_almost_equal_with_err(a, b, etol=0.2)
    with pytest.raises(AssertionError):
        tu.assert_almost_equal_with_err(a, b, etol=0.05)
    with pytest.raises(AssertionError):
        tu.assert_allclose(a, b)


def test_exceptions_and_retries():
    tu.assert_exception(int, ValueError, "a")
    with pytest.raises(AssertionError, match="did not raise"):
        tu.assert_exception(int, ValueError, "1")
    calls = []

    @tu.retry(3)
    def third_time() -> None:
        calls.append(1)
        assert len(calls) >= 3

    third_time()
    with pytest.raises(AssertionError):
        tu.retry(2)(lambda: tu.assert_exception(int, ValueError, "1"))()


def test_random_arrays_and_shapes():
    np.random.seed(0)  # noqa: NPY002  (test_utils draws from NumPy's global generator, as MXNet's do)
    one, (two, three) = tu.random_arrays((2, 3)), tu.random_arrays((4,), ())
    assert one.shape == (2, 3) and one.dtype == np.float32 and two.shape == (4,) and three.shape == ()
    (u,) = tu.random_uniform_arrays((50,), low=2, high=3, dtype="float64")
    assert u.min() >= 2 and u.max() < 3 and u.dtype == np.float64
    assert sorted(tu.random_sample([1, 2, 3], 3)) == [1, 2, 3]
    assert tu.rand_ndarray((2, 3), dtype="float64").dtype == np.float64
    with pytest.raises(ArgumentError, match="csr"):
        tu.rand_ndarray((2, 3), "csr")
    for shape, rank in ((tu.rand_shape_2d(3, 4), 2), (tu.rand_shape_3d(), 3), (tu.rand_shape_nd(5, dim=2), 5)):
        assert len(shape) == rank and all(1 <= n <= 10 for n in shape)
    assert 0 in {n for _ in range(50) for n in tu.rand_shape_nd(2, 2, allow_zero_size=True)}
    x, y = tu.rand_coord_2d(1, 2, 5, 6)
    assert (x, y) == (1, 5)
    assert tu.assign_each(np.array([1, 2.0]), lambda v: v * 2).tolist() == [2, 4]
    assert tu.assign_each2(np.array([1, 2.0]), np.array([3, 4.0]), lambda v, w: v * w).tolist() == [3, 8]
    assert tu.create_2d_tensor(3, 2).asnumpy().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert tu.create_vector(3).asnumpy().tolist() == [0, 1, 2]


def test_reductions_for_oracles():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert tu.np_reduce(x, (0, 2), True, np.sum).tolist() == x.sum(axis=(0, 2), keepdims=True).tolist()
    assert tu.np_reduce(x, 1, False, np.max).tolist() == x.max(axis=1).tolist()
    assert tu.collapse_sum_like(x, (3, 1)).tolist() == x.sum(axis=(0, 2)).reshape(3, 1).tolist()
    tu.compare_ndarray_tuple((nd.ones(2), (nd.ones(3), None)), (nd.ones(2), (nd.ones(3), None)))
    with pytest.raises(AssertionError):
        tu.compare_ndarray_tuple((nd.ones(2),), (nd.zeros(2),))


def test_same_array():
    x = nd.zeros((2, 3))
    assert tu.same_array(x, x.reshape((2, 3))) and not tu.same_array(x, x.copy())


def test_checks_of_symbols():
    a, b = mx.sym.var("a"), mx.sym.var("b")
    x, y = np.array([[1.0, 2]]), np.array([[3.0, 4]])
    net = a * b
    tu.check_symbolic_forward(net, [x, y], [x * y])
    tu.check_symbolic_forward(net, {"a": x, "b": y}, {net.list_outputs()[0]: x * y}, dtype="asnumpy")
    grads = tu.check_symbolic_backward(net, [x, y], [np.ones_like(x)], [y, x])
    assert set(grads) == {"a", "b"}
    tu.check_symbolic_backward(net, [x, y], [np.ones_like(x)], {"a": y, "b": x}, grad_req={"a": "add", "b": "write"})
    tu.check_numeric_gradient(net, [x, y])
    tu.check_numeric_gradient(net, [x, y], grad_nodes=["a"], dtype=np.float64)
    with pytest.raises(AssertionError, match="FORWARD"):
        tu.check_symbolic_forward(net, [x, y], [x + y])
    with pytest.raises(AssertionError, match="BACKWARD_a"):
        tu.check_symbolic_backward(net, [x, y], [np.ones_like(x)], [x, x])
    with pytest.raises(AssertionError, match="NUMERICAL_a"):
        tu.check_numeric_gradient(mx.sym.BlockGrad(a * a), {"a": x})
    with pytest.raises(ArgumentError, match="do not match"):
        tu.check_symbolic_forward(net, {"a": x}, [x])
    with pytest.raises(ArgumentError, match="only dense"):
        tu.check_numeric_gradient(net, [x, y], grad_stype_dict={"a": "csr"})
    assert tu.simple_forward(net, a=x, b=y).tolist() == (x * y).tolist()
    assert (
        tu.check_speed(net, {"a": x, "b": y}, N=2) > 0 and tu.check_speed(net, typ="forward", N=1, a=(2,), b=(2,)) > 0
    )
    assert tu.same_symbol_structure(net, b * a) and not tu.same_symbol_structure(net, a + b)


def test_consistency(capsys):
    net = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc")
    ways = [{"ctx": mx.cpu(), "data": (3, 4), "type_dict": {"data": d}} for d in ("float64", "float32")]
    truth = tu.check_consistency(net, ways)
    assert truth["fc_weight"].dtype == np.float64
    tu.check_consistency(net, ways, grad_req="null", use_uniform=True, arg_params={"fc_bias": np.ones(2)})
    other = mx.sym.FullyConnected(mx.sym.var("data") * 2, num_hidden=2, name="fc")
    with pytest.raises(AssertionError, match="fc_output"):
        tu.check_consistency([net, other], ways)
    tu.check_consistency([net, other], ways, raise_on_err=False)
    assert "binding 1 differs from 0 at fc_output" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="fc_output"):
        tu.check_consistency(net, ways, ground_truth={"fc_output": np.zeros((3, 2))}, grad_req="null")


def test_surroundings():
    name = "SYMC_A_TEST_VARIABLE"
    with tu.environment(name, "1"):
        assert os.environ[name] == "1" and mx.util.getenv(name) == "1"
        with tu.environment({name: None}):
            assert name not in os.environ
        assert os.environ[name] == "1"
    assert name not in os.environ
    code = "import os\nfrom symc.test_utils import *\nwith discard_stderr(): os.write(2, b'lost')\nos.write(2, b'kept')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr == b"kept"
    before = tu.default_context()
    tu.set_default_context(mx.cpu(1))
    assert tu.default_context() == mx.cpu(1)
    tu.set_default_context(before)
    assert list(tu.list_gpus()) == [] and tu.default_dtype() is np.float32 and not tu.is_cd_run()


def test_numpy_shapes_and_arrays():
    assert not mx.util.is_np_shape() and not mx.is_np_array()
    with mx.np_shape(True):
        assert mx.is_np_shape()
    assert not mx.is_np_shape() and mx.util.use_np_shape(mx.is_np_shape)() and mx.use_np_shape(mx.is_np_shape)()
    with mx.util.np_array(False):
        pass
    for attempt in (lambda: mx.util.set_np(), lambda: mx.np_array(), tu.use_np(lambda: 3)):
        with pytest.raises(ArgumentError, match=r"mx\.np is not supported"):
            attempt()
    mx.util.reset_np()
    mx.util.setenv("SYMC_A_TEST_VARIABLE", "x")
    mx.util.setenv("SYMC_A_TEST_VARIABLE", None)
    assert mx.util.getenv("SYMC_A_TEST_VARIABLE") is None and mx.util.get_gpu_count() == 0


CPU_FLAGS = {
    "CPU_SSE": "sse", "CPU_SSE2": "sse2", "CPU_SSE3": "pni", "CPU_SSE4_1": "sse4_1", "CPU_SSE4_2": "sse4_2",
    "CPU_SSE4A": "sse4a", "CPU_AVX": "avx", "CPU_AVX2": "avx2", "F16C": "f16c",
}  # fmt: skip


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="reads an x86's /proc/cpuinfo")
def test_features_of_the_cpu_are_those_it_has():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next(line for line in file if line.startswith("flags")).split()
    found = {feature.name: feature.enabled for feature in mx.runtime.feature_list()}
    assert {name: found[name] for name in CPU_FLAGS} == {name: flag in flags for name, flag in CPU_FLAGS.items()}


def test_star_imports_bring_what_mxnets_bring():
    names: dict = {}
    exec("from symc.test_utils import *\nfrom symc.autograd import *", names)
    assert names["mx"] is mx and names["np"] is np and names["npt"] is np.testing and names["rnd"] is np.random
    assert names["NDArray"] is mx.nd.NDArray and names["Symbol"] is mx.sym.Symbol and names["array"] is mx.nd.array
    assert {"os", "sys", "time", "logging", "Context", "current_context", "environment", "record"} <= set(names)


def test_engine_runtime_base():
    before = mx.engine.set_bulk_size(10)
    with mx.engine.bulk(5):
        assert mx.engine.set_bulk_size(5) == 5
    assert mx.engine.set_bulk_size(before) == 10
    features = mx.runtime.Features()
    assert mx.runtime.Features() is features
    assert not features.is_enabled("CUDA") and features.is_enabled("f16c") and "✖ CUDA" in repr(features)
    with pytest.raises(RuntimeError, match="unknown"):
        features.is_enabled("NO_SUCH")
    assert mx.base.py_str(b"fc_output") == mx.base.py_str("fc_output") == "fc_output"
    assert mx.base.integer_types[0] is int and mx.base.mx_real_t is np.float32 and mx.base.numeric_types
    assert "symc.runtime.features" in sys.modules


def test_random_numbers_are_held_against_their_distribution():
    buckets, probs = tu.gen_buckets_probs_with_ppf(lambda p: 4 * p, 4)
    assert buckets == [(0, 1), (1, 2), (2, 3), (3, 4)] and probs == [0.25] * 4
    even = lambda n: np.arange(n) % 4 + 0.5  # noqa: E731
    assert tu.chi_square_check(even, buckets, probs, 400)[0] == 1
    # Counts of 110, 90, 100, 100: the distance is 2 of 3 degrees of freedom.
    skew = lambda n: np.repeat([0.5, 1.5, 2.5, 3.5], [110, 90, 100, 100])  # noqa: E731
    chance, observed, expected = tu.chi_square_check(skew, buckets, probs, 400)
    assert chance == pytest.approx(0.5724067044708797, rel=1e-12)
    assert observed.tolist() == [110, 90, 100, 100] and expected.tolist() == [100] * 4
    # The same in two buckets, 1 degree, and three values, 2 degrees.
    assert tu.chi_square_check(skew, [(0, 1), (1, 4)], [0.25, 0.75], 400)[0] == pytest.approx(0.24821307898992362)
    assert tu.chi_square_check(lambda n: skew(n) // 1, [0, 1, 2], [0.25] * 3, 400)[0] == pytest.approx(np.exp(-1))
    assert len(tu.verify_generator(even, buckets, probs, 400)) == 5
    with pytest.raises(AssertionError, match="do not follow"):
        tu.verify_generator(lambda n: np.full(n, 0.5), buckets, probs, 400)
    assert tu.mean_check(even, 2, 1.118, 400) and not tu.mean_check(even, 2.2, 1.118, 400)
    assert tu.var_check(even, 1.118, 400) and not tu.var_check(even, 1.4, 400)


def test_the_first_batch_again_and_again():
    batches = mx.io.NDArrayIter(np.arange(8).reshape(4, 2), batch_size=2)
    first = tu.DummyIter(batches)
    assert first.batch_size == 2 and first.provide_data == batches.provide_data
    assert [next(first).data[0].asnumpy().tolist() for _ in range(5)] == [[[0, 1], [2, 3]]] * 5
