"""Matrix factorisation: users and items as vectors whose product is a rating; embeddings, dot products, MSE."""

import numpy as np

import symc as mx
from symc import autograd, gluon
from symc.gluon import nn

N_USERS, N_ITEMS, RANK, BATCH = 60, 40, 4, 64

rng = np.random.RandomState(0)
tastes, kinds = rng.normal(size=(N_USERS, RANK)), rng.normal(size=(N_ITEMS, RANK))
users, items = rng.randint(0, N_USERS, 640), rng.randint(0, N_ITEMS, 640)
ratings = (tastes[users] * kinds[items]).sum(axis=1) + 3


class Factors(gluon.HybridBlock):
    """A vector and an offset for each user and each item."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.user, self.item = nn.Embedding(N_USERS, RANK), nn.Embedding(N_ITEMS, RANK)
            self.user_offset, self.item_offset = nn.Embedding(N_USERS, 1), nn.Embedding(N_ITEMS, 1)

    def hybrid_forward(self, F, user, item):
        product = F.sum(self.user(user) * self.item(item), axis=1)
        return product + self.user_offset(user).reshape((-1,)) + self.item_offset(item).reshape((-1,))


net = Factors(prefix="factors_")
net.initialize()
for parameter in net.collect_params().values():
    parameter.set_data(mx.nd.array(rng.normal(0, 0.5, parameter.shape)))
net.hybridize()
loss = gluon.loss.L2Loss()
trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05, "wd": 1e-4})
data = gluon.data.ArrayDataset(users.astype("float32"), items.astype("float32"), ratings.astype("float32"))
for epoch in range(6):
    total = 0.0
    for user, item, rating in gluon.data.DataLoader(data, BATCH):
        with autograd.record():
            value = loss(net(user, item), rating)
        value.backward()
        trainer.step(BATCH)
        total += value.mean().asscalar()
    print("epoch", epoch, "loss", round(float(total) / (len(data) / BATCH), 3))
