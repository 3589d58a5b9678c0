"""Scale and shift move into frozen weights, and only there."""

from __future__ import annotations

import pytest

from symc.core.errors import GraphError
from symc.passes.fold_constants import fold_constants
from symc.passes.verify import verify

from .golden import changes, context, graph_of, keeps

LAYER = """
argument %x: float32[2, 3]
{role} %w: float32[4, 3]
parameter %s: float32[4]
parameter %t: float32[4]
%a = FullyConnected(%x, %w, num_hidden=4, no_bias=True): float32[2, 4]
%y = _scale_shift(%a, %s, %t): float32[2, 4]
head y = %y
"""


def test_scale_and_shift_become_weight_and_bias():
    changes(
        fold_constants,
        LAYER.format(role="parameter"),
        """
        argument %x: float32[2, 3]
        parameter %w: float32[4, 3]
        parameter %s: float32[4]
        %a.Reshape = Reshape(%s, shape=(4, 1)): float32[4, 1]
        %a.broadcast_mul = broadcast_mul(%w, %a.Reshape): float32[4, 3]
        parameter %t: float32[4]
        %a.FullyConnected = FullyConnected(%x, %a.broadcast_mul, %t, num_hidden=4): float32[2, 4]
        head y = %a.FullyConnected
        """,
    )


def test_a_weight_that_changes_at_every_run_is_left_alone():
    keeps(fold_constants, LAYER.format(role="argument"))


def test_weights_of_another_dtype_are_left_alone():
    text = LAYER.format(role="parameter")
    for name in ("x", "w", "y"):
        text = text.replace(f"%{name}: float32", f"%{name}: float16")
    for op in ("no_bias=True)", "%t)"):
        text = text.replace(f"{op}: float32", f"{op}: float16")
    keeps(fold_constants, text)


def test_a_layer_somebody_else_reads_is_left_alone():
    keeps(fold_constants, LAYER.format(role="parameter") + "head a = %a\n")


def test_an_operator_without_scale_and_shift_is_left_alone():
    keeps(
        fold_constants,
        """
        argument %x: float32[2, 3]
        parameter %s: float32[3]
        %a = exp(%x): float32[2, 3]
        %y = _scale_shift(%a, %s, %s): float32[2, 3]
        head y = %y
        """,
    )


def test_missing_facts_are_found_out():
    graph = graph_of(LAYER.format(role="parameter").replace("%t: float32[4]", "%t"))
    with pytest.raises(GraphError, match=r"^after fold_constants: shape or dtype of %t is not known: None None$"):
        verify(fold_constants(graph, context()), "fold_constants")
