"""Common sub-expressions are computed once; what only looks equal is not merged."""

from __future__ import annotations

import pytest

from symc.core.errors import GraphError
from symc.passes.merge_equal import merge_equal
from symc.passes.verify import verify

from .golden import changes, context, graph_of, keeps


def test_equal_nodes_merge_and_so_do_their_users():
    changes(
        merge_equal,
        """
        argument %x: float32[2]
        %a = exp(%x): float32[2]
        %b = exp(%x): float32[2]
        %c = elemwise_add(%a, %b): float32[2]
        %d = elemwise_add(%b, %a): float32[2]
        %e = elemwise_mul(%c, %d): float32[2]
        head e = %e
        head b = %b
        """,
        """
        argument %x: float32[2]
        %a = exp(%x): float32[2]
        %c = elemwise_add(%a, %a): float32[2]
        %e = elemwise_mul(%c, %c): float32[2]
        head e = %e
        head b = %a
        """,
    )


def test_every_output_of_a_merged_node_is_replaced():
    changes(
        merge_equal,
        """
        argument %x: float32[2, 2]
        %a = SliceChannel(%x, num_outputs=2): float32[2, 1], float32[2, 1]
        %b = SliceChannel(%x, num_outputs=2): float32[2, 1], float32[2, 1]
        head a = %a
        head b = %b:1
        """,
        """
        argument %x: float32[2, 2]
        %a = SliceChannel(%x, num_outputs=2): float32[2, 1], float32[2, 1]
        head a = %a
        head b = %a:1
        """,
    )


def test_other_parameters_are_not_equal():
    keeps(
        merge_equal,
        """
        argument %x: float32[2]
        %a = _div_scalar(%x, scalar=0.0): float32[2]
        %b = _div_scalar(%x, scalar=-0.0): float32[2]
        head a = %a
        head b = %b
        """,
    )


def test_random_operators_never_merge():
    keeps(
        merge_equal,
        """
        argument %x: float32[2]
        %a = Dropout(%x, mode='always'): float32[2], float32[2]
        %b = Dropout(%x, mode='always'): float32[2], float32[2]
        %c = elemwise_sub(%a, %b): float32[2]
        head c = %c
        """,
    )


def test_constants_whose_users_give_them_other_shapes_are_not_equal():
    keeps(
        merge_equal,
        """
        %a = _zeros(shape=(0, 3)): float32[2, 3]
        %b = _zeros(shape=(0, 3)): float32[5, 3]
        head a = %a
        head b = %b
        """,
    )


def test_facts_that_do_not_hold_are_found_out():
    graph = graph_of("argument %x: float32[2]\n%y = exp(%x): int32[2]\nhead y = %y")
    text = "^after merge_equal: facts of exp y do not hold: dtype int32, the operator gives float32$"
    with pytest.raises(GraphError, match=text):
        verify(merge_equal(graph, context()), "merge_equal")
