"""What is said about names that symc does not have."""

from __future__ import annotations

import pytest

import symc as mx
from symc.core.errors import UnknownOperatorError
from symc.core.nearest import nearest
from symc.ir.op import registered_names
from symc.ops.mxnet import MXNET, about


def test_the_list_is_mxnets():
    assert len(MXNET) == 901 and {"Convolution", "_contrib_box_nms", "RNN", "Custom", "fill_element_0index"} <= MXNET
    assert {n for n in registered_names() if n in MXNET}  # the lists meet


@pytest.mark.parametrize("name", ["_cvimdecode", "dgl_subgraph", "_contrib_dgl_subgraph", "_npi_add"])
def test_an_operator_of_mxnet_is_not_a_misspelt_one(name):
    assert "MXNet has it, symc does not" in about(name) and "did you mean" not in about(name)


@pytest.mark.parametrize(
    "attempt, error",
    [
        (lambda: mx.nd.Convolutoin, AttributeError),
        (lambda: mx.sym.Convolutoin, AttributeError),
        (lambda: mx.nd.operators.registered("Convolutoin"), UnknownOperatorError),
    ],
)
def test_a_misspelt_one_is_named(attempt, error):
    with pytest.raises(error, match=r"did you mean Convolution"):
        attempt()


@pytest.mark.parametrize(
    "attempt, place",
    [
        (lambda: mx.nd.getnnz, "symc.ndarray.contrib.getnnz"),
        (lambda: mx.sym.box_nms, "symc.symbol.contrib.box_nms"),
        (lambda: mx.sym.linalg.relu, "symc.symbol.relu"),
        (lambda: mx.nd._internal._contrib_box_nms, "symc.ndarray.contrib.box_nms"),
        (lambda: mx.nd.operators.registered("getnnz"), "did you mean _contrib_getnnz"),
    ],
)
def test_an_operator_of_another_namespace_is_found_there(attempt, place):
    with pytest.raises((AttributeError, UnknownOperatorError), match=place):
        attempt()


def test_arithmetic_of_the_sparse_namespace():
    x = mx.nd.array([1.0, 4.0])
    functions = [mx.nd.sparse.add, mx.nd.sparse.subtract, mx.nd.sparse.multiply, mx.nd.sparse.divide]
    assert [f(x, 2).asnumpy().tolist() for f in functions] == [[3, 6], [-1, 2], [2, 8], [0.5, 2]]
    assert not hasattr(mx.nd, "name")  # nothing of how they got there


def test_nearest():
    assert nearest("dta", ["data", "label"]) == "; did you mean data?"
    assert nearest("zzz", ["data", "label"]) == "; expected one of data, label"
    assert nearest("zzz", map(str, range(21))) == nearest("zzz", []) == ""
