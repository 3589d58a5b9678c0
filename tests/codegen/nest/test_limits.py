"""Which differences are known to be at most 0, and that an exp of others is not taken for one of these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from symc.codegen.cpu.nest import schedule_nest
from symc.codegen.cpu.target import Target
from symc.codegen.nest.form import form_of
from symc.codegen.nest.limits import below_maximum, cancels_factors
from symc.loopir.expr import Axis, Expr, load, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store

from ..nests import axes, check, f32

ROW, COLUMN = axes(4, 40)
K, HALF = Axis("k", 40), Axis("h", 20)


def largest(value: Callable[[Axis], Expr], k: Axis = K) -> Expr:
    return reduce("max", (k,), value(k))


def nest_of(value: Expr, dtype: str = "float32") -> Nest:
    buffers = tuple(Buffer.dense(name, (4, 40), dtype) for name in "xwy")
    return Nest(buffers, (Store("y", (ROW, COLUMN), value, (ROW, COLUMN)),))


def n_known(nest: Nest) -> int:
    return len(below_maximum(form_of(nest.stores, {b.name: b for b in nest.buffers})))


@pytest.mark.parametrize(
    "difference",
    [
        f32("x", ROW, COLUMN) - largest(lambda k: f32("x", ROW, k)),
        f32("x", ROW, COLUMN) - largest(lambda k: f32("x", k, COLUMN), Axis("k", 4)),
        f32("x", ROW, COLUMN) * f32("w", ROW, COLUMN) - largest(lambda k: f32("x", ROW, k) * f32("w", ROW, k)),
    ],
)
def test_values_below_their_maximum(difference: Expr) -> None:
    assert n_known(nest_of(prim("exp", difference))) == 1


OTHERS = {
    "another array": f32("w", ROW, COLUMN) - largest(lambda k: f32("x", ROW, k)),
    "a half of the row": f32("x", ROW, COLUMN) - largest(lambda k: f32("x", ROW, k), HALF),
    "another row": f32("x", ROW, COLUMN) - largest(lambda k: f32("x", 0, k)),
    "the other way round": largest(lambda k: f32("x", ROW, k)) - f32("x", ROW, COLUMN),
    "a minimum": f32("x", ROW, COLUMN) - reduce("min", (K,), f32("x", ROW, K)),
    "another formula": f32("x", ROW, COLUMN) * 2.0 - largest(lambda k: f32("x", ROW, k)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_values_may_be_anything(target: Target, name: str) -> None:
    """Their exponentials overflow, as those of values below 0 cannot."""
    nest = nest_of(prim("exp", OTHERS[name]))
    assert n_known(nest) == 0
    x = np.random.default_rng(0).normal(0, 1, (4, 40)).astype("float32")
    x[:, 30] = 95.0
    check(nest, {"x": x, "w": x[:, ::-1] * 3}, target)


def test_kernels_that_know_it_have_another_name() -> None:
    """A kernel's name is that of its structure, which has no name of a buffer and no extent."""
    target = Target("x86_64-linux-gnu", "any", "", 256)
    known = f32("x", ROW, COLUMN) - largest(lambda k: f32("x", ROW, k))
    (call,), (other,), (half,) = (
        schedule_nest(nest_of(prim("exp", e)), target)
        for e in (known, OTHERS["another array"], OTHERS["a half of the row"])
    )
    assert "at most 0: " in call.code.structure
    assert "at most 0: " not in other.code.structure + half.code.structure
    assert call.code.name not in (other.code.name, half.code.name)


def test_exponents_below_zero(target: Target) -> None:
    """Denormal results, infinities and NaN of any bits, whose row is NaN then."""
    x = np.linspace(0, -110, 160, dtype="float32").reshape(40, 4).T
    x[1, 5], x[2, 7] = -np.inf, np.inf
    x[3, 9] = np.uint32(0x7FC00001).view("float32")
    difference = f32("x", ROW, COLUMN) - largest(lambda k: f32("x", ROW, k))
    check(nest_of(prim("exp", difference)), {"x": x, "w": x}, target, atol=3e-45)


def power(at: Axis) -> Expr:
    return prim("exp", f32("x", ROW, at) - largest(lambda k: f32("x", ROW, k)))


TOTAL = reduce("sum", (K,), power(K))
FACTORS = {
    "softmax": (power(COLUMN) * (1.0 / TOTAL), True),
    "softmax times something": (power(COLUMN) * (1.0 / TOTAL) * f32("w", ROW, COLUMN), True),
    "no sum": (power(COLUMN), False),
    "another sum": (power(COLUMN) * (1.0 / reduce("sum", (K,), f32("w", ROW, K))), False),
    "another sum besides": (power(COLUMN) * (1.0 / TOTAL) * (1.0 / (TOTAL + 1.0)), False),
    "a number more": ((power(COLUMN) + 1.0) * (1.0 / TOTAL), False),
    "the sum alone": (TOTAL * f32("w", ROW, COLUMN), False),
}


@pytest.mark.parametrize("name", FACTORS)
def test_exponentials_may_be_larger_where_their_sum_divides_them(target: Target, name: str) -> None:
    """With denormal results, and exponents of which nothing is left."""
    value, cancels = FACTORS[name]
    nest = nest_of(value)
    form = form_of(nest.stores, {b.name: b for b in nest.buffers})
    assert cancels_factors(form, below_maximum(form)) == cancels
    x = np.linspace(0, -110, 160, dtype="float32").reshape(40, 4).T
    x[1, 5] = -np.inf
    check(nest, {"x": x, "w": np.full_like(x, 0.75)}, target, atol=3e-45)


def test_float64_keeps_its_library(target: Target) -> None:
    x = np.random.default_rng(0).normal(0, 300, (4, 40))
    difference = load("x", (ROW, COLUMN), "float64") - largest(lambda k: load("x", (ROW, k), "float64"))
    check(nest_of(prim("exp", difference), "float64"), {"x": x, "w": x}, target, rtol=1e-14, atol=0)
