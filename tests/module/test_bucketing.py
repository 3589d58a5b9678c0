"""`BucketingModule`: losses and parameters are MXNet's (recorded from it)."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx

S = mx.sym


def generate(length):
    x = S.mean(S.Embedding(S.Variable("data"), input_dim=10, output_dim=4, name="emb"), axis=1)
    return S.SoftmaxOutput(S.FullyConnected(x, num_hidden=3), name="softmax"), ["data"], ["softmax_label"]


class Sentences(mx.io.DataIter):
    """Batches of 4 rows of 3, 8 and 5 numbers."""

    def __init__(self):
        super().__init__(4)
        self.provide_data = [mx.io.DataDesc("data", (4, 8))]
        self.provide_label = [mx.io.DataDesc("softmax_label", (4,))]
        self.number = 0

    def reset(self):
        self.number = 0

    def next(self):
        if self.number == 6:
            raise StopIteration
        length = (3, 8, 5)[self.number % 3]
        rows = np.random.RandomState(self.number).randint(0, 10, (4, length))
        self.number += 1
        shapes = {"provide_data": [mx.io.DataDesc("data", (4, length))], "provide_label": self.provide_label}
        return mx.io.DataBatch([mx.nd.array(rows)], [mx.nd.array(rows[:, 0] % 3)], 0, bucket_key=length, **shapes)


@pytest.fixture(scope="module")
def trained():
    rng = np.random.RandomState(1)
    shapes = {"emb_weight": (10, 4), "fullyconnected0_weight": (3, 4)}
    first = {name: mx.nd.array(rng.normal(size=shape)) for name, shape in shapes.items()}
    module = mx.mod.BucketingModule(generate, 8)
    losses = []
    module.fit(
        Sentences(), Sentences(), "ce", optimizer_params={"learning_rate": 0.5, "momentum": 0.9}, num_epoch=3,
        arg_params={**first, "fullyconnected0_bias": mx.nd.zeros(3)},
        eval_end_callback=lambda p: losses.append(p.eval_metric.get()[1]),
    )  # fmt: skip
    return module, losses


def test_buckets_train_the_same_parameters(trained):
    module, losses = trained
    assert losses == pytest.approx([0.878543, 0.554987, 0.316268], abs=1e-5)
    args, _ = module.get_params()
    assert {n: round(float(a.asnumpy().sum()), 3) for n, a in args.items()} == pytest.approx(
        {"emb_weight": -0.6696, "fullyconnected0_weight": 2.2561, "fullyconnected0_bias": 0}, abs=2e-3
    )
    assert module.score(Sentences(), "acc") == [("accuracy", pytest.approx(23 / 24))]
    assert [out.shape for (out,) in module.predict(Sentences(), merge_batches=False)] == [(4, 3)] * 6


def test_checkpoints_hold_every_bucket(trained, tmp_path):
    module, _ = trained
    prefix = str(tmp_path / "bk")
    module.save_checkpoint(prefix, 2)
    names = ["bk-0002.params", "bk-3-symbol.json", "bk-5-symbol.json", "bk-8-symbol.json", "bk.buckets"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert sorted((tmp_path / "bk.buckets").read_text().split()) == ["3", "5", "8"]
    loaded = mx.mod.BucketingModule.load(prefix, 2, sym_gen=generate, default_bucket_key=8)
    loaded.bind(Sentences().provide_data, Sentences().provide_label, for_training=False)
    assert loaded.score(Sentences(), "acc") == module.score(Sentences(), "acc")
    with pytest.raises(AssertionError, match="sym_gen is required"):
        mx.mod.BucketingModule.load(prefix, 2, default_bucket_key=8)


def test_what_is_wrong_is_said(trained):
    module, _ = trained
    with pytest.raises(AssertionError, match="default_bucket_key must be given"):
        mx.mod.BucketingModule(generate)
    with pytest.raises(AssertionError, match="must have bucket_key"):
        module.forward(mx.io.DataBatch([mx.nd.zeros((4, 3))]))
    with pytest.raises(AssertionError, match=r"call bind\(\) first"):
        mx.mod.BucketingModule(generate, 8).forward(None)
