"""Channels-last around contractions, row-major where users look, conversions only where the order changes."""

from __future__ import annotations

import pytest

from symc.core.errors import GraphError
from symc.ir.graph import Layout
from symc.passes.assign_layout import assign_layout
from symc.passes.verify import verify

from .golden import changes, context, graph_of, keeps


def test_a_convolutional_stretch_is_channels_last():
    changes(
        assign_layout,
        """
        argument %x: float32[2, 3, 5, 5]
        parameter %w: float32[4, 3, 3, 3]
        %a = Convolution(%x, %w, kernel=(3, 3), num_filter=4, no_bias=True): float32[2, 4, 3, 3]
        %b = relu(%a): float32[2, 4, 3, 3]
        %c = Flatten(%b): float32[2, 36]
        head b = %b
        head c = %c
        """,
        """
        argument %x: float32[2, 3, 5, 5]
        %a.copy = _copy(%x): float32[2, 3, 5, 5] layout 0231
        parameter %w: float32[4, 3, 3, 3]
        %a = Convolution(%a.copy, %w, kernel=(3, 3), num_filter=4, no_bias=True): float32[2, 4, 3, 3] layout 0231
        %b = relu(%a): float32[2, 4, 3, 3] layout 0231
        %c.copy = _copy(%b): float32[2, 4, 3, 3]
        %c = Flatten(%c.copy): float32[2, 36]
        head b = %c.copy
        head c = %c
        """,
        is_idempotent=False,  # it converts what it is given
    )


def test_an_order_that_puts_elements_at_the_same_places_needs_no_copy():
    changes(
        assign_layout,
        """
        argument %x: float32[2, 1, 5, 5]
        parameter %w: float32[1, 1, 3, 3]
        %a = Convolution(%x, %w, kernel=(3, 3), num_filter=1, no_bias=True): float32[2, 1, 3, 3]
        head a = %a
        """,
        """
        argument %x: float32[2, 1, 5, 5]
        parameter %w: float32[1, 1, 3, 3]
        %a = Convolution(%x, %w, kernel=(3, 3), num_filter=1, no_bias=True): float32[2, 1, 3, 3] layout 0231
        head a = %a
        """,
    )


def test_windows_in_front_of_a_contraction_are_in_its_order():
    """Two branches read one conversion; windows over few channels would leave the vectors empty."""
    pool = "kernel=(3, 3), stride=(2, 2), pad=(1, 1)"
    changes(
        assign_layout,
        f"""
        argument %x: float32[2, 8, 5, 5]
        parameter %w: float32[4, 8, 1, 1]
        %a = Convolution(%x, %w, kernel=(1, 1), num_filter=4, no_bias=True): float32[2, 4, 5, 5]
        %p = Pooling(%x, {pool}): float32[2, 8, 3, 3]
        %b = Convolution(%p, %w, kernel=(1, 1), num_filter=4, no_bias=True): float32[2, 4, 3, 3]
        head a = %a
        head b = %b
        """,
        f"""
        argument %x: float32[2, 8, 5, 5]
        %a.copy = _copy(%x): float32[2, 8, 5, 5] layout 0231
        parameter %w: float32[4, 8, 1, 1]
        %a = Convolution(%a.copy, %w, kernel=(1, 1), num_filter=4, no_bias=True): float32[2, 4, 5, 5] layout 0231
        %a.copy1 = _copy(%a): float32[2, 4, 5, 5]
        %p = Pooling(%a.copy, {pool}): float32[2, 8, 3, 3] layout 0231
        %b = Convolution(%p, %w, kernel=(1, 1), num_filter=4, no_bias=True): float32[2, 4, 3, 3] layout 0231
        %b.copy = _copy(%b): float32[2, 4, 3, 3]
        head a = %a.copy1
        head b = %b.copy
        """,
        is_idempotent=False,  # it converts what it is given
    )


def orders(text: str) -> dict[str, tuple[int, ...]]:
    placed = assign_layout(graph_of(text), context())
    return {n.name: placed.layout(n[0]).order for n in placed.nodes if n.op}


def test_windows_that_step_or_end_along_rows_are_channels_last_and_others_are_not():
    found = orders(
        """
        argument %x: float32[2, 8, 6, 6]
        %padded = Pooling(%x, kernel=(3, 3), pad=(1, 1)): float32[2, 8, 6, 6]
        %strided = Pooling(%x, kernel=(2, 2), stride=(2, 2)): float32[2, 8, 3, 3]
        %plain = Pooling(%x, kernel=(2, 2)): float32[2, 8, 5, 5]
        %all = Pooling(%x, kernel=(1, 1), global_pool=True): float32[2, 8, 1, 1]
        %few = Pooling(%x, kernel=(4, 4), stride=(5, 5), pad=(1, 1)): float32[2, 8, 1, 1]
        head padded = %padded
        head strided = %strided
        head plain = %plain
        head all = %all
        head few = %few
        """
    )
    channels_last = {name for name, order in found.items() if order == (0, 2, 3, 1)}
    assert channels_last == {"padded.copy", "padded", "strided"}


def test_windows_across_channels_are_row_major_between_convolutions():
    found = orders(
        """
        argument %x: float32[2, 8, 6, 6]
        parameter %w: float32[8, 8, 1, 1]
        %a = Convolution(%x, %w, kernel=(1, 1), num_filter=8, no_bias=True): float32[2, 8, 6, 6]
        %n = LRN(%a, nsize=3): float32[2, 8, 6, 6], float32[2, 8, 6, 6]
        %b = Convolution(%n, %w, kernel=(1, 1), num_filter=8, no_bias=True): float32[2, 8, 6, 6]
        head b = %b
        """
    )
    assert [found[name] for name in ("a", "n", "b")] == [(0, 2, 3, 1), (0, 1, 2, 3), (0, 2, 3, 1)]


def test_windows_over_few_channels_keep_their_order():
    found = orders(
        """
        argument %x: float32[2, 3, 5, 5]
        parameter %w: float32[4, 3, 1, 1]
        %p = Pooling(%x, kernel=(3, 3), pad=(1, 1)): float32[2, 3, 5, 5]
        %b = Convolution(%p, %w, kernel=(1, 1), num_filter=4, no_bias=True): float32[2, 4, 5, 5]
        head b = %b
        """
    )
    assert found["p"] == (0, 1, 2, 3)


def test_everything_else_is_row_major():
    keeps(
        assign_layout,
        """
        argument %x: float32[2, 3]
        parameter %w: float32[4, 3]
        %a = FullyConnected(%x, %w, num_hidden=4, no_bias=True): float32[2, 4]
        %b = softmax(%a): float32[2, 4]
        head b = %b
        """,
    )


def test_a_stack_of_matrices_is_row_major():
    keeps(
        assign_layout,
        """
        argument %x: float32[2, 3, 5]
        argument %y: float32[2, 5, 4]
        %a = batch_dot(%x, %y): float32[2, 3, 4]
        head a = %a
        """,
    )


def test_a_constant_that_takes_its_shape_from_its_users():
    keeps(
        assign_layout,
        """
        argument %x: float32[2, 3]
        %z = _zeros(shape=(0, 3)): float32[2, 3]
        %y = elemwise_add(%x, %z): float32[2, 3]
        head y = %y
        """,
    )


def test_every_value_has_a_layout():
    graph = assign_layout(graph_of("argument %x: float32[2]\n%y = exp(%x): float32[2]\nhead y = %y"), context())
    assert len(graph.facts.layout) == 2
    verify(graph, "assign_layout", frozenset(("shape", "dtype", "layout")))


@pytest.mark.parametrize("order", [None, (0,), (0, 0), (1, 2)])
def test_a_layout_of_another_rank_is_an_error(order):
    graph = graph_of("argument %x: float32[2, 3]\nhead x = %x")
    table = {} if order is None else {graph.nodes[0][0]: Layout(order)}
    broken = graph.with_facts(layout=table)
    with pytest.raises(GraphError, match=r"^after mine: layout of %x is .*, its shape \(2, 3\)$"):
        verify(broken, "mine", frozenset(("shape", "dtype", "layout")))
