"""The Executor: forward, states, changed parameters, threads, memory, other shapes; what it compiles and when."""

from __future__ import annotations

import copy
import pickle
import time

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError, SymcError
from symc.runtime.instance import Instance
from symc.runtime.program import Program
from tests.conformance.compare import Mismatch
from tests.conformance.threads import NETWORKS, check_shared_executor

from .small import dense, nd

sym = mx.sym
x, y = sym.var("x"), sym.var("y")


# -- forward ----------------------------------------------------------------------------------------------------------


def test_forward_overwrites_its_outputs():
    given = nd(1, 2)
    ex = (x * 2).bind(mx.cpu(), {"x": given})
    (first,) = ex.forward()
    assert first.asnumpy().tolist() == [2, 4]
    ex.forward(x=nd(5, 6))
    assert first.asnumpy().tolist() == [10, 12]
    assert given.asnumpy().tolist() == [5, 6]  # keyword arguments are copied into the bound arrays


def test_outputs_exist_before_forward():
    ex = sym.Group([x * 2, x]).bind(mx.cpu(), {"x": nd(1, 2)})
    assert [o.shape for o in ex.outputs] == [(2,), (2,)]
    assert list(ex.output_dict) == [ex._symbol.list_outputs()[0], "x"]


@pytest.mark.parametrize("value", [np.array([3.0, 4.0]), nd(3, 4, dtype="int32"), [3.0, 4.0]], ids=["f8", "i4", "list"])
def test_forward_converts(value):
    (out,) = (x * 2).bind(mx.cpu(), {"x": nd(1, 2)}).forward(x=value)
    assert out.dtype == np.float32 and out.asnumpy().tolist() == [6, 8]


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_executor_cannot_be_copied(copied):
    ex = (x * 2).bind(mx.cpu(), {"x": nd(1, 2)})
    with pytest.raises(ValueError, match="can be neither pickled nor copied"):
        copied(ex)


def test_forward_errors():
    ex = (x * 2).bind(mx.cpu(), {"x": nd(1, 2)})
    with pytest.raises(TypeError, match="Unknown argument z"):
        ex.forward(z=nd(1, 2))
    with pytest.raises(ValueError, match=r"Shape not match! Argument x, need: \(2,\), received: \(3,\)"):
        ex.forward(x=nd(1, 2, 3))


@pytest.mark.parametrize("symbol", [x, sym.reshape(x, shape=(2, 1)), sym.BlockGrad(x)], ids=["input", "view", "copy"])
def test_an_output_that_is_an_input_has_memory_of_its_own(symbol):
    given = nd(1, 2)
    ex = sym.Group([symbol, symbol, x * 2]).bind(mx.cpu(), {"x": given})
    a, b, _ = ex.forward()
    assert a.asnumpy().ravel().tolist() == b.asnumpy().ravel().tolist() == [1, 2]
    fresh, _, _ = ex(x=np.array([7.0, 8.0], "f4"))
    fresh[:] = 0
    assert given.asnumpy().tolist() == [1, 2]
    given[:] = 3
    assert ex.forward()[1].asnumpy().ravel().tolist() == [3, 3]


def test_outputs_without_inputs():
    (out,) = sym.zeros((2, 3)).bind(mx.cpu(), {}).forward()
    assert out.asnumpy().tolist() == [[0] * 3] * 2


def test_one_array_bound_to_two_arguments():
    shared, gx, gy = nd(1, 2), nd(0, 0), nd(0, 0)
    ex = (x * x * y).bind(mx.cpu(), {"x": shared, "y": shared}, args_grad={"x": gx, "y": gy})
    assert ex.forward(is_train=True)[0].asnumpy().tolist() == [1, 8]
    ex.backward(nd(1, 1))
    assert gx.asnumpy().tolist() == [2, 8] and gy.asnumpy().tolist() == [1, 4]


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float16", 2e-3)])
def test_other_dtypes(dtype, tolerance):
    symbol = sym.tanh(sym.FullyConnected(x, num_hidden=3, no_bias=True, name="fc"))
    ex = symbol.simple_bind(mx.cpu(), x=(4, 5), type_dict={"x": dtype})
    random = np.random.default_rng(0)
    values, weight = random.normal(size=(4, 5)).astype(dtype), random.normal(size=(3, 5)).astype(dtype)
    ex.copy_params_from({"x": mx.nd.array(values), "fc_weight": mx.nd.array(weight, dtype=dtype)})
    (out,) = ex.forward(is_train=True, x=values)
    assert out.dtype == np.dtype(dtype) and ex.arg_dict["fc_weight"].dtype == np.dtype(dtype)
    want = np.tanh(values.astype("f8") @ weight.astype("f8").T)
    np.testing.assert_allclose(out.asnumpy(), want, rtol=tolerance, atol=tolerance)
    ex.backward(mx.nd.ones((4, 3), dtype=dtype))
    d = (1 - want**2) @ weight.astype("f8")
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), d, rtol=8 * tolerance, atol=8 * tolerance)


# -- auxiliary states and changed parameters --------------------------------------------------------------------------


def batch_norm(grad_req="write"):
    ex = sym.BatchNorm(x, fix_gamma=False, momentum=0.5, name="bn").simple_bind(mx.cpu(), x=(4, 2), grad_req=grad_req)
    ex.copy_params_from({"x": mx.nd.arange(8).reshape(4, 2), "bn_gamma": nd(1, 1)}, {"bn_moving_var": nd(1, 1)})
    return ex, ex.aux_dict["bn_moving_mean"]


def test_backward_again_gives_the_same_gradients():
    """Backward's kernels reuse the memory of what forward left; a Jacobian is made by many backwards after one."""
    data, weight = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32")
    net = sym.smooth_l1(sym.Dropout(sym.FullyConnected(x, weight=y, num_hidden=5, no_bias=True), p=0.3), scalar=1.0)
    ex = net.simple_bind(mx.cpu(), x=(5, 4))
    ex.forward(is_train=True, x=data, y=weight)
    output, heads = ex.outputs[0].asnumpy(), [mx.nd.ones((5, 5)), mx.nd.ones((5, 5)) * 2]
    found = []
    for head in (heads[0], heads[1], heads[0]):
        ex.backward(head)
        found.append(ex.grad_dict["x"].asnumpy())
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5, atol=1e-6)  # the mask of Dropout is still the same
    np.testing.assert_array_equal(found[2], found[0])
    np.testing.assert_array_equal(ex.outputs[0].asnumpy(), output)


def test_states_change_in_backward_only():
    ex, mean = batch_norm()
    ex.forward(is_train=False)
    ex.forward(is_train=True)
    assert mean.asnumpy().tolist() == [0, 0]
    ex.backward(mx.nd.ones((4, 2)))
    assert mean.asnumpy().tolist() == [1.5, 2]
    ex.backward(mx.nd.ones((4, 2)))
    assert mean.asnumpy().tolist() == [2.25, 3]


def test_states_stay_without_gradients():
    ex, mean = batch_norm("null")
    ex.forward(is_train=True)
    ex.backward(mx.nd.ones((4, 2)))
    assert mean.asnumpy().tolist() == [0, 0]


def test_training_leaves_ones_in_a_fixed_gamma():
    ex = sym.BatchNorm(x, name="bn").simple_bind(mx.cpu(), x=(4, 2))
    ex.arg_dict["bn_gamma"][:] = 3
    ex(x=np.zeros((4, 2)))
    assert ex.arg_dict["bn_gamma"].asnumpy().tolist() == [3, 3]
    ex.forward(is_train=True)
    ex.backward(mx.nd.ones((4, 2)))
    assert ex.arg_dict["bn_gamma"].asnumpy().tolist() == [1, 1]
    computed = sym.BatchNorm(x, gamma=y * 2, name="bn").simple_bind(mx.cpu(), x=(4, 2), y=(2,))
    computed.arg_dict["y"][:] = 3
    computed.forward(is_train=True)
    computed.backward(mx.nd.ones((4, 2)))
    assert computed.arg_dict["y"].asnumpy().tolist() == [3, 3]


def test_training_prepares_weights_when_they_were_written_not_when_states_were(monkeypatch):
    run, prepared = Instance.run, []

    def counted(instance: Instance, phase: str) -> None:
        prepared.extend([phase] * (phase == "prepare"))
        run(instance, phase)

    monkeypatch.setattr(Instance, "run", counted)
    network = sym.BatchNorm(sym.FullyConnected(x, num_hidden=3, no_bias=True, name="fc"), fix_gamma=False, name="bn")
    ex = network.simple_bind(mx.cpu(), x=(4, 2))
    ex.arg_dict["x"][:] = np.arange(8).reshape(4, 2) ** 2
    ex.arg_dict["bn_gamma"][:] = 1
    for n_written, weight in enumerate((np.eye(3, 2), np.eye(3, 2)[::-1]), 1):
        ex.arg_dict["fc_weight"][:] = weight
        for _ in range(3):
            ex.forward(is_train=True)
            ex.backward(mx.nd.ones((4, 3)))
        product = ex.arg_dict["x"].asnumpy() @ weight.T
        normal = (product - product.mean(0)) / np.sqrt(product.var(0) + 1e-3)
        np.testing.assert_allclose(ex.outputs[0].asnumpy(), normal, rtol=1e-5, atol=1e-5)
        assert len(prepared) == n_written


def test_predicting_sees_the_states_that_training_left():
    ex, _ = batch_norm()
    data = ex.arg_dict["x"].asnumpy()
    ex(x=data)  # prepares scale and shift from the old states
    for _ in range(2):
        ex.forward(is_train=True)
        ex.backward(mx.nd.ones((4, 2)))
        mean, var = (ex.aux_dict[f"bn_moving_{s}"].asnumpy() for s in ("mean", "var"))
        np.testing.assert_allclose(ex(x=data)[0].asnumpy(), (data - mean) / np.sqrt(var + 1e-3), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ex.forward()[0].asnumpy(), ex(x=data)[0].asnumpy(), rtol=1e-6, atol=1e-7)


def test_predicting_sees_the_states_that_a_profile_left():
    ex, _ = batch_norm()
    ex.forward()
    before = ex.aux_dict["bn_moving_mean"].asnumpy()
    ex.profile(is_train=True, n_runs=2)
    mean, var = (ex.aux_dict[f"bn_moving_{s}"].asnumpy() for s in ("mean", "var"))
    assert not np.allclose(mean, before)
    data = ex.arg_dict["x"].asnumpy()
    np.testing.assert_allclose(ex.forward()[0].asnumpy(), (data - mean) / np.sqrt(var + 1e-3), rtol=1e-5, atol=1e-6)


def add_in_place(ex):
    weight = ex.arg_dict["fc_weight"]
    weight += 1


WRITES = {
    "slice": lambda ex: ex.arg_dict["fc_weight"].__setitem__(slice(None), 2),
    "in place": add_in_place,
    "view": lambda ex: ex.arg_dict["fc_weight"].reshape((15,)).__setitem__(slice(None), 2),
    "copy_params_from": lambda ex: ex.copy_params_from({"fc_weight": mx.nd.full((3, 5), 2)}),
    "copyto": lambda ex: mx.nd.full((3, 5), 2).copyto(ex.arg_dict["fc_weight"]),
    "forward": lambda ex: ex.forward(fc_weight=mx.nd.full((3, 5), 2)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_changed_parameters_are_noticed(write):
    ex = dense()
    ones = np.ones((4, 5), "f4")
    assert ex(data=ones)[0].asnumpy()[0].tolist() == [5, 6, 7]
    ex.forward(data=ones)
    write(ex)
    assert ex(data=ones)[0].asnumpy()[0].tolist() == [10, 11, 12]
    assert ex.forward()[0].asnumpy()[0].tolist() == [10, 11, 12]
    assert ex(data=ones[:2])[0].asnumpy()[0].tolist() == [10, 11, 12]


def test_a_row_written_by_training_another_executor_is_noticed():
    ex = dense()
    other = ex._symbol.bind(mx.cpu(), ex.arg_dict, args_grad=None)
    ones = np.ones((4, 5), "f4")
    assert other(data=ones)[0].asnumpy()[0].tolist() == [5, 6, 7]
    ex.arg_dict["fc_weight"][0] = 3
    assert other(data=ones)[0].asnumpy()[0].tolist() == [15, 6, 7]


def test_copy_params_from_errors():
    ex, _ = batch_norm()
    with pytest.raises(ValueError, match='Find name "q" that is not in the arguments'):
        ex.copy_params_from({"q": nd(1, 2)})
    with pytest.raises(ValueError, match='Find name "q" that is not in the auxiliary states'):
        ex.copy_params_from({}, {"q": nd(1, 2)})
    ex.copy_params_from({"q": nd(1, 2)}, {"q": nd(1, 2)}, allow_extra_params=True)
    with pytest.raises(ArgumentError, match=r"parameter bn_gamma: it has shape \(3,\), bound is \(2,\)"):
        ex.copy_params_from({"bn_gamma": nd(1, 2, 3)})


# -- threads and memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_threads_share_an_executor(name):
    """1,000 calls each: python -m tests.conformance threads."""
    check_shared_executor(mx, name, n_threads=8, n_calls=100)


def test_the_check_of_threads_can_fail(monkeypatch):
    """An executor whose calls share their memory is found out."""
    from symc.executor import Executor

    def call(self, data):
        is_bound_shape = data.shape == self.arg_dict["data"].shape
        results = self.forward(data=data) if is_bound_shape else self._call_apart({"data": data}, frozenset())
        time.sleep(1e-4)
        return results

    monkeypatch.setattr(Executor, "__call__", call)
    with pytest.raises(Mismatch, match="results are wrong"):
        check_shared_executor(mx, "mlp", n_threads=8, n_calls=30)


def test_results_do_not_depend_on_the_number_of_threads():
    hidden = sym.Convolution(x, num_filter=24, kernel=(3, 3), pad=(1, 1), name="conv")
    hidden = sym.Activation(sym.BatchNorm(hidden, fix_gamma=False, name="bn"), act_type="relu")
    symbol = sym.sum(sym.Pooling(hidden, kernel=(2, 2), stride=(2, 2), pool_type="avg"), axis=(0, 2))
    ex = symbol.simple_bind(mx.cpu(), x=(6, 7, 33, 31))
    random = np.random.default_rng(0)
    for array in (*ex.arg_arrays, *ex.aux_arrays):
        array[:] = random.random(size=array.shape)
    data = random.normal(size=(6, 7, 33, 31))
    found = []
    for n_threads in (1, 2, 4, None):
        ex.set_num_threads(n_threads)
        ex.copy_params_from({}, {"bn_moving_mean": mx.nd.ones((24,)), "bn_moving_var": mx.nd.ones((24,))})
        called = ex(x=data)[0].asnumpy()
        forward = ex.forward(is_train=True, x=data)[0].asnumpy()
        ex.backward(mx.nd.ones(forward.shape))
        left = [a.asnumpy() for a in (*ex.grad_dict.values(), *ex.aux_dict.values())]
        found.append([called, forward, *left])
    assert len(found[0]) == 2 + 5 + 2
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_parameters_prepared_before_the_threads_changed_are_prepared_again():
    ex = dense()
    ones = np.ones((4, 5), "f4")
    ex(data=ones)
    ex.set_num_threads(1)
    assert ex(data=ones)[0].asnumpy()[0].tolist() == [5, 6, 7]


@pytest.mark.parametrize("n_threads", [0, -1, 257, "a", 2.5])
def test_set_num_threads_errors(n_threads):
    with pytest.raises(ArgumentError, match=f"got {n_threads!r}, expected 1 to 256"):
        dense().set_num_threads(n_threads)


def test_memory_plan():
    h = x
    for k in range(6):
        h = sym.tanh(sym.FullyConnected(h, num_hidden=16, flatten=False, name=f"fc{k}"))
    ex = h.simple_bind(mx.cpu(), x=(8, 16))
    one = 8 * 16 * 4
    predicting, training = ex.memory_plan(), ex.memory_plan(is_train=True)
    assert predicting.lower_bound_bytes <= predicting.planned_bytes <= predicting.naive_bytes
    assert predicting.planned_bytes <= 2 * one  # a layer needs its input and its output
    assert training.planned_bytes >= 5 * one  # backward needs what every layer computed
    parameters = 6 * (16 * 16 + 16) * 4
    assert training.parameter_bytes + training.input_bytes == parameters + one
    assert training.gradient_bytes == parameters + 2 * one and predicting.gradient_bytes == 0  # of x and of the output
    assert "gradients" in training.summary() and "gradients" not in predicting.summary()
    ex.forward(is_train=True)
    assert ex._bound(True, with_gradient=True).instance.arena.array.nbytes >= training.planned_bytes


# -- other shapes, other views ----------------------------------------------------------------------------------------


def test_reshape_shares_memory():
    ex = dense(batch=5, grad_req="write")
    small = ex.reshape(data=(3, 5))
    small.forward(data=mx.nd.ones((3, 5)))
    assert ex.arg_dict["data"].asnumpy()[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert small.outputs[0].shape == (3, 3)
    assert ex.outputs[0].asnumpy()[:, 0].tolist() == [5, 5, 5, 0, 0]  # outputs are shared as well, as in MXNet
    small.arg_dict["fc_bias"][:] = 7
    assert ex.arg_dict["fc_bias"].asnumpy().tolist() == [7, 7, 7]
    small.backward(mx.nd.ones((3, 3)))
    assert ex.grad_dict["fc_bias"].asnumpy().tolist() == [3, 3, 3]


def test_reshape_up():
    ex = dense()
    with pytest.raises(SymcError, match=r"New shape of arg: data is larger than original: \(6, 5\), was \(4, 5\)"):
        ex.reshape(data=(6, 5))
    big = ex.reshape(allow_up_sizing=True, data=(6, 5))
    big.forward(data=mx.nd.ones((6, 5)))
    assert big.outputs[0].asnumpy()[:, 0].tolist() == [5] * 6
    assert not ex.arg_dict["data"].asnumpy().any()
    assert np.shares_memory(big.arg_dict["fc_weight"]._host, ex.arg_dict["fc_weight"]._host)


def test_reshape_of_arguments_not_named():
    ex = dense()
    with pytest.raises(SymcError, match=r"unspecified array arg: fc_weight changed from \(3, 5\) to \(3, 4\)"):
        ex.reshape(data=(4, 4))
    other = ex.reshape(partial_shaping=True, data=(4, 4))
    assert other.arg_dict["fc_weight"].shape == (3, 4)
    with pytest.raises(ArgumentError, match="Keyword argument name nope not found"):
        ex.reshape(nope=(3,))


def test_reshape_keeps_the_number_of_threads():
    ex = dense()
    ex.set_num_threads(1)
    assert ex.reshape(data=(2, 5))._bound(False).session.n_threads == 1


def test_monitor():
    ex = dense()
    seen = {}
    ex.set_monitor_callback(lambda name, array: seen.update({name: array.asnumpy()}))
    ex.forward(data=mx.nd.ones((4, 5)))
    assert list(seen) == ["fc_output"] and seen["fc_output"][0].tolist() == [5, 6, 7]
    seen.clear()
    ex.set_monitor_callback(lambda name, array: seen.update({name: array.shape}), monitor_all=True)
    ex.reshape(data=(2, 5)).forward()  # the new executor has the callback too
    assert seen == {"data": (2, 5), "fc_data": (2, 5), "fc_weight": (3, 5), "fc_bias": (3,), "fc_output": (2, 3)}


def test_forward_takes_arrays_by_name_only():
    with pytest.raises(ArgumentTypeError, match=r"is_train must be True or False, got NDArray.*forward\(data=...\)"):
        dense().forward(mx.nd.ones((4, 5)))
    with pytest.raises(ArgumentTypeError, match="Unknown argument dat; expected one of data, fc_weight, fc_bias"):
        dense().forward(dat=mx.nd.ones((4, 5)))


def test_another_batch_size_compiles_no_kernel():
    ex = dense(batch=16, grad_req="null")
    ex.forward()
    (out,) = ex(data=np.ones((32, 5)))
    assert out.shape == (32, 3)
    first, second = (bound.session.compiled for bound in ex._programs._found.values())
    assert first is not second and not second.compiled


def test_debug_str():
    text = dense().debug_str()
    assert text.startswith("Symbol Outputs:\n\toutput[0]=fc(0)\n")
    assert text.split("\n")[-3:] == ["Total 1 MB allocated", "Total 0 TempSpace resource requested", ""]
    assert "FullyConnected" in text and "backward" in text


def test_a_context_without_a_device_is_refused_when_it_is_bound():
    x = mx.sym.Variable("x")
    with pytest.raises(SymcError, match=r"no device gpu\(1\).*use mx.cpu\(\)"):
        (x + x).bind(mx.gpu(1), {"x": mx.nd.ones((2,))})
    with pytest.raises(SymcError, match=r"no device gpu\(0\).*use mx.cpu\(\)"):
        (x + x).simple_bind(mx.gpu(), x=(2,))


def test_no_argument_looks_through_all_others(monkeypatch):
    """Thousands of parameters took seconds."""
    asked, needs = [], Program.needs
    monkeypatch.setattr(Program, "needs", lambda program, place: asked.append(place) or needs(program, place))
    counts = []
    for n_layers in (1, 6):
        net = mx.sym.Variable("x")
        for _ in range(n_layers):
            net = mx.sym.FullyConnected(net, num_hidden=4)
        asked.clear()
        net.simple_bind(mx.cpu(), grad_req="null", x=(2, 4)).forward()[0].wait_to_read()
        counts.append(len(asked))
    assert counts[0] == counts[1]
