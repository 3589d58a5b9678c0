"""The recorded cases of every operator symc has; `python -m tests.conformance ops --list` counts them."""

from __future__ import annotations

import json

import pytest

import symc as mx
import symc.ops  # registers the operators, which `import symc` puts off
from symc.ir.op import lookup

from .golden import ROOT, Case, op_cases
from .suite import checks_of_ops, expect_all_pass


def is_there(case: Case) -> bool:
    """Whether symc has the operators of a case."""
    if case.facts.get("imperative"):
        return hasattr(mx.nd, case.family.removeprefix("nd."))
    return all(node["op"] == "null" or lookup(node["op"]) for node in json.loads(case.symbol_json)["nodes"])


FAMILIES = sorted({case.family for case in op_cases() if is_there(case)})
CHECKS = list(checks_of_ops(mx, ROOT))


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family):
    expect_all_pass([c for c in CHECKS if c.family == family], mx)


def test_the_operators_of_the_classic_networks_are_among_them():
    assert {"Convolution", "FullyConnected", "BatchNorm", "Pooling", "SoftmaxOutput", "Activation"} <= set(FAMILIES)
    assert len(FAMILIES) > 190
