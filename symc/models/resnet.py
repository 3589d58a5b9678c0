"""ResNet with pre-activation units (He et al., Identity Mappings in Deep Residual Networks, 2016)."""

from __future__ import annotations

from symc import symbol as sym
from symc.symbol import Symbol

EPS = 2e-5
WORKSPACE = 256  # a hint for MXNet's convolutions; recorded in the symbol

# depth -> (units per stage, channels per stage, whether units are bottlenecks)
DEPTHS = {
    18: ((2, 2, 2, 2), (64, 128, 256, 512), False),
    50: ((3, 4, 6, 3), (256, 512, 1024, 2048), True),
}


def build(num_classes: int, depth: int) -> Symbol:
    """Images (N, 3, H, W) -> class probabilities (N, num_classes)."""
    n_units, channels, is_bottleneck = DEPTHS[depth]
    net = sym._internal._copy(sym.Variable("data"), name="id")
    net = sym.BatchNorm(net, fix_gamma=True, eps=EPS, momentum=0.9, name="bn_data")
    net = _convolution(net, 64, 7, 2, "conv0")
    net = _norm_relu(net, "bn0", "relu0")
    net = sym.Pooling(net, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    for stage, (n, n_filters) in enumerate(zip(n_units, channels), start=1):
        for unit in range(1, n + 1):
            stride = 2 if unit == 1 and stage > 1 else 1
            net = _unit(net, n_filters, stride, unit > 1, f"stage{stage}_unit{unit}", is_bottleneck)
    net = _norm_relu(net, "bn1", "relu1")
    net = sym.Pooling(net, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    net = sym.FullyConnected(sym.Flatten(net), num_hidden=num_classes, name="fc1")
    return sym.SoftmaxOutput(net, name="softmax")


def _unit(net: Symbol, n_filters: int, stride: int, is_same_shape: bool, name: str, is_bottleneck: bool) -> Symbol:
    """Normalisation and activation before each convolution, the shortcut around all of them.

    A shortcut that changes the shape starts after the first activation.
    """
    inner = n_filters // 4
    if is_bottleneck:
        convolutions = [(inner, 1, 1), (inner, 3, stride), (n_filters, 1, 1)]  # channels, kernel, stride
    else:
        convolutions = [(n_filters, 3, stride), (n_filters, 3, 1)]
    branch = activated = _norm_relu(net, f"{name}_bn1", f"{name}_relu1")
    for k, (n, kernel, step) in enumerate(convolutions, start=1):
        if k > 1:
            branch = _norm_relu(branch, f"{name}_bn{k}", f"{name}_relu{k}")
        branch = _convolution(branch, n, kernel, step, f"{name}_conv{k}")
    if is_same_shape:
        return branch + net
    return branch + sym.Convolution(
        activated, num_filter=n_filters, kernel=(1, 1), stride=(stride, stride), no_bias=True, workspace=WORKSPACE,
        name=f"{name}_sc",
    )  # fmt: skip


def _norm_relu(net: Symbol, norm_name: str, relu_name: str) -> Symbol:
    net = sym.BatchNorm(net, fix_gamma=False, eps=EPS, momentum=0.9, name=norm_name)
    return sym.Activation(net, act_type="relu", name=relu_name)


def _convolution(net: Symbol, n_filters: int, kernel: int, stride: int, name: str) -> Symbol:
    return sym.Convolution(
        net, num_filter=n_filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2),
        no_bias=True, workspace=WORKSPACE, name=name,
    )  # fmt: skip
