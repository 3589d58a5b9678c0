"""Multi-task: one body with two heads and two losses, each with a weight and a metric of its own."""

import numpy as np

import symc as mx

rng = np.random.RandomState(0)
points = rng.normal(size=(256, 8)).astype("float32")
quarter = (points[:, 0] > 0) * 2 + (points[:, 1] > 0)  # which of four, and whether far from the centre
is_far = (np.square(points).sum(axis=1) > 8).astype("float32")

body = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=32, name="body")
body = mx.sym.Activation(body, act_type="relu")
first = mx.sym.FullyConnected(body, num_hidden=4, name="quarter")
second = mx.sym.FullyConnected(body, num_hidden=2, name="far")
net = mx.sym.Group(
    [mx.sym.SoftmaxOutput(first, name="softmax1"), mx.sym.SoftmaxOutput(second, name="softmax2", grad_scale=0.5)]
)


class OfEachTask(mx.metric.EvalMetric):
    """The accuracy of every head."""

    def __init__(self, n_tasks):
        self.parts = [mx.metric.Accuracy(name=f"task{k}") for k in range(n_tasks)]
        super().__init__("tasks")

    def reset(self):
        for part in self.parts:
            part.reset()

    def update(self, labels, preds):
        for part, label, pred in zip(self.parts, labels, preds):
            part.update([label], [pred])

    def get(self):
        return [part.get()[0] for part in self.parts], [round(float(part.get()[1]), 3) for part in self.parts]


batches = mx.io.NDArrayIter({"data": points}, {"softmax1_label": quarter, "softmax2_label": is_far}, batch_size=32)
module = mx.mod.Module(net, label_names=["softmax1_label", "softmax2_label"])
module.bind(batches.provide_data, batches.provide_label)
shapes = dict(zip(net.list_arguments(), net.infer_shape(data=(32, 8))[0]))
names = [name for name in net.list_arguments() if name not in ("data", "softmax1_label", "softmax2_label")]
module.init_params(arg_params={n: mx.nd.array(rng.normal(0, 0.3, shapes[n])) for n in names}, aux_params={})
module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.2, "momentum": 0.9})
metric = OfEachTask(2)
for epoch in range(5):
    metric.reset()
    batches.reset()
    for batch in batches:
        module.forward_backward(batch)
        module.update()
        module.update_metric(metric, batch.label)
    print("epoch", epoch, *metric.get())
