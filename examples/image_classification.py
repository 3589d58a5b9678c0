"""Images packed into a record file, read back cut and mirrored at random, and a network that learns them."""

import random

import numpy as np

import symc as mx
from symc import autograd, gluon
from symc.gluon import nn

KINDS = ("square", "disc", "cross")
random.seed(1)  # crops, mirrors and the order of images
rng = np.random.RandomState(1)


def picture(kind):
    """A shape somewhere in noise, uint8 (28, 28, 3), blue first as OpenCV has it."""
    image = rng.randint(0, 90, (28, 28, 3))
    (row, column), size = rng.randint(9, 19, 2), rng.randint(4, 7)
    y, x = np.abs(np.arange(28)[:, None] - row), np.abs(np.arange(28) - column)
    inside = {"square": np.maximum(y, x) <= size - 1, "disc": y**2 + x**2 <= size**2, "cross": np.minimum(y, x) <= 1}
    inside["cross"] = inside["cross"] & (np.maximum(y, x) <= size)
    image[inside[kind]] = rng.randint(150, 256, 3)
    return image.astype("uint8")


def pack(name, n_images):
    """Writes name.rec and name.idx; `symc im2rec` does that with files of images."""
    record = mx.recordio.MXIndexedRecordIO(name + ".idx", name + ".rec", "w")
    for k in range(n_images):
        header = mx.recordio.IRHeader(0, k % len(KINDS), k, 0)
        record.write_idx(k, mx.recordio.pack_img(header, picture(KINDS[k % len(KINDS)]), quality=3, img_fmt=".png"))
    record.close()


pack("train", 240)
pack("test", 60)

common = dict(batch_size=30, data_shape=(3, 24, 24))
train = mx.image.ImageIter(
    path_imgrec="train.rec", path_imgidx="train.idx", shuffle=True, rand_crop=True, rand_mirror=True,
    mean=np.array([80.0] * 3), std=np.array([60.0] * 3), **common
)  # fmt: skip
scale = {f"{kind}_{channel}": v for kind, v in (("mean", 80), ("std", 60)) for channel in "rgb"}
test = mx.io.ImageRecordIter(path_imgrec="test.rec", verbose=False, **common, **scale)
print(test.provide_data[0].shape, test.provide_label[0].shape)

net = nn.HybridSequential()
net.add(nn.Conv2D(12, 7, activation="relu"), nn.MaxPool2D(6), nn.Flatten(), nn.Dense(len(KINDS)))
net.initialize()
net(mx.nd.zeros((1, 3, 24, 24)))
for parameter in net.collect_params().values():  # the same in every library
    size = 0 if parameter.name.endswith("bias") else 1 / np.sqrt(np.prod(parameter.shape[1:]))
    parameter.set_data(mx.nd.array(rng.uniform(-1, 1, parameter.shape) * size))
net.hybridize()

loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
accuracy = mx.metric.Accuracy()


def score(iterator):
    """The part of images that the network knows."""
    accuracy.reset()
    iterator.reset()
    for batch in iterator:
        accuracy.update(batch.label, [net(batch.data[0].as_in_context(mx.cpu()))])
    return accuracy.get()[1]


for epoch in range(6):
    train.reset()
    total = 0.0
    for batch in train:
        with autograd.record():
            loss = loss_of(net(batch.data[0]), batch.label[0])
        loss.backward()
        trainer.step(train.batch_size)
        total += float(loss.mean().asscalar())
    print(f"epoch {epoch}: loss {total / 8:.2f}, accuracy {score(test):.2f}")
