"""Kernels that differ in names alone become equal, others do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symc.loopir.expr import Axis, Expr, const, load, prim, reduce, walk
from symc.loopir.kernel import Buffer, Nest, Store
from symc.loopir.rename import nameless, renamed

ROWS, COLUMNS = 4, 8


def softmax_of(x: Expr, over: Expr, row_axis: Axis) -> Expr:
    """exp(x - max) / sum: `over` is x along the axis of the reductions."""
    top = reduce("max", (row_axis,), over)
    return prim("exp", x - top) / reduce("sum", (row_axis,), prim("exp", over - top))


def softmax(names: tuple[str, str], axes: tuple[str, str, str], scale: float = 1.0, columns: int = COLUMNS) -> Nest:
    x, y = (Buffer.dense(name, (ROWS, columns), "float32") for name in names)
    i, j, r = Axis(axes[0], ROWS), Axis(axes[1], columns), Axis(axes[2], columns)
    value = softmax_of(load(x.name, (i, j), "float32"), load(x.name, (i, r), "float32"), r) * scale
    return Nest((x, y), (Store(y.name, (i, j), value, (i, j)),))


def test_names_do_not_tell_kernels_apart():
    ours, theirs = softmax(("x", "y"), ("i", "j", "r")), softmax(("a", "b"), ("z", "y", "a0"))
    assert ours != theirs and nameless(ours) == nameless(theirs)
    assert hash(nameless(ours)) == hash(nameless(theirs))


@pytest.mark.parametrize("other", [{"scale": 2.0}, {"columns": 9}])
def test_numbers_and_extents_do(other):
    names = ("x", "y"), ("i", "j", "r")
    assert nameless(softmax(*names)) != nameless(softmax(*names, **other))


def test_strides_and_distances_do():
    kernel = softmax(("x", "y"), ("i", "j", "r"))
    x, y = kernel.buffers
    turned = replace(kernel, buffers=(replace(x, strides=(1, ROWS)), y))
    far = replace(kernel, distance_bytes=1 << 30)
    assert len({nameless(k) for k in (kernel, turned, far)}) == 3


def test_buffers_read_twice_do():
    i = Axis("i", ROWS)
    buffers = tuple(Buffer.dense(name, (ROWS,), "float32") for name in ("a", "b", "c"))

    def total(left: str, right: str) -> Nest:
        value = load(left, (i,), "float32") + load(right, (i,), "float32")
        return Nest(buffers, (Store("c", (i,), value, (i,)),))

    assert nameless(total("a", "a")) != nameless(total("a", "b"))


def test_a_body_is_renamed_once_whatever_reductions_are_around_it():
    """Each of 40 levels reads the one below it within its own reduction and outside of it: 2^40 ways down."""
    i, j = Axis("i", ROWS), Axis("j", COLUMNS)
    below = const(0.0, "float32")
    for level in range(40):
        r = Axis(f"r{level}", COLUMNS)
        below = reduce("sum", (r,), load("x", (i, r), "float32") - below) + below
    (store,) = renamed([Store("y", (i, j), below, (i, j))])
    assert len(list(walk(store.value))) <= 5 * 40
