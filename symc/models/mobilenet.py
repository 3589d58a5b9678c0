"""MobileNet v1 (Howard et al., 2017): depthwise 3 x 3 and pointwise convolutions in turn."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol

# output channels and stride of each depthwise-pointwise pair
PAIRS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def build(num_classes: int) -> Symbol:
    """Images (N, 3, 224, 224) -> class probabilities (N, num_classes)."""
    net, n_channels = _convolution(sym.Variable("data"), 32, 3, 2, 1, "conv_1"), 32
    for k, (n_filters, stride) in enumerate(PAIRS, start=2):
        net = _convolution(net, n_channels, 3, stride, n_channels, f"conv_{k}_dw")
        net, n_channels = _convolution(net, n_filters, 1, 1, 1, f"conv_{k}"), n_filters
    net = sym.Pooling(net, kernel=(7, 7), stride=(1, 1), pool_type="avg", name="global_pool")
    net = sym.Flatten(net, name="flatten")
    net = sym.FullyConnected(net, num_hidden=num_classes, name="fc")
    return sym.SoftmaxOutput(net, name="softmax")


def _convolution(net: Symbol, n_filters: int, kernel: int, stride: int, n_groups: int, name: str) -> Symbol:
    net = sym.Convolution(
        net, num_filter=n_filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2),
        num_group=n_groups, no_bias=True, name=f"{name}_conv2d",
    )  # fmt: skip
    net = sym.BatchNorm(net, fix_gamma=True, name=f"{name}_batchnorm")
    return sym.Activation(net, act_type="relu", name=f"{name}_relu")
