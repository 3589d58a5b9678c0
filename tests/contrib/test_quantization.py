"""mx.contrib.quantization gives the symbols, names, ranges and parameters that MXNet gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symc as mx
from symc.contrib import quantization
from symc.contrib.collectors import HistogramCollector
from symc.contrib.fold_batch_norm import fold_batch_norms
from symc.contrib.quantize_symbol import quantize_symbol
from symc.core.errors import ArgumentError

RECORDED = np.load(Path(__file__).parents[1] / "ops" / "recorded" / "quantized_symbols.npz")


def symbols(way: str) -> tuple[mx.sym.Symbol, Any]:
    """A recorded float symbol, and the nodes of its quantised one."""
    return mx.sym.load_json(str(RECORDED[f"{way}/float"])), table(str(RECORDED[f"{way}/quantized"]))


def table(text: str) -> tuple[list, list]:
    """Nodes by name with operator, parameters and inputs; heads."""
    content = json.loads(text)
    nodes = content["nodes"]

    def params(node: dict) -> dict:
        return {k: v for k, v in node.get("attrs", {}).items() if not k.startswith("__")}

    def entry(e: list) -> tuple:
        return nodes[e[0]]["name"], e[1]

    found = sorted((n["name"], n["op"], sorted(params(n).items()), list(map(entry, n["inputs"]))) for n in nodes)
    return found, list(map(entry, content["heads"]))


def batches(data: np.ndarray) -> mx.io.DataIter:
    """The data in batches of two."""
    return mx.io.NDArrayIter(data, batch_size=2)


@pytest.mark.parametrize(
    "way, given",
    [
        ("smart", {"dtype": "auto"}),
        ("full", {"dtype": "uint8", "mode": "full"}),
        ("recurrent", {}),
        ("excluded", {"excluded_names": ["conv1"], "excluded_operators": ["Concat"]}),
    ],
)
def test_symbols_are_mxnets(way, given):
    symbol, wanted = symbols(way)
    offline = [n for n in symbol.list_arguments() if n not in ("data", "words")]
    assert table(quantize_symbol(symbol, offline=offline, **given).tojson()) == wanted


@pytest.mark.parametrize("way, mode", [("naive", "full"), ("entropy", "smart")])
def test_calibrated_models_are_mxnets(way, mode):
    symbol, wanted = symbols(way)
    args = {n: mx.nd.array(RECORDED[f"{way}/arg/{n}"]) for n in symbol.list_arguments()}
    data = args.pop("data").asnumpy()
    how = {"quantized_dtype": "int8", "quantize_mode": mode, "calib_mode": way, "label_names": None}
    qsym, qargs, _ = quantization.quantize_model(symbol, args, {}, calib_data=batches(data), **how)
    (nodes, heads), (wanted_nodes, wanted_heads) = table(qsym.tojson()), wanted
    assert heads == wanted_heads
    for got, want in zip(nodes, wanted_nodes, strict=True):
        assert (got[0], got[1], got[3]) == (want[0], want[1], want[3])
        assert {**dict(got[2]), **ranges(got)} == pytest.approx({**dict(want[2]), **ranges(want)}, abs=2e-6)
    assert sorted([*qargs, "data"]) == sorted(qsym.list_arguments())
    out = run(qsym, {**qargs, "data": mx.nd.array(data)})
    plain = run(symbol, {**args, "data": mx.nd.array(data)})
    assert np.abs(out - plain).max() < 0.15 * np.abs(plain).max()  # a range from histograms cuts off what is rare


def ranges(node: tuple) -> dict[str, float]:
    return {key: float(value) for key, value in node[2] if key.endswith("_calib_range")}


def run(symbol: mx.sym.Symbol, args: dict[str, mx.nd.NDArray]) -> np.ndarray:
    return symbol.bind(mx.cpu(), args, grad_req="null").forward()[0].asnumpy()


def network() -> tuple[mx.sym.Symbol, dict, dict, np.ndarray]:
    """Convolution, BatchNorm, a sum and a pooling that no integers do; parameters, states and data."""
    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=6, name="conv")
    x = mx.sym.Activation(mx.sym.BatchNorm(x, fix_gamma=False, name="bn"), act_type="relu", name="relu")
    y = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=6, name="conv1")
    y = mx.sym.Pooling(x + y, kernel=(2, 2), pool_type="sum", name="pool")
    net = mx.sym.FullyConnected(y, num_hidden=4, name="fc")
    rng = np.random.RandomState(0)
    shapes, _, states = net.infer_shape(data=(4, 3, 7, 7))
    args = {n: mx.nd.array(rng.randn(*s) * 0.3) for n, s in zip(net.list_arguments(), shapes) if n != "data"}
    aux = {n: mx.nd.array(rng.uniform(0.5, 1, s)) for n, s in zip(net.list_auxiliary_states(), states)}
    return net, args, aux, np.abs(rng.randn(4, 3, 7, 7))


@pytest.mark.parametrize("calib_mode", ["none", "naive"])
def test_a_convolutional_network_stays_close(calib_mode):
    net, args, aux, data = network()
    excluded = ["bn"] if calib_mode == "none" else None  # it needs a range
    qsym, qargs, qaux = quantization.quantize_model(
        net, args, aux, label_names=None, quantized_dtype="int8", quantize_mode="full", calib_mode=calib_mode,
        excluded_sym_names=excluded, calib_data=batches(data), num_calib_examples=4,
    )  # fmt: skip
    operators = {n["op"] for n in json.loads(qsym.tojson())["nodes"]}
    assert {"_contrib_quantized_conv", "_contrib_quantized_elemwise_add", "Pooling"} <= operators
    got, want = (
        symbol.bind(mx.cpu(), {**p, "data": mx.nd.array(data)}, aux_states=a, grad_req="null").forward()[0].asnumpy()
        for symbol, p, a in ((qsym, qargs, qaux), (net, args, aux))
    )
    assert np.abs(got - want).max() < 0.1 * np.abs(want).max()


def test_batch_norms_are_folded_into_layers_that_they_alone_read():
    net, args, aux, data = network()
    kept = mx.sym.BatchNorm(net.get_internals()["pool_output"], name="kept")  # behind no layer
    both = mx.sym.Group([net, kept])
    args.update(kept_gamma=mx.nd.ones((6,)), kept_beta=mx.nd.ones((6,)))
    aux.update(kept_moving_mean=mx.nd.zeros((6,)), kept_moving_var=mx.nd.ones((6,)))
    folded, new_args, new_aux = fold_batch_norms(both, args, aux)
    assert [n["name"] for n in json.loads(folded.tojson())["nodes"] if n["op"] == "BatchNorm"] == ["kept"]
    assert sorted(new_aux) == ["kept_moving_mean", "kept_moving_var"] and "bn_gamma" not in new_args
    for got, want in zip(*(
        symbol.bind(mx.cpu(), {**p, "data": mx.nd.array(data)}, aux_states=a, grad_req="null").forward()
        for symbol, p, a in ((folded, new_args, new_aux), (both, args, aux))
    )):  # fmt: skip
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-4, atol=1e-5)


def test_a_block_wants_data_or_its_shapes():
    with pytest.raises(ArgumentError, match="calib_data must be provided when calib_mode=entropy"):
        quantization.quantize_net_v2(mx.gluon.nn.Dense(3), calib_mode="entropy")
    with pytest.raises(ArgumentError, match="data_shapes required"):
        quantization.quantize_net(mx.gluon.nn.Dense(3))


@pytest.mark.parametrize("calib_mode", ["none", "naive"])
def test_a_block_stays_close(calib_mode):
    """Its convolutions, one for each channel among them, are quantised, and no BatchNorm is left of them."""
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.Conv2D(6, 3, use_bias=False), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Activation("relu"))
        net.add(mx.gluon.nn.Conv2D(6, 3, groups=6, use_bias=False), mx.gluon.nn.BatchNorm())
        net.add(mx.gluon.nn.Flatten(), mx.gluon.nn.Dense(4), mx.gluon.nn.Dense(3))
    mx.random.seed(3)
    net.initialize(mx.init.Normal(0.3))
    data = mx.nd.random.uniform(shape=(4, 3, 8, 8))
    want = net(data).asnumpy()
    loader = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(data, mx.nd.zeros((4,))), batch_size=2)
    given = {"none": {"data_shapes": [mx.io.DataDesc("data", (4, 3, 8, 8))]}, "naive": {"calib_data": loader}}
    made = quantization.quantize_net(
        net, calib_mode=calib_mode, exclude_layers_match=["dense1"], quantized_dtype="int8", **given[calib_mode]
    )
    operators = [n["op"] for n in json.loads(made._cached_graph[1].tojson())["nodes"]]
    assert operators.count("_contrib_quantized_conv") == 2 and operators.count("FullyConnected") == 1
    assert "_contrib_quantized_fully_connected" in operators and not any("atch_norm" in o.lower() for o in operators)
    assert np.abs(made(data).asnumpy() - want).max() < 0.05 * np.abs(want).max()


def test_only_so_many_examples_count():
    net, args, aux, data = network()
    data[2:] *= 100
    how = {"label_names": None, "calib_mode": "naive", "quantized_dtype": "int8"}
    found = [
        quantization.quantize_model(net, args, aux, calib_data=batches(data), num_calib_examples=n, **how)[0]
        for n in (2, None)
    ]
    few, all_ = (float(symbol.attr_dict()["data_quantize"]["max_calib_range"]) for symbol in found)
    assert few == pytest.approx(data[:2].max(), abs=1e-5) and all_ == pytest.approx(data.max(), abs=1e-3)


def test_histograms_grow_with_what_they_see():
    collector = HistogramCollector(num_bins=11)
    rng = np.random.RandomState(0)
    for scale in (1.0, 0.5, 3.0):
        collector.collect("x", rng.uniform(-scale, scale, 1000).astype("float32"))
    counts, edges, low, high, end = collector.hist_dict["x"]
    assert counts.sum() == 3000 and len(edges) == len(counts) + 1 and edges[-1] == pytest.approx(end)
    assert -3 <= low < -2.9 and 2.9 < high <= 3 <= end < 3.2


@pytest.mark.parametrize(
    "given, text",
    [
        ({"quantized_dtype": "int4"}, "unknown quantized_dtype int4 received"),
        ({"calib_mode": "guess"}, "unknown calibration mode guess received"),
        ({"calib_mode": "naive"}, "calib_data must be provided when calib_mode=naive"),
        ({"quantize_mode": "some", "calib_mode": "none"}, "unrecognized quantize mode: some"),
        ({"quantize_granularity": "row-wise"}, "unknown quantize_granularity row-wise received"),
        ({"excluded_sym_names": "conv"}, "excluded_sym_names must be a list of strings, got str"),
    ],
)
def test_errors(given, text):
    net, args, aux, _ = network()
    with pytest.raises(ArgumentError, match=text):
        mx.contrib.quantization.quantize_model(net, args, aux, **given)
