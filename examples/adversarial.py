"""Adversarial examples: a small step along the sign of the gradient of the input changes what a network says."""

import numpy as np

import symc as mx
from symc import autograd, gluon
from symc.gluon import nn

rng = np.random.RandomState(0)
patterns = rng.randint(0, 2, (4, 1, 8, 8))
labels = rng.randint(0, 4, 128)
pictures = patterns[labels] + rng.normal(0, 0.3, (128, 1, 8, 8))

net = nn.HybridSequential(prefix="net_")
with net.name_scope():
    net.add(nn.Conv2D(8, kernel_size=3, in_channels=1, activation="relu"), nn.MaxPool2D(2), nn.Dense(4, in_units=72))
net.initialize()
for parameter in net.collect_params().values():
    parameter.set_data(mx.nd.array(rng.normal(0, 0.2, parameter.shape)))
net.hybridize()
loss = gluon.loss.SoftmaxCrossEntropyLoss()
trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
x, y = mx.nd.array(pictures), mx.nd.array(labels)
for _ in range(10):
    with autograd.record():
        value = loss(net(x), y)
    value.backward()
    trainer.step(128)
print("loss", round(float(value.mean().asscalar()), 3))


def accuracy(batch):
    """The share of pictures that the network puts into their class."""
    return round(float((net(batch).argmax(axis=1) == y).mean().asscalar()), 3)


x.attach_grad()
with autograd.record():
    value = loss(net(x), y)
value.backward()
print("accuracy", accuracy(x))
for step in (0.1, 0.3, 0.5):
    print("accuracy after a step of", step, accuracy(x + step * mx.nd.sign(x.grad)))
