"""Gluon: a convolutional network, its loss and trainer, the same hybridized, exported and imported as a SymbolBlock."""

import warnings

import numpy as np

import symc as mx
from symc import autograd, gluon
from symc.gluon import nn

rng = np.random.RandomState(0)
labels = rng.randint(0, 4, 256)
pictures = rng.normal(0, 0.3, (256, 1, 12, 12))
for picture, label in zip(pictures, labels):  # a bright quarter says which class a picture is of
    row, column = divmod(label, 2)
    picture[0, row * 6 : row * 6 + 6, column * 6 : column * 6 + 6] += 1

net = nn.HybridSequential(prefix="net_")
with net.name_scope():
    net.add(nn.Conv2D(8, kernel_size=3, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2), nn.Dense(4))
net.initialize(mx.init.Zero())
net(mx.nd.zeros((1, 1, 12, 12)))  # now all shapes are known
for name, parameter in sorted(net.collect_params(".*weight").items()):
    parameter.set_data(mx.nd.array(rng.normal(0, 0.2, parameter.shape)))
    print(name, parameter.shape)

loss = gluon.loss.SoftmaxCrossEntropyLoss()
trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9})


def epoch():
    """Trains on all pictures once; the mean loss and the accuracy."""
    accuracy, total = mx.metric.Accuracy(), 0.0
    for start in range(0, 256, 32):
        x, y = mx.nd.array(pictures[start : start + 32]), mx.nd.array(labels[start : start + 32])
        with autograd.record():
            scores = net(x)
            value = loss(scores, y)
        value.backward()
        trainer.step(32)
        accuracy.update([y], [scores])
        total += float(value.mean().asscalar())
    return round(total / 8, 3), round(float(accuracy.get()[1]), 2)


print("as it is written:", epoch())
net.hybridize()
print("hybridized:", epoch())

net.export("quarters", epoch=2)
warnings.filterwarnings("ignore", "Cannot decide type")  # of the data, which the file does not say
loaded = gluon.SymbolBlock.imports("quarters-symbol.json", ["data"], "quarters-0002.params")
some = mx.nd.array(pictures[:8])
print("difference of the imported network:", float(abs(loaded(some) - net(some)).max().asscalar()))
