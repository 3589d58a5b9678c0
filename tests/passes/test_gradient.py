"""Reverse mode: only what is asked for, sums over several uses, requests of each kind, updates, losses."""

from __future__ import annotations

import pytest

from symc.core.errors import GradientError
from symc.ir.op import Op, op
from symc.passes.gradient import gradient

from .golden import changes, context, graph_of, keeps

PRODUCT = """
argument %a: float32[2, 3]
argument %b: float32[2, 3]
%y = elemwise_mul(%a, %b): float32[2, 3]
head y = %y
"""


@op("_test_misshapen")
class Misshapen(Op):
    """An operator whose gradient has the wrong shape."""

    is_internal = True

    def gradient(self, g, x, y, dy):
        return [g("sum", dy[0])]


def test_only_what_is_asked_for_is_built():
    changes(
        gradient,
        PRODUCT,
        """
        argument %a: float32[2, 3]
        argument %b: float32[2, 3]
        %y = elemwise_mul(%a, %b): float32[2, 3]
        head_gradient %head_gradient0: float32[2, 3]
        %y.elemwise_mul = elemwise_mul(%head_gradient0, %b): float32[2, 3]
        head y = %y
        gradient a = %y.elemwise_mul
        """,
        {"a": "write", "b": "null"},
        is_idempotent=False,
    )


@pytest.mark.parametrize("grad_req", [{}, {"a": "null", "b": "null"}])
def test_nothing_asked_for_changes_nothing(grad_req):
    keeps(gradient, PRODUCT, grad_req)


def test_uses_are_summed_and_add_adds_to_what_is_there():
    changes(
        gradient,
        """
        argument %a: float32[2]
        %y = elemwise_add(%a, %a): float32[2]
        head y = %y
        """,
        """
        argument %a: float32[2]
        %y = elemwise_add(%a, %a): float32[2]
        accumulator %a#1: float32[2]
        head_gradient %head_gradient0: float32[2]
        %a.elemwise_add = elemwise_add(%head_gradient0, %head_gradient0): float32[2]
        %a.elemwise_add1 = elemwise_add(%a#1, %a.elemwise_add): float32[2]
        head y = %y
        gradient a = %a.elemwise_add1
        """,
        {"a": "add"},
        is_idempotent=False,
    )


def test_of_a_head_listed_twice_the_last_gradient_counts():
    changes(
        gradient,
        "argument %a: float32[2]\nhead y = %a\nhead z = %a",
        """
        argument %a: float32[2]
        head_gradient %head_gradient1: float32[2]
        head y = %a
        head z = %a
        gradient a = %head_gradient1
        """,
        {"a": "write"},
        is_idempotent=False,
    )


def test_an_argument_no_head_depends_on_gets_zeros():
    changes(
        gradient,
        """
        argument %a: float32[2]
        argument %b: float32[3]
        %y = exp(%a): float32[2]
        %z = BlockGrad(%b): float32[3]
        head y = %y
        head z = %z
        """,
        """
        argument %a: float32[2]
        %y = exp(%a): float32[2]
        argument %b: float32[3]
        %z = BlockGrad(%b): float32[3]
        %b.full = _full(shape=(3,), value=0.0): float32[3]
        head y = %y
        head z = %z
        gradient b = %b.full
        """,
        {"b": "write"},
        is_idempotent=False,
    )


def test_a_loss_needs_no_head_gradient():
    changes(
        gradient,
        "argument %a: float32[2]\n%y = make_loss(%a): float32[2]\nhead y = %y",
        """
        argument %a: float32[2]
        %y = make_loss(%a): float32[2]
        %y.full = _full(shape=(2,), value=1.0): float32[2]
        head y = %y
        gradient a = %y.full
        """,
        {"a": "write"},
        is_idempotent=False,
    )


def test_training_updates_the_states_of_its_operators():
    graph = gradient(
        graph_of(
            """
            training
            argument %x: float32[2, 3]
            argument %g: float32[3]
            argument %b: float32[3]
            aux %m: float32[3]
            aux %v: float32[3]
            %y = BatchNorm(%x, %g, %b, %m, %v): float32[2, 3], float32[3], float32[3]
            head y = %y
            """
        ),
        context({"x": "write"}),
    )
    assert [(o.kind, o.name) for o in graph.outputs] == [
        ("head", "y"), ("update", "g"), ("update", "m"), ("update", "v"), ("gradient", "x")
    ]  # fmt: skip


def test_a_gradient_of_the_wrong_shape_is_an_error():
    graph = graph_of("argument %a: float32[2, 3]\n%y = _test_misshapen(%a): float32[2, 3]\nhead y = %y")
    text = r"^gradient of _test_misshapen y for %a: shape \[1\], expected \[2,3\]$"
    with pytest.raises(GradientError, match=text):
        gradient(graph, context({"a": "write"}))
