"""Contractions of 16-bit operands compute in float32, of bytes in int32 or exact floats; all else is left alone."""

from __future__ import annotations

import pytest

from symc.core.errors import DTypeError
from symc.ir.text import graph_text
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


def test_a_16_bit_contraction_stays_where_the_machine_has_float32_sums_of_pairs(monkeypatch):
    machine = context().backend
    monkeypatch.setattr(type(machine), "channels_together", staticmethod(lambda product, dtype: 2))
    text = """
        argument %x: float16[2, {n}]
        argument %w: float16[4, {n}]
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True): float16[2, 4]
        head y = %y
        """
    keeps(insert_casts, text.format(n=6))
    filled = graph_text(insert_casts(graph_of(text.format(n=3)), context()))
    assert filled.count("_filled_up") == 2 and "FullyConnected(%y.filled_up, %y.filled_up1" in filled
    stacked = """
        argument %x: float16[2, 5, 3]
        argument %w: float16[2, 3, 4]
        %y = batch_dot(%x, %w): float16[2, 5, 4]
        head y = %y
        """
    assert "dtype='float32'" in graph_text(insert_casts(graph_of(stacked), context()))


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


def test_bytes_stay_where_their_channels_are_words():
    keeps(
        insert_casts,
        """
        argument %x: uint8[2, 8]
        argument %w: int8[4, 8]
        %y = _integer_fully_connected(%x, %w, num_hidden=4, no_bias=True): int32[2, 4]
        head y = %y
        """,
    )


def test_bytes_are_filled_up_to_words():
    changes(
        insert_casts,
        """
        argument %x: int8[2, 3]
        argument %w: int8[4, 3]
        %y = _integer_fully_connected(%x, %w, num_hidden=4, no_bias=True): int32[2, 4]
        head y = %y
        """,
        """
        argument %x: int8[2, 3]
        %y.filled_up = _filled_up(%x, axis=1, n_more=1): int8[2, 4]
        argument %w: int8[4, 3]
        %y.filled_up1 = _filled_up(%w, axis=1, n_more=1): int8[4, 4]
        %y = _integer_fully_connected(%y.filled_up, %y.filled_up1, num_hidden=4, no_bias=True): int32[2, 4]
        head y = %y
        """,
    )


@pytest.mark.parametrize("channels", [8, 7])
def test_bytes_are_widened_where_the_machine_has_int32_sums_of_int16(channels, monkeypatch):
    machine = context().backend
    widens = staticmethod(lambda product, dtype: 2 if dtype == "int16" else None)
    monkeypatch.setattr(type(machine), "channels_together", widens)
    found = insert_casts(
        graph_of(
            f"""
            argument %x: uint8[2, {channels}]
            argument %w: int8[4, {channels}]
            %y = _integer_fully_connected(%x, %w, num_hidden=4, no_bias=True): int32[2, 4]
            head y = %y
            """
        ),
        context(),
    )
    x, w = ("%y.int16", "%y.int161") if channels == 8 else ("%y.filled_up", "%y.filled_up1")
    text = graph_text(found)
    assert f"%y.int16 = _int16(%x): int16[2, {channels}]" in text
    assert f"%y = _integer_fully_connected({x}, {w}, num_hidden=4, no_bias=True): int32[2, 4]" in text
    assert f"{w} = " in text and text.count("int16[4, 8]") == 1
    assert graph_text(insert_casts(found, context())) == text


def test_bytes_that_give_bytes_are_floats():
    """The kernel of bytes stores int32, four times as much as there is room for."""
    changes(
        insert_casts,
        """
        argument %x: int8[2, 8]
        argument %w: int8[4, 8]
        %y = dot(%x, %w, transpose_b=True): int8[2, 4]
        head y = %y
        """,
        """
        argument %x: int8[2, 8]
        %y.Cast = Cast(%x, dtype='float32'): float32[2, 8]
        argument %w: int8[4, 8]
        %y.Cast1 = Cast(%w, dtype='float32'): float32[4, 8]
        %y = dot(%y.Cast, %y.Cast1, transpose_b=True): float32[2, 4]
        %y.Cast2 = Cast(%y, dtype='int8'): int8[2, 4]
        head y = %y.Cast2
        """,
    )


@pytest.mark.parametrize("kernel, wide", [(22, "float32"), (23, "float64")])
def test_depthwise_bytes_are_floats_that_hold_every_sum(kernel, wide):
    """22 * 22 products of 255 and 128 are below 2^24, 23 * 23 are not."""
    layer = f"_integer_convolution(%x, %w, kernel=({kernel}, {kernel}), num_filter=8, num_group=8, no_bias=True)"
    changes(
        insert_casts,
        f"""
        argument %x: uint8[1, 8, {kernel}, {kernel}]
        argument %w: int8[8, 1, {kernel}, {kernel}]
        %y = {layer}: int32[1, 8, 1, 1]
        head y = %y
        """,
        f"""
        argument %x: uint8[1, 8, {kernel}, {kernel}]
        %y.Cast = Cast(%x, dtype='{wide}'): {wide}[1, 8, {kernel}, {kernel}]
        argument %w: int8[8, 1, {kernel}, {kernel}]
        %y.Cast1 = Cast(%w, dtype='{wide}'): {wide}[8, 1, {kernel}, {kernel}]
        %y = {layer.replace("%x", "%y.Cast").replace("%w", "%y.Cast1")}: {wide}[1, 8, 1, 1]
        %y.Cast2 = Cast(%y, dtype='int32'): int32[1, 8, 1, 1]
        head y = %y.Cast2
        """,
    )


def test_bytes_whose_sums_int32_does_not_hold_are_float64():
    graph = graph_of(
        """
        argument %x: uint8[1, 65796]
        argument %w: int8[1, 65796]
        %y = _integer_fully_connected(%x, %w, num_hidden=1, no_bias=True): int32[1, 1]
        head y = %y
        """
    )
    found = insert_casts(graph, context())
    assert {found.dtype(n[0]) for n in found.nodes if not n.is_input and n.operator.name != "Cast"} == {"float64"}
