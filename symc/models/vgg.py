"""VGG (Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014)."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol

CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = {16: (2, 2, 3, 3, 3)}  # depth -> convolutions per stage


def build(num_classes: int, depth: int) -> Symbol:
    """Images (N, 3, 224, 224) -> class probabilities (N, num_classes)."""
    net = sym.Variable("data")
    for stage, (n_layers, n_filters) in enumerate(zip(DEPTHS[depth], CHANNELS), start=1):
        for layer in range(1, n_layers + 1):
            net = sym.Convolution(net, kernel=(3, 3), pad=(1, 1), num_filter=n_filters, name=f"conv{stage}_{layer}")
            net = sym.Activation(net, act_type="relu", name=f"relu{stage}_{layer}")
        net = sym.Pooling(net, pool_type="max", kernel=(2, 2), stride=(2, 2), name=f"pool{stage}")
    net = sym.Flatten(net, name="flatten")
    for k in (6, 7):
        net = sym.FullyConnected(net, num_hidden=4096, name=f"fc{k}")
        net = sym.Activation(net, act_type="relu", name=f"relu{k}")
        net = sym.Dropout(net, p=0.5, name=f"drop{k}")
    net = sym.FullyConnected(net, num_hidden=num_classes, name="fc8")
    return sym.SoftmaxOutput(net, name="softmax")
