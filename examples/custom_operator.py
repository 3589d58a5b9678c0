"""An operator written in Python: a loss with its own gradient, trained in a network and recorded by autograd."""

import numpy as np

import symc as mx


class Softmax(mx.operator.CustomOp):
    """Probabilities; what flows back is their difference from the labels."""

    def forward(self, is_train, req, in_data, out_data, aux):
        x = in_data[0].asnumpy()
        y = np.exp(x - x.max(axis=1, keepdims=True))
        self.assign(out_data[0], req[0], mx.nd.array(y / y.sum(axis=1, keepdims=True)))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        labels = in_data[1].asnumpy().astype(int)
        y = out_data[0].asnumpy().copy()
        y[np.arange(len(labels)), labels] -= 1
        self.assign(in_grad[0], req[0], mx.nd.array(y))
        self.assign(in_grad[1], req[1], 0)


@mx.operator.register("example_softmax")
class SoftmaxProp(mx.operator.CustomOpProp):
    """Parameters come as strings."""

    def __init__(self, name_of_output="output"):
        super().__init__(need_top_grad=False)
        self.name_of_output = name_of_output

    def list_arguments(self):
        return ["data", "label"]

    def list_outputs(self):
        return [self.name_of_output]

    def infer_shape(self, in_shape):
        return [in_shape[0], in_shape[0][:1]], [in_shape[0]], []

    def create_operator(self, ctx, shapes, dtypes):
        return Softmax()


# A network with the loss at its end; the label that is not given becomes a variable.
net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
net = mx.sym.Custom(net, op_type="example_softmax", name_of_output="probability", name="softmax")
print(net.list_arguments(), net.list_outputs())

rng = np.random.RandomState(0)
data = rng.uniform(-1, 1, (60, 4)).astype("float32")
labels = data[:, :3].argmax(axis=1).astype("float32")
ex = net.simple_bind(mx.cpu(), data=data.shape)
ex.arg_dict["data"][:] = data
ex.arg_dict["softmax_label"][:] = labels
ex.arg_dict["fc_weight"][:] = rng.normal(0, 0.1, (3, 4))
for step in range(60):
    (probability,) = ex.forward(is_train=True)
    ex.backward()
    for name in ("fc_weight", "fc_bias"):
        ex.arg_dict[name][:] -= 0.05 * ex.grad_dict[name]
    if step % 20 == 0:
        print("step", step, "right:", int((probability.asnumpy().argmax(axis=1) == labels).sum()))
print("largest gradient of a label:", float(ex.grad_dict["softmax_label"].asnumpy().max()))

# The same operator at once, and its gradient.
x = mx.nd.array([[1, 2, 3]])
x.attach_grad()
with mx.autograd.record():
    y = mx.nd.Custom(x, mx.nd.array([2]), op_type="example_softmax")
y.backward()
print(y.asnumpy().round(3).tolist(), x.grad.asnumpy().round(3).tolist())
