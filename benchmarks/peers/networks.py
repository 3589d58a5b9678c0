"""The networks of workloads.py that MXNet's model zoo lacks, as MXNet Symbols of the inputs that the workload names."""

from __future__ import annotations

import mxnet as mx

from workloads import RECURRENT

Symbol = mx.sym.Symbol

# block -> channels of 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pooling kind, projection.
# Without 1x1 and projection it halves the image.
INCEPTION_BLOCKS = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
UNET_CHANNELS = (32, 64, 128, 256, 512)


def mlp() -> Symbol:
    """The perceptron 512-256-128-2 of MXNet's tutorial."""
    net = mx.sym.var("data")
    for i, n_hidden in enumerate((256, 128)):
        net = mx.sym.FullyConnected(net, num_hidden=n_hidden, name=f"fc{i}")
        net = mx.sym.Activation(net, act_type="relu", name=f"relu{i}")
    return mx.sym.FullyConnected(net, num_hidden=2, name="fc2")


def lenet() -> Symbol:
    """LeNet of MXNet's tutorial on digits."""
    net = mx.sym.var("data")
    for i, n_filters in enumerate((20, 50)):
        net = mx.sym.Convolution(net, num_filter=n_filters, kernel=(5, 5), name=f"conv{i}")
        net = mx.sym.Activation(net, act_type="tanh", name=f"tanh{i}")
        net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name=f"pool{i}")
    net = mx.sym.Activation(mx.sym.FullyConnected(net, num_hidden=500, name="fc0"), act_type="tanh", name="tanh2")
    return mx.sym.FullyConnected(net, num_hidden=10, name="fc1")


def lstm() -> Symbol:
    """Two layers, as Gluon's LSTM makes them."""
    return _recurrent("lstm")


def gru() -> Symbol:
    """A layer in both directions, as Gluon's GRU makes it."""
    return _recurrent("gru")


def _recurrent(name: str) -> Symbol:
    kind = RECURRENT[name]
    states = ("state", "state_cell") if kind.mode == "lstm" else ("state",)
    return mx.sym.RNN(
        **{name: mx.sym.var(name) for name in ("data", "parameters", *states)},
        mode=kind.mode, state_size=256, num_layers=kind.n_layers, bidirectional=kind.n_directions == 2,
        state_outputs=True, name=name,
    )[0]  # fmt: skip


def bert_layer() -> Symbol:
    """A layer of BERT-base (Devlin et al., 2018), 12 heads of 64, over one sentence of 128 tokens; one token a row."""
    net = mx.sym.var("data")
    q, k, v = (_heads(_dense(net, 768, name)) for name in ("query", "key", "value"))
    attention = mx.sym.softmax(mx.sym.batch_dot(q, k, transpose_b=True) / 8, axis=-1)
    mixed = mx.sym.reshape(mx.sym.batch_dot(attention, v), shape=(1, 12, 128, 64))
    mixed = mx.sym.reshape(mx.sym.transpose(mixed, axes=(0, 2, 1, 3)), shape=(1, 128, 768))
    net = mx.sym.LayerNorm(net + _dense(mixed, 768, "projection"), eps=1e-12, name="norm1")
    wide = mx.sym.LeakyReLU(_dense(net, 3072, "wide"), act_type="gelu", name="gelu")
    net = mx.sym.LayerNorm(net + _dense(wide, 768, "narrow"), eps=1e-12, name="norm2")
    return mx.sym.reshape(net, shape=(128, 768))


def _dense(net: Symbol, n_hidden: int, name: str) -> Symbol:
    return mx.sym.FullyConnected(net, num_hidden=n_hidden, flatten=False, name=name)


def _heads(net: Symbol) -> Symbol:
    """(1, 128, 768) head by head: (12, 128, 64)."""
    apart = mx.sym.transpose(mx.sym.reshape(net, shape=(1, 128, 12, 64)), axes=(0, 2, 1, 3))
    return mx.sym.reshape(apart, shape=(12, 128, 64))


def softmax() -> Symbol:
    return mx.sym.softmax(mx.sym.var("data"), axis=-1)


def layer_norm() -> Symbol:
    return mx.sym.LayerNorm(mx.sym.var("data"), eps=1e-5, name="norm")


def chain() -> Symbol:
    """One pass over five arrays of one axis, with the functions that an LSTM's gates are made of."""
    x, w, b, y, z = map(mx.sym.var, "xwbyz")
    return mx.sym.sigmoid(x * w + b) * mx.sym.tanh(y) + z


def max_pool() -> Symbol:
    """As in a ResNet's first layers."""
    return mx.sym.Pooling(mx.sym.var("data"), kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")


def average_pool() -> Symbol:
    """As in Inception's blocks."""
    return mx.sym.Pooling(mx.sym.var("data"), kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="avg")


def inception_a() -> Symbol:
    """InceptionFactoryA of MXNet's tutorial on symbols: the first block of Inception-BN."""
    return _inception_block(mx.sym.var("data"), "3a")


def inception_bn() -> Symbol:
    """Inception with batch normalisation (Ioffe and Szegedy, 2015), as MXNet's example has it."""
    net = _conv_bn_relu(mx.sym.var("data"), 64, 7, "1", stride=2)
    net = mx.sym.Pooling(net, kernel=(3, 3), stride=(2, 2), pool_type="max", name="pool_1")
    net = _conv_bn_relu(net, 64, 1, "2_reduce")
    net = _conv_bn_relu(net, 192, 3, "2")
    net = mx.sym.Pooling(net, kernel=(3, 3), stride=(2, 2), pool_type="max", name="pool_2")
    for name in INCEPTION_BLOCKS:
        net = _inception_block(net, name)
    net = mx.sym.Pooling(net, kernel=(7, 7), pool_type="avg", name="global_pool")
    return mx.sym.FullyConnected(mx.sym.Flatten(net), num_hidden=1000, name="fc")


def unet() -> Symbol:
    """U-Net (Ronneberger et al., 2015) on padded images, with half the channels and batch normalisation."""
    net = mx.sym.var("data")
    skipped = []
    for i, n_channels in enumerate(UNET_CHANNELS):
        if i:
            skipped.append(net)
            net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name=f"pool{i}")
        net = _two_convolutions(net, n_channels, f"down{i}")
    for i, n_channels in reversed(list(enumerate(UNET_CHANNELS[:-1]))):
        net = mx.sym.Deconvolution(
            net, num_filter=n_channels, kernel=(2, 2), stride=(2, 2), no_bias=True, name=f"up{i}"
        )
        net = _two_convolutions(mx.sym.Concat(skipped[i], net, name=f"concat{i}"), n_channels, f"up{i}_block")
    return mx.sym.Convolution(net, num_filter=2, kernel=(1, 1), name="classes")


def _two_convolutions(net: Symbol, n_filters: int, name: str) -> Symbol:
    return _conv_bn_relu(_conv_bn_relu(net, n_filters, 3, f"{name}_0"), n_filters, 3, f"{name}_1")


def _inception_block(net: Symbol, name: str) -> Symbol:
    """Four branches (three where it halves the image), concatenated along the channels."""
    n_1x1, n_3x3_reduce, n_3x3, n_double_reduce, n_double, pooling, n_projection = INCEPTION_BLOCKS[name]
    stride = 1 if n_1x1 else 2
    branches = [_conv_bn_relu(net, n_1x1, 1, f"{name}_1x1")] if n_1x1 else []
    single = _conv_bn_relu(net, n_3x3_reduce, 1, f"{name}_3x3_reduce")
    branches.append(_conv_bn_relu(single, n_3x3, 3, f"{name}_3x3", stride))
    double = _conv_bn_relu(net, n_double_reduce, 1, f"{name}_double_3x3_reduce")
    double = _conv_bn_relu(double, n_double, 3, f"{name}_double_3x3_0")
    branches.append(_conv_bn_relu(double, n_double, 3, f"{name}_double_3x3_1", stride))
    pooled = mx.sym.Pooling(
        net, kernel=(3, 3), stride=(stride, stride), pad=(1, 1), pool_type=pooling, name=f"{name}_pool"
    )
    branches.append(_conv_bn_relu(pooled, n_projection, 1, f"{name}_projection") if n_projection else pooled)
    return mx.sym.Concat(*branches, name=f"{name}_concat")


def _conv_bn_relu(net: Symbol, n_filters: int, kernel: int, name: str, stride: int = 1) -> Symbol:
    net = mx.sym.Convolution(
        net, num_filter=n_filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2),
        name=f"conv_{name}",
    )  # fmt: skip
    net = mx.sym.BatchNorm(net, fix_gamma=False, eps=1e-5, name=f"bn_{name}")
    return mx.sym.Activation(net, act_type="relu", name=f"relu_{name}")
