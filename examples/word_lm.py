"""A language model of words: LSTM cells in a BucketingModule, a network for each length; and the same in Gluon."""

import random

import numpy as np

import symc as mx
from symc import autograd, gluon

random.seed(0)
np.random.seed(0)  # noqa: NPY002  the iterator draws from it
rng = np.random.RandomState(0)


def sentence():
    """A few words that follow from each other."""
    kind = rng.randint(0, 3)
    words = [
        "the",
        *["old", "small"][: rng.randint(0, 3)],
        *[("dog", "barks"), ("cat", "sleeps"), ("bird", "sings")][kind],
    ]
    return [*words, *["at", "night"][: 2 * rng.randint(0, 2)]]


N_HIDDEN, N_EMBEDDED, BATCH = 16, 8, 8
sentences, vocabulary = mx.rnn.encode_sentences([sentence() for _ in range(120)], start_label=1, invalid_label=0)
batches = mx.rnn.BucketSentenceIter(sentences, BATCH, buckets=[4, 7], invalid_label=0)
print(len(vocabulary), "words; buckets", batches.buckets)


def weight(shape):
    """Weights that do not depend on a library's random numbers."""
    return mx.nd.array(rng.uniform(-0.3, 0.3, shape))


# -- mx.rnn and BucketingModule: a network for each length, with one set of weights -----------------------------------

cells = mx.rnn.SequentialRNNCell()
cells.add(mx.rnn.LSTMCell(N_HIDDEN, prefix="lstm_"))


def network(length):
    data, label = mx.sym.var("data"), mx.sym.var("softmax_label")
    words = mx.sym.Embedding(data, input_dim=len(vocabulary), output_dim=N_EMBEDDED, name="embed")
    cells.reset()
    outputs, _ = cells.unroll(length, words, merge_outputs=True)
    scores = mx.sym.FullyConnected(outputs.reshape((-1, N_HIDDEN)), num_hidden=len(vocabulary), name="scores")
    probabilities = mx.sym.SoftmaxOutput(
        scores, label.reshape((-1,)), use_ignore=True, ignore_label=0, normalization="valid", name="softmax"
    )
    return probabilities, ("data",), ("softmax_label",)


module = mx.mod.BucketingModule(network, default_bucket_key=batches.default_bucket_key)
module.bind(batches.provide_data, batches.provide_label)
module.init_params(mx.init.Zero())
zeros, _ = module.get_params()
module.set_params({name: weight(zeros[name].shape) for name in sorted(zeros)}, {})
options = {"learning_rate": 0.3, "momentum": 0.9, "rescale_grad": 1.0}
module.init_optimizer(optimizer="sgd", optimizer_params=options)
for epoch in range(3):
    batches.reset()
    perplexity = mx.metric.Perplexity(ignore_label=0)
    for batch in batches:
        module.forward_backward(batch)
        module.update()
        module.update_metric(perplexity, batch.label)
    print(f"buckets, epoch {epoch}: perplexity {perplexity.get()[1]:.3f}")

weights, _ = module.get_params()
mx.rnn.save_rnn_checkpoint(cells, "lm", 3, network(7)[0], weights, {})
print([name for name in sorted(mx.nd.load("lm-0003.params")) if name.startswith("arg:lstm_h2h")])


# -- Gluon: one layer over the text as a whole, in stretches of which each goes on with the states of the one before --


class Model(gluon.HybridBlock):
    def __init__(self):
        super().__init__(prefix="model_")
        with self.name_scope():
            self.embed = gluon.nn.Embedding(len(vocabulary), N_EMBEDDED)
            self.lstm = gluon.rnn.LSTM(N_HIDDEN, input_size=N_EMBEDDED)
            self.scores = gluon.nn.Dense(len(vocabulary), flatten=False, in_units=N_HIDDEN)

    def hybrid_forward(self, F, words, states):
        outputs, states = self.lstm(self.embed(words), states)
        return self.scores(outputs), states


text = np.concatenate([[*s, 0] for s in sentences])  # 0 ends a sentence
stretch = 10
columns = text[: len(text) // BATCH * BATCH].reshape(BATCH, -1).T
model = Model()
model.initialize(mx.init.Zero())
for _, parameter in sorted(model.collect_params().items()):
    parameter.set_data(weight(parameter.shape))
model.hybridize()
loss = gluon.loss.SoftmaxCrossEntropyLoss()
trainer = gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 1.0, "momentum": 0.9})
for epoch in range(3):
    states = model.lstm.begin_state(BATCH)
    losses = []
    for start in range(0, len(columns) - stretch, stretch):
        words = mx.nd.array(columns[start : start + stretch])
        following = mx.nd.array(columns[start + 1 : start + stretch + 1])
        states = [state.detach() for state in states]
        with autograd.record():
            scores, states = model(words, states)
            value = loss(scores.reshape((-1, len(vocabulary))), following.reshape((-1,)))
        value.backward()
        gluon.utils.clip_global_norm([p.grad() for p in model.collect_params().values()], 20.0)
        trainer.step(stretch * BATCH)
        losses.append(float(value.mean().asscalar()))
    print(f"gluon, epoch {epoch}: perplexity {np.exp(np.mean(losses)):.3f}")
