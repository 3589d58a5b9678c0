"""SqueezeNet 1.1 (Iandola et al., 2016, and its revision): fire modules that squeeze the channels and expand them."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol

# squeezed and expanded channels of the fire modules; a pooling stands before some
FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
POOL_BEFORE = {2: "pool1", 4: "pool3", 6: "pool5"}


def build(num_classes: int) -> Symbol:
    """Images (N, 3, H, W) -> class probabilities (N, num_classes)."""
    net = _convolution(sym.Variable("data"), 64, "conv1", "relu_conv1", kernel=(3, 3), stride=(2, 2))
    for k, (n_squeezed, n_expanded) in FIRES.items():
        if k in POOL_BEFORE:
            net = sym.Pooling(
                net, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full", name=POOL_BEFORE[k]
            )
        net = _fire(net, n_squeezed, n_expanded, f"fire{k}")
    net = sym.Dropout(net, p=0.5, name="drop9")
    net = _convolution(net, num_classes, "conv10", "relu_conv10", kernel=(1, 1))
    net = sym.Pooling(net, kernel=(13, 13), global_pool=True, pool_type="avg", name="pool10")
    net = sym.Flatten(net, name="flatten")
    return sym.SoftmaxOutput(net, name="softmax")


def _fire(net: Symbol, n_squeezed: int, n_expanded: int, name: str) -> Symbol:
    net = _convolution(net, n_squeezed, f"{name}_squeeze1x1", f"{name}_relu_squeeze1x1", kernel=(1, 1))
    left = _convolution(net, n_expanded, f"{name}_expand1x1", f"{name}_relu_expand1x1", kernel=(1, 1))
    right = _convolution(net, n_expanded, f"{name}_expand3x3", f"{name}_relu_expand3x3", kernel=(3, 3), pad=(1, 1))
    return sym.Concat(left, right, name=f"{name}_concat")


def _convolution(net: Symbol, n_filters: int, name: str, relu_name: str, **geometry: tuple[int, int]) -> Symbol:
    net = sym.Convolution(net, num_filter=n_filters, name=name, **geometry)
    return sym.Activation(net, act_type="relu", name=relu_name)
