"""Operators made of simpler ones are replaced, layer by layer."""

from __future__ import annotations

import pytest

from symc.core.errors import ShapeError
from symc.ir.op import Op, op
from symc.passes.expand import expand

from .golden import changes, context, graph_of, keeps


@op("_test_twice")
class Twice(Op):
    """Expands to an operator that expands itself."""

    is_internal = True

    def expand(self, g, x, training):
        return [g("_test_once", g("_test_once", x[0]))]


@op("_test_once")
class Once(Op):
    """Expands to exp when predicting, to sin in training."""

    is_internal = True

    def expand(self, g, x, training):
        return [g("sin" if training else "exp", x[0])]


@op("_test_misfit")
class Misfit(Op):
    """Expands to a sum of values that do not fit."""

    is_internal = True

    def expand(self, g, x, training):
        return [g("elemwise_add", x[0], g("Flatten", x[0]))]


def test_until_nothing_expands():
    changes(
        expand,
        "argument %x: float32[2]\n%y = _test_twice(%x): float32[2]\nhead y = %y",
        """
        argument %x: float32[2]
        %y.test_once.exp = exp(%x): float32[2]
        %y.test_once1.exp = exp(%y.test_once.exp): float32[2]
        head y = %y.test_once1.exp
        """,
    )


def test_training_expands_otherwise():
    changes(
        expand,
        "training\nargument %x: float32[2]\n%y = _test_once(%x): float32[2]\nhead y = %y",
        "training\nargument %x: float32[2]\n%y.sin = sin(%x): float32[2]\nhead y = %y.sin",
    )


def test_new_names_are_new():
    changes(
        expand,
        """
        argument %y.exp: float32[2]
        %y = _test_once(%y.exp): float32[2]
        %y#1 = _test_once(%y): float32[2]
        head y = %y#1
        """,
        """
        argument %y.exp: float32[2]
        %y.exp1 = exp(%y.exp): float32[2]
        %y.exp2 = exp(%y.exp1): float32[2]
        head y = %y.exp2
        """,
    )


def test_simple_operators_stay():
    keeps(expand, "argument %x: float32[2]\n%y = exp(%x): float32[2]\nhead y = %y")


def test_a_misfit_names_the_node_it_was_made_for():
    graph = graph_of("argument %x: float32[2, 3, 4]\n%y = _test_misfit(%x): float32[2, 3, 4]\nhead y = %y")
    with pytest.raises(ShapeError, match=r"^Error in operator y\.elemwise_add: Shape inconsistent"):
        expand(graph, context())


def test_long_sums_are_cut_in_order():
    """Sums of 32 terms at a time, the first of each what was summed so far."""
    inputs = [f"%x{k}" for k in range(70)]
    listed = "".join(f"argument {x}: float32[2]\n" for x in inputs)
    graph = graph_of(f"{listed}%y = add_n({', '.join(inputs)}, num_args=70): float32[2]\nhead y = %y")
    sums = [n for n in expand(graph, context()).nodes if not n.is_input]
    assert [len(n.inputs) for n in sums] == [32, 32, 8]
    assert [v.node.name for n in sums for v in n.inputs if v.node.is_input] == [x[1:] for x in inputs]
    assert [n.inputs[0].node for n in sums[1:]] == sums[:-1]
