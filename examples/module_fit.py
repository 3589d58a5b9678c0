"""Module.fit on data in memory: metrics, checkpoints of every epoch, going on from one, scores and predictions."""

import logging
import sys

import numpy as np

import symc as mx

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
logging.getLogger().addFilter(lambda record: "Time cost" not in record.getMessage())  # the same text in every run

rng = np.random.RandomState(0)
points = rng.uniform(-1, 1, (600, 2)).astype("float32")
is_outside = (np.square(points).sum(axis=1) > 0.6).astype("float32")
train = mx.io.NDArrayIter(points[:500], is_outside[:500], batch_size=50)
test = mx.io.NDArrayIter(points[500:], is_outside[500:], batch_size=50)

net = mx.sym.Variable("data")
for k, size in enumerate((16, 16)):
    net = mx.sym.Activation(mx.sym.FullyConnected(net, num_hidden=size, name=f"fc{k}"), act_type="tanh")
net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=2, name="out"), name="softmax")

shapes, _, _ = net.infer_shape(data=(50, 2))
named = zip(net.list_arguments(), shapes)
first = {n: mx.nd.array(rng.normal(size=s)) for n, s in named if n not in ("data", "softmax_label")}

module = mx.mod.Module(net, context=mx.cpu())
module.fit(
    train,
    eval_data=test,
    optimizer="adam",
    optimizer_params={"learning_rate": 0.02},
    arg_params=first,
    num_epoch=4,
    epoch_end_callback=mx.callback.do_checkpoint("circle", period=2),
)

symbol, args, states = mx.model.load_checkpoint("circle", 4)
again = mx.mod.Module(symbol)
again.fit(
    train,
    optimizer="adam",
    optimizer_params={"learning_rate": 0.02},
    arg_params=args,
    aux_params=states,
    begin_epoch=4,
    num_epoch=6,
)
((name, value),) = again.score(test, "acc")
print(name, round(float(value), 2))
print("probabilities of the first points:", again.predict(test).asnumpy()[:3].round(1).tolist())
