"""The multilayer perceptron of MXNet's MNIST tutorial: 128, 64, classes."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol


def build(num_classes: int) -> Symbol:
    """Data of any shape (N, ...) -> class probabilities (N, num_classes)."""
    net = sym.Flatten(sym.Variable("data"))
    for k, n_hidden in enumerate((128, 64), start=1):
        net = sym.FullyConnected(net, num_hidden=n_hidden, name=f"fc{k}")
        net = sym.Activation(net, act_type="relu", name=f"relu{k}")
    net = sym.FullyConnected(net, num_hidden=num_classes, name="fc3")
    return sym.SoftmaxOutput(net, name="softmax")
