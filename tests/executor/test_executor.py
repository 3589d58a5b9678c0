"""The Executor: MXNet's contract of forward, backward and the bound arrays; calls; what it compiles and when."""

from __future__ import annotations

import time

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError, SymcError
from tests.conformance.compare import Mismatch
from tests.conformance.threads import NETWORKS, check_shared_executor

sym = mx.sym
x, y = sym.var("x"), sym.var("y")


S = mx.sym


def nd(*values, dtype="float32"):
    return mx.nd.array(values, dtype=dtype)


def gradient_of(symbol, req="write", start=0.0, **values):
    """An executor of x alone, and the array of its gradient."""
    gradient = mx.nd.full((2,), start)
    return symbol.bind(mx.cpu(), {"x": nd(1, 2), **values}, args_grad={"x": gradient}, grad_req={"x": req}), gradient


def dense(batch=4, **options):
    """A dense layer with weights of ones and a bias of 0, 1, 2; outputs are sums of 5 inputs + bias."""
    symbol = sym.FullyConnected(sym.var("data"), num_hidden=3, name="fc")
    ex = symbol.simple_bind(mx.cpu(), data=(batch, 5), **options)
    ex.arg_dict["fc_weight"][:] = 1
    ex.arg_dict["fc_bias"][:] = np.arange(3)
    return ex


def kernels_of(ex):
    """Names of the kernels of all programs of an executor."""
    return {name for bound in ex._programs.all() for name in bound.session.program.kernel_names}


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


def test_training_forward_compiles_one_program():
    ex, _ = gradient_of(x * x)
    ex.forward(is_train=True)
    assert len(ex._programs.all()) == 1


@pytest.mark.parametrize("value", [np.array([3.0, 4.0]), nd(3, 4, dtype="int32"), [3.0, 4.0]], ids=["f8", "i4", "list"])
def test_forward_converts(value):
    (out,) = (x * 2).bind(mx.cpu(), {"x": nd(1, 2)}).forward(x=value)
    assert out.dtype == np.float32 and out.asnumpy().tolist() == [6, 8]


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


# -- backward ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("req, want", [("write", [2, 4]), ("add", [12, 14]), ("null", [10, 10])])
def test_grad_req(req, want):
    ex, gradient = gradient_of(x * x, req, start=10)
    ex.forward(is_train=True)
    ex.backward(nd(1, 1))
    assert gradient.asnumpy().tolist() == want


def test_add_accumulates_over_steps():
    ex, gradient = gradient_of(x * x, "add")
    for _ in range(3):
        ex.forward(is_train=True)
        ex.backward(nd(1, 1))
    ex.backward(nd(1, 1))  # again, without a forward
    assert gradient.asnumpy().tolist() == [8, 16]


@pytest.mark.parametrize("is_forward_first", [True, False])
def test_backward_after_predicting_or_nothing(is_forward_first):
    ex, gradient = gradient_of(x * x)
    if is_forward_first:
        ex.forward(is_train=False)
    before = [o.asnumpy().tolist() for o in ex.outputs]
    ex.backward(nd(1, 1))
    assert gradient.asnumpy().tolist() == [2, 4]
    assert [o.asnumpy().tolist() for o in ex.outputs] == before


def test_one_array_for_two_gradients():
    gradient = nd(10, 10)
    args, grads = {"x": nd(1, 2), "y": nd(3, 4)}, {"x": gradient, "y": gradient}
    ex = (x * y).bind(mx.cpu(), args, args_grad=grads, grad_req="add")
    ex.forward(is_train=True)
    ex.backward(nd(1, 1))
    assert gradient.asnumpy().tolist() == [14, 16]


@pytest.mark.parametrize("heads", [nd(1, 2), [nd(1, 2)], np.array([1.0, 2.0]), {"out_output": nd(1, 2)}])
def test_head_gradients_in_every_form(heads):
    ex, gradient = gradient_of(sym.square(x, name="out"))
    ex.forward(is_train=True)
    ex.backward(heads)
    assert gradient.asnumpy().tolist() == [2, 8]


def test_head_gradient_errors():
    ex, _ = gradient_of(sym.Group([sym.square(x, name="a"), sym.square(x, name="b")]))
    ex.forward(is_train=True)
    with pytest.raises(GradientError, match=r"a_output is not a loss.*head_gradient is required"):
        ex.backward()
    with pytest.raises(GradientError, match="b_output is not a loss"):
        ex.backward(nd(1, 1))
    with pytest.raises(ArgumentError, match=r"head gradient 1 has shape \(3,\), expected \(2,\)"):
        ex.backward([nd(1, 1), nd(1, 1, 1)])


@pytest.mark.parametrize("heads", [1, [1], [[1.0, 2.0]], "ones"])
def test_head_gradients_are_arrays(heads):
    ex, _ = gradient_of(sym.square(x, name="out"))
    ex.forward(is_train=True)
    with pytest.raises(ArgumentTypeError, match="head gradient 0 must be an NDArray, got"):
        ex.backward(heads)


def test_losses_need_no_head_gradient_and_ignore_one():
    gx, gy = nd(0, 0), nd(0, 0)
    group = sym.Group([sym.MakeLoss(x * x), y * 2])
    ex = group.bind(mx.cpu(), {"x": nd(1, 2), "y": nd(1, 2)}, args_grad={"x": gx, "y": gy})
    ex.forward(is_train=True)
    ex.backward([nd(5, 5), nd(1, 1)])
    assert gx.asnumpy().tolist() == [2, 4] and gy.asnumpy().tolist() == [2, 2]
    loss, gradient = gradient_of(sym.MakeLoss(x * x))
    loss.forward(is_train=True)
    loss.backward()
    assert gradient.asnumpy().tolist() == [2, 4]


def test_gradient_of_an_input_that_is_an_output():
    ex, gradient = gradient_of(sym.Group([x, x * 2]))
    ex.forward(is_train=True)
    ex.backward([nd(1, 1), nd(1, 1)])
    assert gradient.asnumpy().tolist() == [3, 3]


@pytest.mark.parametrize(
    "before, is_refused",
    [(lambda d: d, True), (sym.relu, True), (sym.BlockGrad, False), (sym.floor, False), (sym.ones_like, False)],
)
def test_a_refused_gradient_is_an_error_of_backward(before, is_refused):
    """Embedding has no gradient for its numbers; asked for through an operator that gives zeros, none is needed."""
    symbol = sym.Embedding(before(x), y, input_dim=4, output_dim=3, name="emb")
    ex = symbol.bind(mx.cpu(), {"x": nd(1, 2), "y": mx.nd.ones((4, 3))}, args_grad={"x": nd(0, 0)})
    assert ex.forward(is_train=True)[0].asnumpy().tolist() == [[1] * 3] * 2
    if not is_refused:
        ex.backward(mx.nd.ones((2, 3)))
        return
    with pytest.raises(GradientError, match="gradient of x: Embedding emb gives no gradient for its argument data"):
        ex.backward(mx.nd.ones((2, 3)))


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


# -- calls ------------------------------------------------------------------------------------------------------------


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
    (mx.sym.sum(A), {"a": (2, 0)}, ()),
    (mx.sym.reshape(A, shape=(-1,)), {"a": (0, 3)}, (0,)),
    (mx.sym.FullyConnected(A, B, num_hidden=4, no_bias=True, flatten=False), {"a": (2, 0, 3), "b": (4, 3)}, (2, 0, 4)),
    (mx.sym.Convolution(A, B, num_filter=4, kernel=(3, 3), no_bias=True), {"a": (0, 3, 5, 5), "b": (4, 3, 3, 3)},
     (0, 4, 3, 3)),
    (mx.sym.slice(A, begin=(2,), end=(2,)), {"a": (5, 3)}, (0, 3)),
    (mx.sym.concat(A, B, dim=0), {"a": (0, 3), "b": (2, 3)}, (2, 3)),
    (mx.sym.take(A, B), {"a": (5, 3), "b": (0,)}, (0, 3)),
    (mx.sym.repeat(A, repeats=0), {"a": (2, 3)}, (0,)),
    (mx.sym.reverse(A, axis=0), {"a": (0, 3)}, (0, 3)),
    (mx.sym.dot(A, B, transpose_a=True), {"a": (4, 0), "b": (4, 5)}, (0, 5)),
    (mx.sym.tile(A, reps=(2, 0)), {"a": (2, 3)}, (4, 0)),
    (mx.sym.tile(A, reps=(0,)), {"a": ()}, (0,)),
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
    kept = want if want != () or shapes["a"] == () else (1,)  # a sum of everything keeps one element here
    assert [o.shape for o in found] == [kept] * 4
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
    """Extents are arguments of a kernel; an extent of 1 and tiles for few rows may choose others."""
    hidden = sym.Convolution(sym.var("data"), num_filter=10, kernel=(3, 3), pad=(1, 1), name="conv")
    hidden = sym.Pooling(sym.Activation(hidden, act_type="relu"), global_pool=True, pool_type="avg", kernel=(1, 1))
    symbol = sym.SoftmaxOutput(sym.Flatten(hidden), name="softmax")
    ex = symbol.simple_bind(mx.cpu(), data=(4, 3, 8, 8), grad_req="null")
    random = np.random.default_rng(0)
    ex.arg_dict["conv_weight"][:] = random.normal(size=(10, 3, 3, 3))
    data = random.normal(size=(8, 3, 8, 8)).astype("f4")
    want = np.concatenate([ex(data=data[:4])[0].asnumpy(), ex(data=data[4:])[0].asnumpy()])
    before = kernels_of(ex)
    for batch in (8, 5, 2, 1):
        (out,) = ex(data=data[:batch])  # the label, which predicting does not read, keeps its shape
        np.testing.assert_allclose(out.asnumpy(), want[:batch], rtol=1e-5, atol=1e-6)
        assert kernels_of(ex) == before or batch < 4


def test_programs_for_other_shapes_are_few():
    from symc.executor.programs import MAX_PROGRAMS

    ex = (x + 1).simple_bind(mx.cpu(), x=(2,))
    for n in range(3, 3 * MAX_PROGRAMS):
        assert ex(x=np.zeros(n))[0].shape == (n,)
    assert len(ex._programs.all()) == MAX_PROGRAMS


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


HEAD = np.arange(1.0, 9.0, dtype="float32")


def bound(symbol):
    ex = symbol.simple_bind(mx.cpu(), x=(8,))
    ex.arg_dict["x"][:] = 1
    return ex


@pytest.mark.parametrize("is_train", [False, True])
def test_backward_of_the_predicting_network(is_train):
    ex = bound(S.Dropout(S.Variable("x"), p=0.5))
    out = ex.forward(is_train=is_train)[0].asnumpy()
    ex.backward(nd(*HEAD), is_train=False)
    assert ex.grad_dict["x"].asnumpy().tolist() == HEAD.tolist()
    assert ex.outputs[0].asnumpy().tolist() == out.tolist()
    ex.backward(nd(*HEAD))
    assert sorted(set((ex.grad_dict["x"].asnumpy() / HEAD).tolist())) == [0, 2]
    if is_train:
        assert ex.grad_dict["x"].asnumpy().tolist() == (HEAD * out).tolist()


def test_backward_of_the_predicting_batch_norm():
    """As MXNet gives it: the moving statistics count, and stay."""
    ex = S.BatchNorm(S.Variable("x"), name="bn", fix_gamma=False).simple_bind(mx.cpu(), x=(4, 2))
    data, head = np.arange(8.0).reshape(4, 2) ** 1.5, np.arange(8.0).reshape(4, 2)
    ex.arg_dict["x"][:], ex.arg_dict["bn_gamma"][:] = data, [1, 2]
    ex.aux_dict["bn_moving_mean"][:], ex.aux_dict["bn_moving_var"][:] = 1, 4
    ex.forward(is_train=True)
    ex.backward(mx.nd.array(head), is_train=False)
    std = np.sqrt(4 + 1e-3)
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), head * [1, 2] / std, rtol=1e-4)
    np.testing.assert_allclose(ex.grad_dict["bn_gamma"].asnumpy(), (head * (data - 1) / std).sum(0), rtol=1e-4)
    assert [ex.aux_dict[n].asnumpy().tolist() for n in ("bn_moving_mean", "bn_moving_var")] == [[1, 1], [4, 4]]


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_dropout_always_keeps_its_mask(forward, backward):
    ex = bound(S.Dropout(S.Variable("x"), p=0.5, mode="always"))
    out = ex.forward(is_train=forward)[0].asnumpy()
    ex.backward(nd(*HEAD), is_train=backward)
    assert ex.grad_dict["x"].asnumpy().tolist() == (HEAD * out).tolist()
    assert ex.outputs[0].asnumpy().tolist() == out.tolist()


def test_forward_takes_arrays_by_name_only():
    with pytest.raises(ArgumentTypeError, match=r"is_train must be True or False, got NDArray.*forward\(data=...\)"):
        dense().forward(mx.nd.ones((4, 5)))
    with pytest.raises(ArgumentTypeError, match="Unknown argument dat; expected one of data, fc_weight, fc_bias"):
        dense().forward(dat=mx.nd.ones((4, 5)))


@pytest.mark.parametrize(
    "heads, message",
    [
        ({"nope": nd(1, 2)}, "no output nope; the outputs are out_output"),
        (nd(1, 2, 3), r"head gradient 0 has shape \(3,\), expected \(2,\)"),
    ],
)
def test_head_gradients_that_do_not_fit(heads, message):
    ex, _ = gradient_of(sym.square(x, name="out"))
    ex.forward(is_train=True)
    with pytest.raises(ArgumentError, match=message):
        ex.backward(heads)


def test_head_gradients_beyond_the_outputs_do_not_count():
    ex, gradient = gradient_of(sym.square(x, name="out"))
    ex.forward(is_train=True)
    ex.backward([nd(1, 2)])
    want = gradient.asnumpy()
    ex.backward([nd(1, 2), nd(7, 7, 7)])
    assert gradient.asnumpy().tolist() == want.tolist()


def test_another_batch_size_compiles_no_kernel():
    ex = dense(batch=16, grad_req="null")
    ex.forward()
    (out,) = ex(data=np.ones((32, 5)))
    assert out.shape == (32, 3)
    first, second = (bound.session.compiled for bound in ex._programs.all())
    assert first is not second and not second.compiled


def test_debug_str():
    text = dense().debug_str()
    assert text.startswith("Symbol Outputs:\n\toutput[0]=fc(0)\n") and text.endswith("Total 1 MB allocated\n")
    assert "FullyConnected" in text and "backward" in text


def test_a_context_without_a_device_is_refused_when_it_is_bound():
    x = mx.sym.Variable("x")
    with pytest.raises(SymcError, match=r"no device gpu\(1\).*use mx.cpu\(\)"):
        (x + x).bind(mx.gpu(1), {"x": mx.nd.ones((2,))})
    with pytest.raises(SymcError, match=r"no device gpu\(0\).*use mx.cpu\(\)"):
        (x + x).simple_bind(mx.gpu(), x=(2,))


def test_gradient_arrays_are_none_where_bind_was_given_none():
    y, arrays = mx.sym.sqrt(mx.sym.Variable("x")), {"x": mx.nd.ones((2,))}
    bound = y.bind(mx.cpu(), arrays)
    assert bound.grad_arrays is None and bound.grad_dict == {"x": None}
    assert bound.reshape(x=(1,)).grad_arrays == [None]
    assert y.bind(mx.cpu(), arrays, {}).grad_arrays == [None]
    assert y.simple_bind(mx.cpu(), "null", x=(2,)).grad_arrays == [None]


@pytest.mark.parametrize("grad_req", ["write", "add"])
@pytest.mark.parametrize("grad_dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_softmax_writes_its_gradient_in_the_dtype_of_the_array(dtype, grad_dtype, grad_req):
    """The values are MXNet's, for the head gradients 0 to 5."""
    data = mx.nd.array([[1, 2, 3], [0.5, 0.1, -1]], dtype=dtype)
    arrays = {"a": data, "n": mx.nd.array([2, 3], dtype="int32")}
    head = mx.nd.array(np.arange(6).reshape(2, 3), dtype=dtype)
    ways = [
        (mx.sym.softmax(A), [[-0.1418171, -0.1407704, 0.2825875], [-0.3114456, 0.1452522, 0.1661934]]),
        (mx.sym.log_softmax(A), [[-0.2700917, 0.2658146, 0.0042771], [-3.337637, -0.2482451, 3.585882]]),
        (mx.sym.softmin(A), [[0.2825874, -0.1407704, -0.1418171], [0.2149953, 0.1068081, -0.3218035]]),
        (mx.sym.softmax(A, mx.sym.Variable("n"), use_length=True),
         [[-0.1966119, 0.1966119, 0], [-0.3114456, 0.1452522, 0.1661934]]),
    ]  # fmt: skip
    for y, want in ways:
        gradient = mx.nd.ones((2, 3), dtype=grad_dtype)
        bound = y.bind(mx.cpu(), {n: arrays[n] for n in y.list_arguments()}, {"a": gradient}, grad_req)
        bound.forward(is_train=True)
        bound.backward(head)
        assert bound.grad_dict["a"] is gradient and gradient.dtype == np.dtype(grad_dtype)
        tolerance = 2e-3 if "float16" in (dtype, grad_dtype) else 1e-6
        np.testing.assert_allclose(
            gradient.asnumpy(), np.array(want) + (grad_req == "add"), rtol=tolerance, atol=4 * tolerance
        )


CONVERTING = {  # operators, and what they make of head gradients 0, 1, ...
    "sum": (lambda: mx.sym.sum(A, axis=1), lambda g: np.repeat(g[:, None], 3, 1)),
    "mean": (lambda: mx.sym.mean(A, axis=1), lambda g: np.repeat(g[:, None], 3, 1) / 3),
    "Cast": (lambda: mx.sym.Cast(A, dtype="float64"), lambda g: g),
    "amp_cast": (lambda: mx.sym.amp_cast(A, dtype="float32"), lambda g: g),
    "identity": (lambda: mx.sym.identity(A), lambda g: g),
    "BlockGrad": (lambda: mx.sym.BlockGrad(A), lambda g: g * 0),
    "make_loss": (lambda: mx.sym.make_loss(A), lambda g: g * 0 + 1),
    "transpose": (lambda: mx.sym.transpose(A), lambda g: g.T),
    "cumsum": (lambda: mx.sym.cumsum(A, axis=1), lambda g: g[:, ::-1].cumsum(1)[:, ::-1]),
    "Reshape": (lambda: mx.sym.Reshape(A, shape=(3, 2)), lambda g: g.reshape(2, 3)),
    "Flatten": (lambda: mx.sym.Flatten(A), lambda g: g),
    "expand_dims": (lambda: mx.sym.expand_dims(A, axis=0), lambda g: g[0]),
    "squeeze": (lambda: mx.sym.squeeze(A), lambda g: g),
}


@pytest.mark.parametrize("name", CONVERTING)
@pytest.mark.parametrize("dtype, grad_dtype", [("float32", "float64"), ("float32", "float16"), ("float16", "float32")])
def test_gradients_are_written_in_the_dtype_of_their_array_where_mxnet_does(name, dtype, grad_dtype):
    make, expected = CONVERTING[name]
    gradient = mx.nd.full((2, 3), 7, dtype=grad_dtype)
    bound = make().bind(mx.cpu(), {"a": mx.nd.ones((2, 3), dtype=dtype)}, {"a": gradient})
    (out,) = bound.forward(is_train=True)
    head = np.arange(out.size, dtype="float64").reshape(out.shape)
    bound.backward(mx.nd.array(head, dtype=out.dtype))
    assert gradient.dtype == np.dtype(grad_dtype)
    np.testing.assert_allclose(
        gradient.asnumpy(), expected(head), rtol=1e-3 if "float16" in (dtype, grad_dtype) else 1e-6
    )


def test_only_a_float_gradient_of_what_one_such_operator_reads_may_be_of_another_dtype():
    wide, integers = mx.nd.zeros((2, 3), dtype="float64"), mx.nd.zeros((2, 3), dtype="int32")
    softmax = mx.sym.softmax(A)
    with pytest.raises(ArgumentError, match="args_grad of a is float64, expected int32"):
        mx.sym.sum(A).bind(mx.cpu(), {"a": integers}, {"a": wide})
    refused = [(mx.sym.softmax(mx.sym.relu(A)), wide), (softmax * A, wide), (softmax, integers), (mx.sym.exp(A), wide)]
    for y, gradient in refused:
        with pytest.raises(ArgumentError, match=f"args_grad of a is {gradient._dtype.name}, expected float32"):
            y.bind(mx.cpu(), {"a": mx.nd.ones((2, 3))}, {"a": gradient})


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
