"""Operators on 8-bit integers, compiled, against MXNet to the bit; what they infer and what they refuse."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, DTypeError, ParameterError, ShapeError
from symc.functions import place_of

from .cases import Case
from .cases_quantized import CASES
from .cases_quantized_recurrent import CASES as RECURRENT
from .recorded import recorded
from .reference import make_op

contrib = mx.sym.contrib


def symbol_of(case: Case) -> tuple[mx.sym.Symbol, dict[str, np.ndarray]]:
    """The symbol of a case over variables, and their arrays."""
    names = make_op(case.op, case.params).input_names()
    variables = {name: mx.sym.Variable(name) for name in names}
    function = getattr(contrib, place_of(case.op)[1])
    given = dict(zip(names, case.inputs()))
    return function(*variables.values() if "num_args" in case.params else (), **case.params, **(
        {} if "num_args" in case.params else variables)), given  # fmt: skip


@pytest.mark.parametrize("case", [c for c in CASES if "quantized" in c.op or "asym" in c.op], ids=str)
def test_compiled_equals_mxnet_to_the_bit(case):
    symbol, given = symbol_of(case)
    arrays = {name: mx.nd.array(a, dtype=a.dtype) for name, a in given.items()}
    args, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    executor = symbol.bind(
        mx.cpu(), {n: arrays[n] for n in args}, aux_states={n: arrays[n] for n in states}, grad_req="null"
    )
    for got, want in zip(executor.forward(), recorded("quantized")[str(case)].outs, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got.asnumpy(), want)


@pytest.mark.parametrize("case", RECURRENT[3:4], ids=str)
def test_compiled_lstm_equals_mxnet(case):
    """What is rounded to 8 bits is equal."""
    symbol, given = symbol_of(case)
    executor = symbol.bind(mx.cpu(), {n: mx.nd.array(a, dtype=a.dtype) for n, a in given.items()}, grad_req="null")
    out, h, c = (o.asnumpy() for o in executor.forward())
    wanted = recorded("quantized_recurrent")[str(case)].outs
    np.testing.assert_array_equal(out, wanted[0])
    np.testing.assert_array_equal(h, wanted[1])
    np.testing.assert_allclose(c, wanted[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if "entropy" in c.op], ids=str)
def test_the_least_divergence_is_found(case):
    symbol, given = symbol_of(case)
    executor = symbol.bind(mx.cpu(), {n: mx.nd.array(a) for n, a in given.items()}, grad_req="null")
    threshold, divergence = (out.asnumpy() for out in executor.forward())
    wanted = recorded("quantized")[str(case)].outs
    assert threshold == wanted[0]
    np.testing.assert_allclose(divergence, wanted[1], rtol=1e-5)


@pytest.mark.parametrize("seed, n, wanted", [(1, 2000, 3.481875), (2, 300000, 4.120625)])
def test_among_thresholds_equally_good_the_one_of_mxnet_is_found(seed, n, wanted):
    """Sums in float64 have their least divergence elsewhere: at 3.455625 and 4.118125."""
    places = np.round(np.random.RandomState(seed).normal(size=n) * 800).clip(-4000, 4000) + 4000
    counts, edges = np.bincount(places.astype(int), minlength=8001), (np.arange(8002) - 4000.5) / 800
    threshold, _ = mx.nd.contrib.calibrate_entropy(mx.nd.array(counts), mx.nd.array(edges), num_quantized_bins=255)
    assert threshold.asnumpy() == np.float32(wanted)


def test_histograms_without_anything_to_smooth_are_infinitely_far():
    """Empty ones, and those whose few full places cannot give every empty one its share."""
    hist = np.zeros(61, "float32")
    for full in ((), (30,)):
        hist[list(full)] = 1e-9
        arrays = mx.nd.array(hist), mx.nd.array(np.linspace(-1, 1, 62))
        threshold, divergence = mx.nd.contrib.calibrate_entropy(*arrays, num_quantized_bins=9)
        assert np.isinf(divergence.asnumpy()) and threshold.asnumpy() == np.float32(np.linspace(-1, 1, 62)[35])


def test_a_histogram_needs_a_place_for_each_integer():
    arrays = mx.nd.ones((7,)), mx.nd.ones((8,))
    with pytest.raises(ShapeError, match="hist has 7 places, expected at least num_quantized_bins=9"):
        mx.nd.contrib.calibrate_entropy(*arrays, num_quantized_bins=9)


def test_names_and_shapes_of_layers_follow_from_the_data():
    net = contrib.quantized_conv(mx.sym.Variable("x"), kernel=(3, 3), num_filter=8, name="c")
    net = contrib.quantized_flatten(net[0], net[1], net[2], name="f")
    names = ["x", "c_weight", "c_bias", *(f"c_{end}_{a}" for a in ("data", "weight", "bias") for end in ("min", "max"))]
    assert net.list_arguments() == names
    args, outs, _ = net.infer_shape(x=(2, 4, 6, 5))
    assert args == [(2, 4, 6, 5), (8, 4, 3, 3), (8,), *[(1,)] * 6] and outs == [(2, 96), (1,), (1,)]
    types, _, _ = net.infer_type(x="uint8")
    assert [np.dtype(t).name for t in types] == ["uint8", "int8", "int8", *["float32"] * 6]
    assert net.infer_shape_partial(x=(0, 4, 6, 5))[1][0] == (0, 96)


def test_states_of_batch_norm_lie_before_its_range():
    net = contrib.quantized_batch_norm(mx.sym.Variable("x"), min_calib_range=-1, max_calib_range=1, name="b")
    assert net.list_arguments() == ["x", "b_gamma", "b_beta", "b_min_data", "b_max_data"]
    assert net.list_auxiliary_states() == ["b_moving_mean", "b_moving_var"]
    by_place = contrib.quantized_batch_norm(*map(mx.sym.Variable, "xgbmvlh"), min_calib_range=-1, max_calib_range=1)
    assert by_place.list_arguments() == [*"xgblh"] and by_place.list_auxiliary_states() == [*"mv"]
    again = mx.sym.load_json(net.tojson())
    assert again.list_auxiliary_states() == net.list_auxiliary_states()
    assert again.infer_shape(x=(2, 3, 4))[2] == [(3,), (3,)]


def test_gradients_are_zeros_as_in_mxnet():
    x, low, high = (mx.nd.array([v], dtype=t) for v, t in ((7, "int8"), (-1, "float32"), (2, "float32")))
    net = contrib.dequantize(*contrib.quantized_act(*map(mx.sym.Variable, ("x", "low", "high")), act_type="relu"))
    executor = net.bind(mx.cpu(), [x, low, high], args_grad={"high": mx.nd.ones((1,))}, grad_req="write")
    executor.forward(is_train=True)
    executor.backward()
    assert executor.grad_dict["high"].asnumpy().shape == (1,)


def given(*dtypes: str, shape: tuple[int, ...] = (1, 4, 5, 5)) -> list[mx.nd.NDArray]:
    """Tensors, then as many ranges."""
    tensors = [mx.nd.ones(shape, dtype=dtype) for dtype in dtypes]
    return [*tensors, *[mx.nd.ones((1,))] * (2 * len(dtypes))]


@pytest.mark.parametrize(
    "error, text, run",
    [
        (DTypeError, "data is float32, expected int8 or uint8",
         lambda: mx.nd.contrib.quantized_pooling(*given("float32"), kernel=(2, 2))),
        (DTypeError, "quantize: data is int32, expected float32; cast it first",
         lambda: mx.nd.contrib.quantize(*given("int32"))),
        (DTypeError, "requantize: data is int8, expected int32; only sums of quantized layers have it",
         lambda: mx.nd.contrib.requantize(*given("int8"))),
        (DTypeError, "dequantize: data is float32, expected int8 or uint8 or int32",
         lambda: mx.nd.contrib.dequantize(*given("float32"))),
        (DTypeError, "lhs is uint8, expected int8",
         lambda: mx.nd.contrib.quantized_elemwise_mul(*given("uint8", "int8"))),
        (DTypeError, "data is int32, expected int8 or uint8",
         lambda: mx.nd.contrib.quantized_act(*given("int32"), act_type="relu")),
        (ArgumentError, "only supports act_type relu, got tanh",
         lambda: mx.nd.contrib.quantized_act(*given("int8"), act_type="tanh")),
        (ArgumentError, "only supports pool_type max and avg, got sum",
         lambda: mx.nd.contrib.quantized_pooling(*given("int8"), kernel=(2, 2), pool_type="sum")),
        (ShapeError, "expected a kernel of 2 or 3 extents .* got kernel=\\(1,\\)", lambda: mx.nd.contrib.quantized_conv(
            *given("uint8", "int8", "int8"), kernel=(1,), num_filter=4)),
        (ArgumentError, "only supports LSTM without projection, got mode=gru", lambda: mx.nd.contrib.quantized_rnn(
            mx.nd.ones((1, 1, 1), dtype="uint8"), *[mx.nd.ones(n) for n in ((3,), (1, 1, 1), (1, 1, 1), (1,), (1,))],
            state_size=1, num_layers=1, mode="gru")),
        (ArgumentError, "needs a calibrated range", lambda: mx.nd.contrib.quantized_batch_norm(
            mx.nd.ones((2, 3), dtype="int8"), *[mx.nd.ones((3,))] * 4, *[mx.nd.ones((1,))] * 2)),
    ],
)  # fmt: skip
def test_errors(error, text, run):
    with pytest.raises(error, match=text):
        run()


def test_sums_beyond_float32_are_exact():
    """1400 products of 255 and 127 and one more: 2^25 and an odd number."""
    weight = np.full((1, 1401), 127, "int8")
    weight[0, -1] = 1
    data, ranges = np.full((1, 1401), 255, "uint8"), [mx.nd.ones((1,))] * 4
    out = mx.nd.contrib.quantized_fully_connected(
        mx.nd.array(data, dtype="uint8"), mx.nd.array(weight, dtype="int8"), None, *ranges, num_hidden=1, no_bias=True
    )
    assert out[0].asnumpy()[0, 0] == 255 * (127 * 1400 + 1)


# -- whole networks, quantised by MXNet -------------------------------------------------------------------------------

ROUNDED = ("fused_float", "attention", "attention_float")  # networks that compute in floats, too
NETWORKS = np.load(pathlib.Path(__file__).parent / "recorded" / "quantized_networks.npz")


def table_of(network: str, table: str) -> dict[str, np.ndarray]:
    """Arrays by name: "arg", "aux" or "out"."""
    start = f"{network}/{table}/"
    return {key.removeprefix(start): NETWORKS[key] for key in NETWORKS.files if key.startswith(start)}


@pytest.mark.parametrize("network", [key.removesuffix("/json") for key in NETWORKS.files if key.endswith("/json")])
def test_every_value_of_a_network_is_mxnets(network):
    wanted = table_of(network, "out")
    inside = mx.sym.load_json(str(NETWORKS[f"{network}/json"])).get_internals()
    heads = mx.sym.Group([inside[name] for name in wanted])
    args, aux = ({n: mx.nd.array(a, dtype=a.dtype) for n, a in table_of(network, t).items()} for t in ("arg", "aux"))
    executor = heads.bind(mx.cpu(), args, aux_states=aux, grad_req="null")
    for (name, want), out in zip(wanted.items(), executor.forward(), strict=True):
        got = out.asnumpy()
        assert (got.dtype, got.shape) == (want.dtype, want.shape), name
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 if network in ROUNDED else 0, err_msg=name)


def test_a_network_runs_without_its_internal_values():
    """What is fused gives the same, and the symbol survives being written."""
    symbol = mx.sym.load_json(mx.sym.load_json(str(NETWORKS["fused/json"])).tojson())
    args, aux = ({n: mx.nd.array(a, dtype=a.dtype) for n, a in table_of("fused", t).items()} for t in ("arg", "aux"))
    (out,) = symbol.bind(mx.cpu(), args, aux_states=aux, grad_req="null").forward()
    np.testing.assert_array_equal(out.asnumpy(), table_of("fused", "out")[symbol.list_outputs()[0]])


def fused(**params: str) -> mx.sym.Symbol:
    """The first layer of a network, with other parameters."""
    content = json.loads(str(NETWORKS["fused/json"]))
    node = next(n for n in content["nodes"] if n["op"] == "_sg_mkldnn_conv")
    node["attrs"].update(params)
    return mx.sym.load_json(json.dumps(content)).get_internals()[f"{node['name']}_output"]


def test_inputs_of_a_fused_layer_are_named_and_inferred():
    layer = fused()
    assert layer.list_auxiliary_states() == ["bn0_moving_mean", "bn0_moving_var"]
    args, outs, aux = layer.infer_shape(data=(2, 3, 6, 6))
    assert args == [(2, 3, 6, 6), (8, 3, 3, 3), (8,), (8,), (8,)] and outs == [(2, 8, 6, 6)] and aux == [(8,), (8,)]
    assert layer.infer_type(data="float32")[1] == [np.uint8]
    assert fused(with_act="false", with_relu="true").infer_type(data="float32")[1] == [
        np.uint8
    ]  # as older files say it


def test_errors_of_fused_layers():
    content = json.loads(str(NETWORKS["fused/json"]))
    del next(n for n in content["nodes"] if n["op"] == "_sg_mkldnn_conv")["subgraphs"]
    with pytest.raises(ParameterError, match=r"_sg_mkldnn_conv.* has 0 subgraphs, expected 1"):
        mx.sym.load_json(json.dumps(content))
    content = json.loads(str(NETWORKS["attention/json"]))
    values = next(n for n in content["nodes"] if n["op"] == "_sg_mkldnn_selfatt_valatt")
    del values["attrs"]["max_calib_range"]
    symbol = mx.sym.load_json(json.dumps(content))
    args = {n: mx.nd.array(a, dtype=a.dtype) for n, a in table_of("attention", "arg").items()}
    with pytest.raises(
        ArgumentError, match="_sg_mkldnn_selfatt_valatt needs a calibrated range or enable_float_output"
    ):
        symbol.bind(mx.cpu(), args, grad_req="null").forward()
    values["inputs"][1] = values["inputs"][0]
    with pytest.raises(DTypeError, match="attention is int8, expected uint8; quantize it first"):
        mx.sym.load_json(json.dumps(content)).infer_type(data="float32")
    with pytest.raises(ArgumentError, match="its subgraph has 1 activations, its flags say otherwise"):
        fused(with_act="false").infer_type(data="float32")
    content = json.loads(str(NETWORKS["fused/json"]))
    layer = next(n for n in content["nodes"] if n["op"] == "_sg_mkldnn_conv")
    layer["inputs"][0] = [next(k for k, n in enumerate(content["nodes"]) if n["name"] == "data"), 0, 0]
    with pytest.raises(
        DTypeError, match=r"(?s)Error in operator quantized_sg.*data is float32, expected int8 or uint8"
    ):
        mx.sym.load_json(json.dumps(content)).infer_type(data="float32")
