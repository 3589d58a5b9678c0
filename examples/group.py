"""Several outputs: a group of two losses over one layer, its shapes and types, a training step of both."""

import numpy as np

import symc as mx

net = mx.sym.Variable("data")
fc1 = mx.sym.FullyConnected(data=net, name="fc1", num_hidden=128)
net = mx.sym.Activation(data=fc1, name="relu1", act_type="relu")
out1 = mx.sym.SoftmaxOutput(data=net, name="softmax")
out2 = mx.sym.LinearRegressionOutput(data=net, name="regression")
group = mx.sym.Group([out1, out2])
print(group.list_outputs(), len(group))
print(group["regression_output"].list_arguments())

arg_shapes, out_shapes, aux_shapes = group.infer_shape(data=(4, 10))
print(dict(zip(group.list_arguments(), arg_shapes)), out_shapes, aux_shapes)
arg_types, out_types, aux_types = group.infer_type(data="float32")
print([t.__name__ for t in out_types])

ex = group.simple_bind(ctx=mx.cpu(), data=(4, 10))
rng = np.random.default_rng(0)
ex.arg_dict["fc1_weight"][:] = rng.normal(size=(128, 10))
data, target = rng.normal(size=(4, 10)), rng.normal(size=(4, 128))
softmax, regression = ex.forward(is_train=True, data=data, softmax_label=np.arange(4), regression_label=target)
ex.backward()  # both are losses: neither needs a gradient from outside
print("rows of the softmax sum to", softmax.asnumpy().sum(axis=1).round(5))
print("gradient of the weight:", ex.grad_dict["fc1_weight"].shape, bool(ex.grad_dict["fc1_weight"].asnumpy().any()))
