"""Inception with batch normalisation (Ioffe and Szegedy, Batch Normalization, 2015)."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol

EPS = 1e-10 + 1e-5

# block -> channels of 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pooling kind, projection
BLOCKS: dict[str, tuple[int, int, int, int, int, str, int]] = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),  # no 1x1 and no projection: halves the image
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}


def build(num_classes: int) -> Symbol:
    """Images (N, 3, 224, 224) -> class probabilities (N, num_classes)."""
    net = sym.Variable("data")
    net = _convolution(net, 64, 7, 2, "1")
    net = sym.Pooling(net, kernel=(3, 3), stride=(2, 2), pool_type="max", name="pool_1")
    net = _convolution(net, 64, 1, 1, "2_red")
    net = _convolution(net, 192, 3, 1, "2")
    net = sym.Pooling(net, kernel=(3, 3), stride=(2, 2), pool_type="max", name="pool_2")
    for name, spec in BLOCKS.items():
        net = _block(net, name, *spec)
    net = sym.Pooling(net, kernel=(7, 7), stride=(1, 1), pool_type="avg", name="global_pool")
    net = sym.FullyConnected(sym.Flatten(net), num_hidden=num_classes)
    return sym.SoftmaxOutput(net, name="softmax")


def _block(
    net: Symbol, name: str, n_1x1: int, n_3x3_reduce: int, n_3x3: int, n_double_reduce: int, n_double: int,
    pooling: str, n_projection: int,
) -> Symbol:  # fmt: skip
    """Parallel branches, concatenated along the channels."""
    stride = 1 if n_1x1 else 2
    branches = [_convolution(net, n_1x1, 1, 1, f"{name}_1x1")] if n_1x1 else []
    single = _convolution(net, n_3x3_reduce, 1, 1, f"{name}_3x3_reduce")
    branches.append(_convolution(single, n_3x3, 3, stride, f"{name}_3x3"))
    double = _convolution(net, n_double_reduce, 1, 1, f"{name}_double_3x3_reduce")
    double = _convolution(double, n_double, 3, 1, f"{name}_double_3x3_0")
    branches.append(_convolution(double, n_double, 3, stride, f"{name}_double_3x3_1"))
    pooled = sym.Pooling(
        net, kernel=(3, 3), stride=(stride, stride), pad=(1, 1), pool_type=pooling, name=f"{pooling}_pool_{name}_pool"
    )
    branches.append(_convolution(pooled, n_projection, 1, 1, f"{name}_proj") if n_projection else pooled)
    return sym.Concat(*branches, name=f"ch_concat_{name}_chconcat")


def _convolution(net: Symbol, n_filters: int, kernel: int, stride: int, name: str) -> Symbol:
    net = sym.Convolution(
        net, num_filter=n_filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2),
        name=f"conv_{name}",
    )  # fmt: skip
    return _norm_relu(net, name)


def _norm_relu(net: Symbol, name: str) -> Symbol:
    net = sym.BatchNorm(net, fix_gamma=False, eps=EPS, momentum=0.9, name=f"bn_{name}")
    return sym.Activation(net, act_type="relu", name=f"relu_{name}")
