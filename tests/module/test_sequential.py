"""`SequentialModule` and `PythonLossModule`: parts that are trained one after the other are one network."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx

S = mx.sym
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("float32")


def body(name="data"):
    return S.Activation(S.FullyConnected(S.Variable(name), num_hidden=5, name="fc1"), act_type="tanh", name="act")


def head(x):
    return S.FullyConnected(x, num_hidden=2, name="fc2")


def weights():
    rng = np.random.default_rng(1)
    shapes = {"fc1_weight": (5, 6), "fc1_bias": (5,), "fc2_weight": (2, 5), "fc2_bias": (2,)}
    return {name: mx.nd.array(rng.normal(size=shape)) for name, shape in shapes.items()}


def trained(module, label="softmax_label"):
    """Parameters and accuracy after two epochs."""
    data = mx.io.NDArrayIter(X, Y, 10, label_name=label)
    module.fit(
        data,
        arg_params=weights(),
        allow_missing=True,
        num_epoch=2,
        optimizer_params={"learning_rate": 0.5, "momentum": 0.9},
    )
    args, aux = module.get_params()
    assert aux == {}
    return {n: a.asnumpy() for n, a in args.items()}, module.score(data, "acc")


def softmax_gradient(scores, labels):
    p = np.exp(scores.asnumpy() - scores.asnumpy().max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(p)), labels.asnumpy().astype(int)] -= 1
    return p


PARTS = {
    "two symbols": lambda: (
        mx.mod.SequentialModule()
        .add(mx.mod.Module(body(), label_names=None))
        .add(
            mx.mod.Module(S.SoftmaxOutput(head(S.Variable("act_output")), name="softmax"), ["act_output"]),
            take_labels=True,
        )
    ),
    "wired": lambda: (
        mx.mod.SequentialModule()
        .add(mx.mod.Module(body(), label_names=None))
        .add(
            mx.mod.Module(S.SoftmaxOutput(head(S.Variable("x")), name="softmax"), ["x"]),
            take_labels=True,
            auto_wiring=True,
        )
    ),
    "a loss in Python": lambda: (
        mx.mod.SequentialModule()
        .add(mx.mod.Module(head(body()), label_names=None))
        .add(mx.mod.PythonLossModule(grad_func=softmax_gradient), take_labels=True, auto_wiring=True)
    ),
}


@pytest.mark.parametrize("parts", PARTS)
def test_parts_train_like_the_whole(parts):
    whole, accuracy = trained(mx.mod.Module(S.SoftmaxOutput(head(body()), name="softmax")))
    found, score = trained(PARTS[parts]())
    assert found.keys() == whole.keys() and score == accuracy
    for name, array in whole.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_shapes_names_and_input_gradients():
    module = PARTS["two symbols"]()
    assert module.data_names == ["data"] and module.output_names == ["softmax_output"]
    module.bind([("data", (10, 6))], [("softmax_label", (10,))], inputs_need_grad=True)
    module.init_params()
    module.init_optimizer()
    module.forward_backward(mx.io.DataBatch([mx.nd.array(X[:10])], [mx.nd.array(Y[:10])]))
    module.update()
    assert module.data_shapes == [("data", (10, 6))] and module.label_shapes == [("softmax_label", (10,))]
    assert module.output_shapes == [("softmax_output", (10, 2))] and module.get_outputs()[0].shape == (10, 2)
    assert module.get_input_grads()[0].shape == (10, 6)


def by_length(length):
    """A network over rows of any length, and what it reads."""
    scores = S.Reshape(
        S.FullyConnected(S.Variable("act_output"), num_hidden=2, flatten=False, name="fc2"), shape=(-1, 2)
    )
    labels = S.Reshape(S.Variable("softmax_label"), shape=(-1,))
    return S.SoftmaxOutput(scores, labels, name="softmax"), ("act_output",), ("softmax_label",)


def test_all_that_a_batch_says_is_said_to_every_part():
    lines = S.FullyConnected(S.Variable("data"), num_hidden=5, flatten=False, name="fc1")
    module = mx.mod.SequentialModule()
    module.add(mx.mod.Module(S.Activation(lines, act_type="tanh", name="act"), label_names=None))
    module.add(mx.mod.BucketingModule(by_length, default_bucket_key=4), take_labels=True)
    module.bind([("data", (2, 4, 6))], [("softmax_label", (2, 4))])
    module.init_params()
    for length in (4, 3, 4):
        data, labels = mx.nd.ones((2, length, 6)), mx.nd.ones((2, length))
        described = [mx.io.DataDesc("data", data.shape)], [mx.io.DataDesc("softmax_label", labels.shape)]
        batch = mx.io.DataBatch([data], [labels], 0, [7, 8], length, *described)
        module.forward(batch)
        module.backward()
        assert module.get_outputs()[0].shape == (2 * length, 2)
        assert batch.data == [data] and (batch.provide_data, batch.provide_label) == described


def test_a_part_in_python_sees_the_numbers_of_the_examples():
    class Looks(mx.mod.PythonLossModule):
        def forward(self, data_batch, is_train=None):
            self.seen = data_batch.index, data_batch.bucket_key, data_batch.pad, data_batch.provide_data
            super().forward(data_batch, is_train)

    looks = Looks(data_names=["scores"])
    module = mx.mod.SequentialModule().add(mx.mod.Module(body(), label_names=None))
    module.add(looks, take_labels=True, auto_wiring=True)
    module.bind([("data", (2, 6))], [("softmax_label", (2,))])
    module.init_params()
    module.forward(mx.io.DataBatch([mx.nd.ones((2, 6))], [mx.nd.ones(2)], 1, [3, 4], 9))
    assert looks.seen == ([3, 4], 9, 1, [("scores", (2, 5))])


def test_a_loss_in_python_needs_no_parameters():
    loss = mx.mod.PythonLossModule(grad_func=lambda scores, labels: scores - labels.reshape((-1, 1)))
    loss.bind([("data", (2, 1))], [("softmax_label", (2,))])
    loss.forward(mx.io.DataBatch([mx.nd.array([[3], [5]])], [mx.nd.array([1, 2])]))
    loss.backward()
    assert loss.get_input_grads()[0].asnumpy().tolist() == [[2], [3]]


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (lambda: mx.mod.SequentialModule().add(None, taking_labels=True), AssertionError, "Unknown meta"),
        (lambda: mx.mod.SequentialModule().bind([("data", (1,))]), AssertionError, "empty SequentialModule"),
        (lambda: mx.mod.PythonLossModule(grad_func=3), AssertionError, "must be a function"),
        (lambda: mx.mod.PythonLossModule().bind([("x", (1,))]), AssertionError, "data_shapes"),
        (
            lambda: mx.mod.PythonModule(["data"], None, ["o"]).bind([("data", (1,))]),
            NotImplementedError,
            "_compute_out",
        ),
        (lambda: mx.mod.BaseModule().forward(None), NotImplementedError, "BaseModule must override forward"),
    ],
)
def test_what_is_wrong_is_said(step, error, text):
    with pytest.raises(error, match=text):
        step()


def test_a_parameter_in_two_parts_is_refused():
    twice = mx.mod.SequentialModule()
    twice.add(mx.mod.Module(body(), label_names=None))
    twice.add(mx.mod.Module(body("act_output"), ["act_output"], label_names=None))
    twice.bind([("data", (10, 6))], for_training=False)
    with pytest.raises(AssertionError, match="Duplicated parameter names: fc1_"):
        twice.init_params()
