"""A single-shot detector: anchors at two scales, their targets, two losses, training steps, and the boxes it finds."""

import numpy as np

import symc as mx

nn, nd = mx.gluon.nn, mx.nd
rng = np.random.RandomState(0)
SIZES, RATIOS = ((0.3, 0.4), (0.55, 0.7)), (1, 2, 0.5)
N_ANCHORS = len(SIZES[0]) + len(RATIOS) - 1  # at each place


def scenes(n):
    """Noise with one bright (0) or dark (1) rectangle; the labels are (n, 1, 5): class, left, top, right, bottom."""
    images = rng.normal(0, 0.1, (n, 1, 32, 32))
    labels = np.empty((n, 1, 5))
    for image, label in zip(images, labels):
        kind, (width, height) = rng.randint(2), rng.randint(8, 20, 2)
        left, top = rng.randint(32 - width), rng.randint(32 - height)
        image[0, top : top + height, left : left + width] += 1 - 2 * kind
        label[0] = kind, left / 32, top / 32, (left + width) / 32, (top + height) / 32
    return nd.array(images), nd.array(labels)


def halved(channels):
    """A convolution, and half the extent."""
    block = nn.HybridSequential()
    block.add(nn.Conv2D(channels, 3, padding=1, activation="relu"), nn.MaxPool2D(2))
    return block


class Detector(mx.gluon.HybridBlock):
    """Images (N, 1, 32, 32) -> anchors (1, A, 4), scores (N, A, 3) of nothing and both classes, offsets (N, A * 4)."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.body, self.smaller = nn.HybridSequential(), halved(16)
            self.body.add(halved(8), halved(16))
            self.scores = [nn.Conv2D(N_ANCHORS * 3, 3, padding=1) for _ in SIZES]
            self.offsets = [nn.Conv2D(N_ANCHORS * 4, 3, padding=1) for _ in SIZES]
            for block in self.scores + self.offsets:
                self.register_child(block)

    def hybrid_forward(self, F, x):
        wide = self.body(x)
        found = []
        for seen, sizes, scores, offsets in zip((wide, self.smaller(wide)), SIZES, self.scores, self.offsets):
            anchors = F.contrib.MultiBoxPrior(seen, sizes=sizes, ratios=RATIOS)
            of_places = [F.flatten(F.transpose(y(seen), (0, 2, 3, 1))) for y in (scores, offsets)]
            found.append([anchors, *of_places])
        anchors, scores, offsets = (F.concat(*parts, dim=1) for parts in zip(*found))
        return anchors, scores.reshape((0, -1, 3)), offsets


net = Detector()
net.initialize(mx.init.Zero())
net.hybridize()
images, labels = scenes(64)
net(images)  # decides the shapes of all parameters
for parameter in net.collect_params().values():
    if parameter.name.endswith("weight"):
        parameter.set_data(nd.array(rng.normal(0, 0.1, parameter.shape)))

class_loss, box_loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(), mx.gluon.loss.L1Loss()
trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.3, "momentum": 0.9, "wd": 1e-4})
for epoch in range(12):
    total = 0.0
    for first in range(0, 64, 16):
        data, label = images[first : first + 16], labels[first : first + 16]
        with mx.autograd.record():
            anchors, scores, offsets = net(data)
            wanted, mask, classes = nd.contrib.MultiBoxTarget(anchors, label, scores.transpose((0, 2, 1)))
            loss = class_loss(scores, classes) + box_loss(offsets * mask, wanted * mask)
        loss.backward()
        trainer.step(16)
        total += loss.mean().asscalar() / 4
    if epoch % 3 == 2:
        print("epoch", epoch, f"loss {total:.4f}")

images, labels = scenes(4)
anchors, scores, offsets = net(images)
detected = nd.contrib.MultiBoxDetection(nd.softmax(scores).transpose((0, 2, 1)), offsets, anchors, nms_threshold=0.4)
for rows, label in zip(detected.asnumpy(), labels.asnumpy()):
    kind, score, *box = rows[0].round(2)
    print(f"class {kind:.0f} of {label[0, 0]:.0f}, score {score:.2f}, box", *box, "of", *label[0, 1:].round(2))
