"""Composing symbols: operators, layers, names, arguments; naming weights; joining two networks."""

import symc as mx

# Variables and operators make new symbols; automatic names count up.
a = mx.sym.Variable("a")
b = mx.sym.Variable("b")
c = a + b
print(c.name, c.list_arguments(), c.list_outputs())
d = mx.sym.dot(a * b + mx.sym.broadcast_to(mx.sym.reshape(a, shape=(1, 4)), shape=(2, 4)), b, transpose_b=True)
print(d.name, d.list_arguments())

# A multilayer perceptron. Weights and biases that are not given become variables.
net = mx.sym.Variable("data")
net = mx.sym.FullyConnected(net, name="fc1", num_hidden=128)
net = mx.sym.Activation(net, name="relu1", act_type="relu")
net = mx.sym.FullyConnected(net, name="fc2", num_hidden=10)
net = mx.sym.SoftmaxOutput(net, name="out")
print("mlp:", net.list_arguments())

# A weight with a name of one's own.
net = mx.sym.Variable("data")
weight = mx.sym.Variable("myweight")
net = mx.sym.FullyConnected(data=net, weight=weight, name="fc1", num_hidden=128)
print("own weight:", net.list_arguments())

# The sum of two variables into a layer.
lhs = mx.sym.Variable("data1")
rhs = mx.sym.Variable("data2")
net = mx.sym.FullyConnected(data=lhs + rhs, name="fc1", num_hidden=128)
print("sum:", net.list_arguments())

# A network as the input of another: its variable data2 is replaced.
data = mx.sym.Variable("data")
net1 = mx.sym.FullyConnected(data=data, name="fc1", num_hidden=10)
data2 = mx.sym.Variable("data2")
net2 = mx.sym.FullyConnected(data=data2, name="fc2", num_hidden=10)
composed = net2(data2=net1, name="composed")
print("composed:", composed.name, composed.list_arguments())
print("unchanged:", net2.name, net2.list_arguments())

# One prefix for the names of many layers.
data = mx.sym.Variable("data")
net = data
with mx.name.Prefix("layer1_"):
    for k in range(3):
        net = mx.sym.FullyConnected(net, name=f"fc{k}", num_hidden=10)
print("prefix:", net.list_arguments())
