"""Contractions of 16-bit operands compute in float32; everything else is left alone."""

from __future__ import annotations

import pytest

from symc.core.errors import DTypeError
from symc.passes.insert_casts import insert_casts

from .golden import changes, context, graph_of, keeps


def test_a_16_bit_contraction_is_wrapped():
    changes(
        insert_casts,
        """
        argument %x: float16[2, 3]
        argument %w: float16[4, 3]
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True): float16[2, 4]
        %z = exp(%y): float16[2, 4]
        head z = %z
        """,
        """
        argument %x: float16[2, 3]
        %y.Cast = Cast(%x, dtype='float32'): float32[2, 3]
        argument %w: float16[4, 3]
        %y.Cast1 = Cast(%w, dtype='float32'): float32[4, 3]
        %y = FullyConnected(%y.Cast, %y.Cast1, num_hidden=4, no_bias=True): float32[2, 4]
        %y.Cast2 = Cast(%y, dtype='float16'): float16[2, 4]
        %z = exp(%y.Cast2): float16[2, 4]
        head z = %z
        """,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wider_contractions_stay(dtype):
    keeps(
        insert_casts,
        f"""
        argument %x: {dtype}[2, 3]
        argument %w: {dtype}[4, 3]
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True): {dtype}[2, 4]
        head y = %y
        """,
    )


def test_elementwise_16_bit_stays():
    keeps(insert_casts, "argument %x: float16[2]\n%y = exp(%x): float16[2]\nhead y = %y")


def test_a_contraction_of_integers_is_an_error():
    graph = graph_of(
        """
        argument %x: int32[2, 3]
        argument %w: int32[4, 3]
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True): int32[2, 4]
        head y = %y
        """
    )
    text = "^Error in operator y: FullyConnected of int32 is not supported; cast its inputs to float32$"
    with pytest.raises(DTypeError, match=text):
        insert_casts(graph, context())
