"""DCGAN: a generator of transposed convolutions against a discriminator of strided ones, two trainers in turn."""

import numpy as np

import symc as mx
from symc import autograd, gluon
from symc.gluon import nn

BATCH, CODE = 16, 8

rng = np.random.RandomState(0)
real = np.tanh(rng.normal(size=(64, 1, 1, 1)) * np.ones((64, 1, 16, 16)) + rng.normal(0, 0.2, (64, 1, 16, 16)))

generator = nn.HybridSequential(prefix="generator_")
with generator.name_scope():
    generator.add(nn.Conv2DTranspose(16, 4, 1, 0, use_bias=False, in_channels=CODE))  # 4 x 4
    generator.add(nn.BatchNorm(in_channels=16), nn.Activation("relu"))
    generator.add(nn.Conv2DTranspose(8, 4, 2, 1, use_bias=False, in_channels=16))  # 8 x 8
    generator.add(nn.BatchNorm(in_channels=8), nn.Activation("relu"))
    generator.add(nn.Conv2DTranspose(1, 4, 2, 1, use_bias=False, in_channels=8), nn.Activation("tanh"))  # 16 x 16

discriminator = nn.HybridSequential(prefix="discriminator_")
with discriminator.name_scope():
    discriminator.add(nn.Conv2D(8, 4, 2, 1, use_bias=False, in_channels=1), nn.LeakyReLU(0.2))
    discriminator.add(nn.Conv2D(16, 4, 2, 1, use_bias=False, in_channels=8))
    discriminator.add(nn.BatchNorm(in_channels=16), nn.LeakyReLU(0.2))
    discriminator.add(nn.Conv2D(2, 4, 1, 0, use_bias=False, in_channels=16))

trainers = []
for net in (generator, discriminator):
    net.initialize()
    for parameter in net.collect_params(".*weight").values():
        parameter.set_data(mx.nd.array(rng.normal(0, 0.1, parameter.shape)))
    net.hybridize()
    trainers.append(gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.002, "beta1": 0.5}))

loss = gluon.loss.SoftmaxCrossEntropyLoss()
of_real, of_fake = mx.nd.ones((BATCH,)), mx.nd.zeros((BATCH,))
for epoch in range(3):
    totals = np.zeros(2)
    for start in range(0, 64, BATCH):
        pictures = mx.nd.array(real[start : start + BATCH])
        noise = mx.nd.array(rng.normal(size=(BATCH, CODE, 1, 1)))
        with autograd.record():
            said = discriminator(pictures).reshape((BATCH, 2))
            fake = generator(noise)
            said_of_fake = discriminator(fake.detach()).reshape((BATCH, 2))
            value = loss(said, of_real) + loss(said_of_fake, of_fake)
        value.backward()
        trainers[1].step(BATCH)
        totals[1] += value.mean().asscalar()
        with autograd.record():
            value = loss(discriminator(generator(noise)).reshape((BATCH, 2)), of_real)
        value.backward()
        trainers[0].step(BATCH)
        totals[0] += value.mean().asscalar()
    generated, judged = (totals / (64 / BATCH)).round(3)
    print("epoch", epoch, "loss of the generator", generated, "of the discriminator", judged)
