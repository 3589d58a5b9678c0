"""`FeedForward`: what it makes of arrays and iterators, as in MXNet."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

import symc as mx

S = mx.sym
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("float32")
NET = S.SoftmaxOutput(S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc"), name="softmax")

pytestmark = pytest.mark.filterwarnings("ignore:.*FeedForward has been deprecated:DeprecationWarning")


def first():
    return {"fc_weight": mx.nd.ones((2, 6)), "fc_bias": mx.nd.zeros(2)}


def trained(**options):
    model = mx.model.FeedForward(
        NET, num_epoch=6, learning_rate=0.5, momentum=0.9, numpy_batch_size=20, arg_params=first(), **options
    )
    np.random.seed(0)  # noqa: NPY002 - the stream that shuffles
    model.fit(X, Y, eval_data=(X, Y))
    return model


def test_arrays_train_and_are_predicted():
    model = trained()
    probabilities = model.predict(X)
    assert isinstance(probabilities, np.ndarray) and probabilities.shape == (50, 2)
    weight, bias = (model.arg_params[n].asnumpy().astype("f8") for n in ("fc_weight", "fc_bias"))
    scores = np.exp(X @ weight.T + bias)
    np.testing.assert_allclose(probabilities, scores / scores.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)
    accuracy = (probabilities.argmax(1) == Y).mean()
    assert accuracy > 0.9 and model.score(mx.io.NDArrayIter(X, Y, 10)) == pytest.approx(accuracy)
    outputs, data, labels = model.predict(mx.io.NDArrayIter(X, Y, 20), return_data=True)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_allclose(outputs, probabilities, rtol=1e-5)
    some = mx.io.NDArrayIter(X, Y, 20)
    assert model.predict(some, num_batch=1).shape == (20, 2) and len(list(some)) == 2  # no more than that was taken


def test_checkpoints(tmp_path):
    model = trained()
    model.save(str(tmp_path / "ff"))
    loaded = mx.model.FeedForward.load(str(tmp_path / "ff"), 6)
    assert loaded.begin_epoch == 6
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_epochs_of_a_given_size_go_on_in_the_data():
    seen = []
    data = mx.io.NDArrayIter(X, Y, 10)
    mx.model.FeedForward.create(
        NET, data, num_epoch=2, epoch_size=3, learning_rate=0.1,
        batch_end_callback=lambda p: seen.append((p.epoch, p.nbatch)),
    )  # fmt: skip
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)] and data.cursor == 0
    with pytest.raises(AssertionError, match="no batches"):
        mx.model.FeedForward.create(NET, Empty(), num_epoch=1, epoch_size=3)


class Empty(mx.io.DataIter):
    provide_data, provide_label = [("data", (10, 6))], [("softmax_label", (10,))]

    def next(self):
        raise StopIteration


def test_lines_of_its_log_are_mxnets(caplog):
    caplog.set_level(logging.INFO)
    model = mx.model.FeedForward(NET, num_epoch=1, arg_params=first(), numpy_batch_size=25)
    model.fit(X, Y, eval_data=mx.io.NDArrayIter(X, Y, 25), batch_end_callback=mx.callback.log_train_metric(1))
    lines = [re.sub(r"=.*", "=", r.getMessage()) for r in caplog.records]
    assert lines == [
        "Start training with [cpu(0)]",
        "Iter[0] Batch[1] Train-accuracy=",
        "Iter[0] Batch[2] Train-accuracy=",
        "Epoch[0] Resetting Data Iterator",
        "Epoch[0] Time cost=",
        "Epoch[0] Validation-accuracy=",
    ]


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (lambda: mx.model.FeedForward(NET, num_epoch=1).fit(X), ValueError, "y must be specified"),
        (lambda: mx.model.FeedForward(NET, num_epoch=1).fit(X, Y[:3]), ValueError, "50 samples and 3 labels"),
        (
            lambda: mx.model.FeedForward(NET, num_epoch=1).fit(X, Y, eval_data=(X,)),
            TypeError,
            r"\(data, label\), got 1",
        ),
        (lambda: mx.model.FeedForward(NET).fit(X, Y), AssertionError, "number of epochs"),
        (lambda: mx.model.FeedForward(NET).predict(X), AssertionError, "call fit"),
        (
            lambda: mx.model.FeedForward(NET, arg_params=first()).save("x"),
            AssertionError,
            "neither epoch nor num_epoch",
        ),
        (lambda: mx.model.FeedForward(NET, arg_params={**first(), "z": X}).predict(X), ValueError, 'Find name "z"'),
    ],
)
def test_what_is_wrong_is_said(step, error, text):
    with pytest.raises(error, match=text):
        step()


def test_extra_parameters_may_be_allowed():
    model = mx.model.FeedForward(NET, arg_params={**first(), "z": mx.nd.ones(1)}, allow_extra_params=True)
    assert model.predict(X).shape == (50, 2)
