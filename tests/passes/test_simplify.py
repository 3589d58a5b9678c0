"""Algebra by the operators' own rules."""

from __future__ import annotations

import pytest

from symc.core.errors import GraphError
from symc.ir.op import Op, op
from symc.passes.simplify import simplify
from symc.passes.verify import verify

from .golden import changes, context, graph_of, keeps


@op("_test_wrong_rule")
class WrongRule(Op):
    """Says that it equals a value of another shape."""

    is_internal = True

    def infer_shape(self, ins, outs):
        return ins, [None if ins[0] is None else (1, *ins[0])]

    def simplify(self, g, x):
        return [x[0]]


def test_neutral_scalars_copies_and_reshapes_vanish():
    changes(
        simplify,
        """
        argument %x: float32[2, 3]
        %a = _mul_scalar(%x): float32[2, 3]
        %b = _copy(%a): float32[2, 3]
        %c = transpose(%b, axes=(0, 1)): float32[2, 3]
        %d = Reshape(%c, shape=(3, 2)): float32[3, 2]
        %e = Reshape(%d, shape=(6,)): float32[6]
        %f = exp(%e): float32[6]
        head f = %f
        """,
        """
        argument %x: float32[2, 3]
        %e.Reshape = Reshape(%x, shape=(6,)): float32[6]
        %f = exp(%e.Reshape): float32[6]
        head f = %f
        """,
    )


def test_a_range_of_joined_arrays_is_one_of_the_array_it_lies_in():
    changes(
        simplify,
        """
        argument %a: float32[2, 3]
        argument %b: float32[2, 4]
        %c = Concat(%a, %b, num_args=2): float32[2, 7]
        %d = slice_axis(%c, axis=1, begin=3, end=7): float32[2, 4]
        %e = slice_axis(%c, axis=-1, begin=1, end=3): float32[2, 2]
        %f = slice_axis(%c, axis=1, begin=2, end=5): float32[2, 3]
        head d = %d
        head e = %e
        head f = %f
        """,
        """
        argument %b: float32[2, 4]
        argument %a: float32[2, 3]
        %e.slice_axis = slice_axis(%a, axis=1, begin=1, end=3): float32[2, 2]
        %c = Concat(%a, %b, num_args=2): float32[2, 7]
        %f = slice_axis(%c, axis=1, begin=2, end=5): float32[2, 3]
        head d = %b
        head e = %e.slice_axis
        head f = %f
        """,
    )


def test_a_head_may_become_an_input():
    changes(
        simplify,
        "argument %x: float32[2]\n%y = _copy(%x): float32[2]\nhead y = %y",
        "argument %x: float32[2]\nhead y = %x",
    )


def test_what_changes_the_dtype_stays():
    keeps(
        simplify,
        "argument %x: int32[2]\n%y = _mul_scalar(%x, is_int=False): float64[2]\nhead y = %y",
    )


def test_a_wrong_rule_is_found_out():
    graph = graph_of(
        """
        argument %x: float32[2]
        %y = _test_wrong_rule(%x): float32[1, 2]
        %z = exp(%y): float32[1, 2]
        head z = %z
        """
    )
    wrong = simplify(graph, context())
    text = r"^after simplify: facts of exp z do not hold: Shape inconsistent, \[1,2\] against \[2\]$"
    with pytest.raises(GraphError, match=text):
        verify(wrong, "simplify")
