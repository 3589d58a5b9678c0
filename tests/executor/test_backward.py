"""Gradients of an Executor: requests, head gradients, their dtypes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError, GradientError

from .small import nd

sym = mx.sym
x, y, A = sym.var("x"), sym.var("y"), sym.var("a")


def gradient_of(symbol, req="write", start=0.0, **values):
    """An executor of x alone, and the array of its gradient."""
    gradient = mx.nd.full((2,), start)
    return symbol.bind(mx.cpu(), {"x": nd(1, 2), **values}, args_grad={"x": gradient}, grad_req={"x": req}), gradient


def test_training_forward_compiles_one_program():
    ex, _ = gradient_of(x * x)
    ex.forward(is_train=True)
    assert len(ex._programs._found.values()) == 1


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


HEAD = np.arange(1.0, 9.0, dtype="float32")


def bound(symbol):
    ex = symbol.simple_bind(mx.cpu(), x=(8,))
    ex.arg_dict["x"][:] = 1
    return ex


@pytest.mark.parametrize("is_train", [False, True])
def test_backward_of_the_predicting_network(is_train):
    ex = bound(sym.Dropout(sym.Variable("x"), p=0.5))
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
    ex = sym.BatchNorm(sym.Variable("x"), name="bn", fix_gamma=False).simple_bind(mx.cpu(), x=(4, 2))
    data, head = np.arange(8.0).reshape(4, 2) ** 1.5, np.arange(8.0).reshape(4, 2)
    ex.arg_dict["x"][:], ex.arg_dict["bn_gamma"][:] = data, [1, 2]
    ex.aux_dict["bn_moving_mean"][:], ex.aux_dict["bn_moving_var"][:] = 1, 4
    ex.forward(is_train=True)
    ex.backward(mx.nd.array(head), is_train=False)
    std = np.sqrt(4 + 1e-3)
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), head * [1, 2] / std, rtol=1e-4)
    np.testing.assert_allclose(ex.grad_dict["bn_gamma"].asnumpy(), (head * (data - 1) / std).sum(0), rtol=1e-4)
    assert [ex.aux_dict[n].asnumpy().tolist() for n in ("bn_moving_mean", "bn_moving_var")] == [[1, 1], [4, 4]]


@pytest.mark.parametrize("shape", [(4, 2, 32, 32), (4096, 16)])
def test_what_a_head_of_batch_norm_has_in_common_leads_nowhere(shape):
    """Adding a number to what comes back changes no gradient of the data, though the mean is rounded."""
    bn = sym.BatchNorm(sym.Variable("x"), name="bn", fix_gamma=False)
    ex = bn.simple_bind(mx.cpu(), x=shape)
    ex.arg_dict["x"][:] = 100 + np.random.default_rng(0).normal(size=shape)
    ex.arg_dict["bn_gamma"][:] = 1
    (out,) = ex.forward(is_train=True)
    data = ex.arg_dict["x"].asnumpy().astype("float64")
    axes = (0, *range(2, len(shape)))
    wanted = (data - data.mean(axes, keepdims=True)) / np.sqrt(data.var(axes, keepdims=True) + 1e-3)
    assert np.abs(out.asnumpy() - wanted).max() < 8e-6  # twice the rounding of a mean of 100
    for head in (1, 8):  # 2e-5 where the rest of the mean counts
        ex.backward(mx.nd.full(shape, head))
        assert np.abs(ex.grad_dict["x"].asnumpy()).max() == 0
        assert np.abs(ex.grad_dict["bn_gamma"].asnumpy()).max() == 0


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_dropout_always_keeps_its_mask(forward, backward):
    ex = bound(sym.Dropout(sym.Variable("x"), p=0.5, mode="always"))
    out = ex.forward(is_train=forward)[0].asnumpy()
    ex.backward(nd(*HEAD), is_train=backward)
    assert ex.grad_dict["x"].asnumpy().tolist() == (HEAD * out).tolist()
    assert ex.outputs[0].asnumpy().tolist() == out.tolist()


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
