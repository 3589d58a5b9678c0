"""The built-in networks: the recorded symbols, byte for byte; weights that are reproducible and well scaled."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import symc as mx
from symc import models
from symc.core.errors import ArgumentError, ShapeError

# SHA-256 of the JSON that MXNet 1.9.1 itself writes for these networks, and the parameters its print_summary counts.
RECORDED = {
    "inception-bn": ("d25a18e627c8c88c2fa3cbd3116998f0d293d1d378b4c5ead65b2cc0e905aa74", 11295240),
    "lenet": ("807f076a01d30947a9c1b07044f0fae3c7457f378b76ad495af0a9d2a3ff3b45", 431080),
    "mlp": ("f31da42eb404654e070b40913c4730ae845f5e485f48a2f3095cc75da4db4816", 109386),
    "mobilenet": ("41f4834b885890766432f4336c7287a3c8b1361bf7e08e7d097066448f097d6c", 4231976),
    "resnet-18": ("0a40640af9ab4c82ba390b414d0fb8d7ed6d824136348ec6ba4181c8b269434f", 11691950),
    "resnet-50": ("7d962358c81992a5e33b6bafdeafccdf63670dd8bfbedf8a8990b762d5fb6e3d", 25549486),
}
# The papers' figures: parameters of SqueezeNet 1.1 and of VGG-16 (configuration D), with biases.
COUNTED = {"squeezenet": 1235496, "vgg-16": 138357544}


def n_parameters(model):
    args, _, _ = model.inferred_shapes()
    return sum(int(np.prod(s)) for n, s in args.items() if n not in (*model.shapes, *model.labels()))


@pytest.mark.parametrize("name", RECORDED)
def test_symbol_is_the_one_mxnet_builds(name):
    digest, n = RECORDED[name]
    model = models.get(name)
    assert hashlib.sha256(model.symbol.tojson().encode()).hexdigest() == digest
    assert n_parameters(model) == n


@pytest.mark.parametrize("name", COUNTED)
def test_parameter_count(name):
    assert n_parameters(models.get(name)) == COUNTED[name]


@pytest.mark.parametrize("name", models.names())
def test_batch_and_classes_reach_the_output(name):
    model = models.get(name, num_classes=7).with_batch(3)
    _, outputs, _ = model.inferred_shapes()
    assert list(outputs.values()) == [(3, 7)]
    assert model.inputs() == ["data"] and model.labels() == ["softmax_label"]


def test_names_do_not_depend_on_what_was_built_before():
    with mx.name.Prefix("other_"), mx.AttrScope(ctx_group="dev"):
        mx.sym.Convolution(mx.sym.Variable("x"), kernel=(1, 1), num_filter=1)
        first = models.get("lenet").symbol.list_arguments()
    assert first == models.get("lenet").symbol.list_arguments()


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ArgumentError, match="no model 'resnet-19' in the zoo; there are mlp, lenet, resnet-18"):
        models.get("resnet-19")


def test_weights_depend_on_seed_and_name_only():
    one, again, other = (models.get("lenet").with_seed(s).arg_params for s in (1, 1, 2))
    assert all((one[n].asnumpy() == again[n].asnumpy()).all() for n in one)
    assert all((one[n].asnumpy() != other[n].asnumpy()).any() for n in one)
    smaller = models.get("lenet", num_classes=3).with_seed(1).arg_params
    assert (smaller["convolution1_weight"].asnumpy() == one["convolution1_weight"].asnumpy()).all()


@pytest.mark.parametrize("name, size", [("mlp", None), ("lenet", None), ("resnet-18", 64), ("squeezenet", 64)])
def test_activations_neither_vanish_nor_explode(name, size):
    model = models.get(name)
    if size:
        model = model.with_shapes({"data": (1, 3, size, size)})
    model = model.with_seed(0)
    products = [n for n in model.symbol.nodes() if n.op_name in ("Convolution", "FullyConnected")]
    internals = model.symbol.get_internals()
    watched = mx.sym.Group([internals[f"{n.name}_output"] for n in products])
    executor = models.Model(name, watched, model.shapes, model.arg_params, model.aux_params).executor()
    for node, value in zip(products, executor(**model.sample_inputs())):
        seen = float(np.mean(value.asnumpy().astype(np.float64) ** 2))
        assert 0.02 < seen < 50, node.name


def test_executor_lists_missing_and_wrong_parameters():
    model = models.get("mlp").with_seed(0)
    params = {n: a for n, a in model.arg_params.items() if n not in ("fc1_bias", "fc3_weight")}
    few = model.with_params({**params, "odd": mx.nd.zeros((1,))}, {})
    with pytest.raises(ArgumentError, match="2 parameters are missing: fc1_bias, fc3_weight; given but not used: odd"):
        few.executor()
    wrong = model.with_params({**model.arg_params, "fc1_bias": mx.nd.zeros((3,))}, {})
    with pytest.raises(ArgumentError, match=r"fc1_bias has shape \(3,\), expected \(128,\)"):
        wrong.executor()


def test_shapes_that_do_not_decide_are_named():
    model = models.get("mlp")
    with pytest.raises(ShapeError, match="cannot be inferred from nothing; give the shape of data"):
        model.with_shapes({}).inferred_shapes()
    with pytest.raises(ArgumentError, match="no input 'image'"):
        model.with_shapes({"image": (1, 2)}).inferred_shapes()


def test_dtypes_of_inputs_follow_the_parameters():
    model = models.get("mlp").with_seed(0)
    params = {n: a.astype("float64") for n, a in model.arg_params.items()}
    assert model.with_params(params, {}).input_dtypes() == {"data": np.dtype("float64")}
    (output,) = model.with_params(params, {}).executor()(**model.with_params(params, {}).sample_inputs())
    assert output.dtype == np.float64
