"""Quantises small networks with the real MXNet 1.9.1 and records everything they compute, in the oracle's environment:

    oracle/bin/python tests/ops/record_quantized.py

Writes recorded/quantized_networks.npz: of each network its JSON text, `<network>/json`, and arrays: parameters and
data, `<network>/arg/<name>`, states, `<network>/aux/<name>`, and every output of every node, `<network>/out/<name>`.

Writes recorded/quantized_symbols.npz: of each way to quantise a symbol JSON texts before and after, `<way>/float` and
`<way>/quantized`; where it was calibrated, float parameters and data, `<way>/arg/<name>`, too.
"""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np

os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"

import mxnet as mx
from mxnet.contrib.quantization import quantize_graph, quantize_model

sym = mx.sym
mx.contrib.quantization.stats = True  # it asks for scipy, and does not use it
# network: (function, dtype of the data or None for the float network, calibration, granularity)
NETWORKS = {
    "dense_int8": ("dense", "int8", "naive", "tensor-wise"),
    "dense_uncalibrated": ("dense", "int8", "none", "tensor-wise"),
    "fused": ("convolutions", "auto", "naive", "tensor-wise"),
    "fused_uncalibrated": ("convolutions", "auto", "none", "tensor-wise"),
    "fused_int8": ("convolutions", "int8", "naive", "tensor-wise"),
    "fused_channelwise": ("convolutions", "auto", "naive", "channel-wise"),
    "fused_float": ("convolutions", None, None, None),
    "sums": ("sums", "auto", "naive", "tensor-wise"),
    "attention": ("attention", "auto", "naive", "tensor-wise"),
    "attention_float": ("attention", None, None, None),
}
SHAPES = {"dense": (3, 7), "attention": (4, 3, 7)}  # of the data; else (2, 3, 6, 6)
# way: (function, arguments of quantize_graph, or of quantize_model where it is calibrated)
WAYS = {
    "smart": ("everything", {"quantized_dtype": "auto", "quantize_mode": "smart"}),
    "full": ("everything", {"quantized_dtype": "uint8", "quantize_mode": "full"}),
    "excluded": (
        "everything",
        {"quantize_mode": "smart", "excluded_sym_names": ["conv1"], "excluded_op_names": ["Concat"]},
    ),
    "recurrent": ("recurrent", {"quantize_mode": "smart"}),
    "naive": ("dense", {"quantized_dtype": "int8", "quantize_mode": "full", "calib_mode": "naive"}),
    "entropy": ("dense", {"quantized_dtype": "int8", "quantize_mode": "smart", "calib_mode": "entropy"}),
}


def relu(x):
    return sym.Activation(x, act_type="relu")


def dense():
    """Two layers; nothing is fused."""
    x = relu(sym.FullyConnected(sym.Variable("data"), num_hidden=9, name="fc0"))
    return sym.FullyConnected(x, num_hidden=5, no_bias=True, name="fc1")


def convolutions():
    """Everything that MXNet's backend fuses behind a layer."""
    x = sym.Convolution(sym.Variable("data"), kernel=(3, 3), pad=(1, 1), num_filter=8, name="conv0")
    x = relu(sym.BatchNorm(x, fix_gamma=False, name="bn0"))
    x = sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool0")
    y = sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=8, no_bias=True, name="conv1")
    y = relu(sym.BatchNorm(y, name="bn1") + x)
    z = sym.Convolution(y, kernel=(3, 3), pad=(1, 1), num_filter=8, num_group=8, no_bias=True, name="conv2")
    z = sym.Convolution(sym.clip(z, a_min=0, a_max=6), kernel=(1, 1), num_filter=8, name="conv3")
    y = sym.Convolution(y, kernel=(1, 1), num_filter=4, name="conv4")
    y = sym.LeakyReLU(y, act_type="leaky", slope=0.1, name="leaky")
    x = sym.Concat(relu(x + z), y, dim=1, name="cat")
    x = sym.Flatten(sym.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg", name="gap"))
    x = relu(sym.FullyConnected(x, num_hidden=7, name="fc0"))
    return sym.FullyConnected(x, num_hidden=5, name="fc1")


def sums():
    """Sums with int8 behind a relu, as of a ResNet's shortcuts, and with uint8 behind nothing."""
    x = relu(sym.Convolution(sym.Variable("data"), kernel=(3, 3), num_filter=8, name="conv0"))
    y = sym.Convolution(x, kernel=(1, 1), num_filter=8, no_bias=True, name="conv1")
    y = relu(sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=8, name="conv2") + y)
    z = sym.Convolution(y, kernel=(1, 1), num_filter=8, name="conv3") + y
    return sym.Convolution(z, kernel=(1, 1), num_filter=4, name="conv4")


def attention():
    """A layer of self-attention of two heads."""
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=18, flatten=False, name="fc0")
    weights = sym.softmax(sym.contrib.interleaved_matmul_selfatt_qk(x, heads=2, name="qk"), name="weights")
    x = sym.contrib.interleaved_matmul_selfatt_valatt(x, weights, heads=2, name="values")
    return sym.FullyConnected(x, num_hidden=5, flatten=False, name="fc1")


def everything():
    """Every operator that has a quantised one, used by several others, several outputs, several heads."""
    x = sym.Convolution(sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv0")
    x = relu(sym.BatchNorm(x, name="bn0"))
    y = sym.Pooling(x, kernel=(2, 2), pool_type="avg", name="pool0")
    y = sym.Convolution(y, kernel=(1, 1), num_filter=4, name="conv1")
    z = sym.Activation(y, act_type="tanh", name="tanh0")
    y = sym.Concat(y * z, z + y, dim=1, name="cat0")
    parts = sym.SliceChannel(sym.Pooling(y, kernel=(2, 2), pool_type="max", name="pool1"), num_outputs=2, name="parts")
    flat = [sym.Flatten(part, name=f"flat{k}") for k, part in enumerate(parts)]
    fc = sym.FullyConnected(sym.Concat(*flat, dim=1, name="cat1"), num_hidden=3, no_bias=True, name="fc0")
    words = sym.Embedding(sym.Variable("words"), input_dim=9, output_dim=3, name="embedding0")
    words = sym.FullyConnected(words, num_hidden=3, name="fc1")
    return sym.Group([sym.softmax(fc, name="softmax0"), words, x])


def recurrent():
    """An LSTM, which is quantised with a shift, its results, and a layer."""
    x = sym.RNN(sym.Variable("data"), state_size=4, num_layers=2, mode="lstm", state_outputs=True, name="rnn0")
    y = sym.FullyConnected(x[0], num_hidden=3, flatten=False, name="fc0")
    return sym.Group([y, x[1], x[2]])


def quantized(make: str, given: dict) -> dict:
    """The texts and arrays of one way."""
    symbol, arrays, label = globals()[make](), {}, {"label_names": None}
    if "calib_mode" in given:
        rng = np.random.RandomState(7)
        shapes, _, _ = symbol.infer_shape(data=(4, 7))
        arrays = {n: mx.nd.array((rng.randn(*s) * 0.3).round(2)) for n, s in zip(symbol.list_arguments(), shapes)}
        args = {n: a for n, a in arrays.items() if n != "data"}
        batches = mx.io.NDArrayIter(arrays["data"], batch_size=2)
        found, _, _ = quantize_model(symbol, args, {}, calib_data=batches, **label, **given)
    else:
        names = symbol.list_arguments()
        args = {n: mx.nd.ones((1,)) for n in names if n not in ("data", "words")}
        found, _, _, _ = quantize_graph(symbol, args, {}, calib_mode="none", **given)
    texts = {"float": symbol.tojson(), "quantized": found.tojson()}
    return {**{k: np.array(v) for k, v in texts.items()}, **{f"arg/{n}": a.asnumpy() for n, a in arrays.items()}}


def record(name: str, make: str, dtype, calibration, granularity) -> dict:
    """The arrays of one network."""
    rng = np.random.RandomState(len(name))
    symbol, shape = globals()[make](), SHAPES.get(make, (2, 3, 6, 6))
    if make != "dense":
        symbol = symbol.get_backend_symbol("MKLDNN_QUANTIZE" if dtype else "MKLDNN")
    shapes, _, states = symbol.infer_shape(data=shape)
    args = {n: rng.randn(*s) * 0.3 for n, s in zip(symbol.list_arguments(), shapes) if n != "data"}
    args = {n: mx.nd.array(a.round(2)) for n, a in args.items()}
    aux = {n: mx.nd.array(rng.uniform(0.5, 1.5, s).round(2)) for n, s in zip(symbol.list_auxiliary_states(), states)}
    data = rng.randn(*shape).astype("float32").round(2)
    data = np.abs(data) if dtype == "auto" else data
    if dtype:
        symbol, args, aux = quantize_model(
            symbol,
            args,
            aux,
            label_names=None,
            calib_mode=calibration,
            calib_data=mx.io.NDArrayIter(data, batch_size=shape[0]) if calibration == "naive" else None,
            quantized_dtype=dtype,
            quantize_mode="full" if make == "dense" else "smart",
            quantize_granularity=granularity,
        )
        if make != "dense":
            symbol = symbol.get_backend_symbol("MKLDNN_QUANTIZE")
    args["data"] = mx.nd.array(data)
    inside = symbol.get_internals()
    names = [n for n in inside.list_outputs() if n not in args and n not in aux]
    executor = sym.Group([inside[n] for n in names]).bind(mx.cpu(), args, aux_states=aux, grad_req="null")
    outs = dict(zip(names, executor.forward(is_train=False)))
    tables = {"arg": args, "aux": aux, "out": outs}
    found = {f"{name}/{table}/{n}": a.asnumpy() for table, arrays in tables.items() for n, a in arrays.items()}
    return {f"{name}/json": np.array(json.dumps(json.loads(symbol.tojson()), separators=(",", ":"))), **found}


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent / "recorded"
    arrays: dict = {}
    for network, how in NETWORKS.items():
        arrays.update(record(network, *how))
    np.savez_compressed(folder / "quantized_networks.npz", **arrays)
    made = {f"{way}/{key}": value for way, how in WAYS.items() for key, value in quantized(*how).items()}
    np.savez_compressed(folder / "quantized_symbols.npz", **made)
