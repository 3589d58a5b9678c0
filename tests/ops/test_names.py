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


@pytest.mark.parametrize("name", ["_cvimdecode", "dgl_subgraph", "_contrib_dgl_subgraph", "getnnz"])
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


def test_nearest():
    assert nearest("dta", ["data", "label"]) == "; did you mean data?"
    assert nearest("zzz", ["data", "label"]) == "; expected one of data, label"
    assert nearest("zzz", map(str, range(21))) == nearest("zzz", []) == ""
