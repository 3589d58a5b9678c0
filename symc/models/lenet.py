"""LeNet with tanh, as in MXNet's MNIST example (LeCun et al., Gradient-Based Learning, 1998)."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol


def build(num_classes: int) -> Symbol:
    """Digits (N, 1, 28, 28) -> class probabilities (N, num_classes)."""
    net = sym.Variable("data")
    for n_filters in (20, 50):
        net = sym.Convolution(net, kernel=(5, 5), num_filter=n_filters)
        net = sym.Activation(net, act_type="tanh")
        net = sym.Pooling(net, pool_type="max", kernel=(2, 2), stride=(2, 2))
    net = sym.FullyConnected(sym.Flatten(net), num_hidden=500)
    net = sym.Activation(net, act_type="tanh")
    net = sym.FullyConnected(net, num_hidden=num_classes)
    return sym.SoftmaxOutput(net, name="softmax")
