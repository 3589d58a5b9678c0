"""Counted loops in LLVM IR."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

Values = list[ir.Value]


def loop(
    b: ir.IRBuilder,
    start: ir.Value,
    stop: ir.Value,
    carried: Sequence[ir.Value],
    body: Callable[[ir.Value, Values], Values],
    *,
    step: int = 1,
    at_least_once: bool = False,
) -> Values:
    """`for i in range(start, stop, step): carried = body(i, carried)`, of integers of one type; the last `carried`.

    Tested at the end, behind a guard, so that a pass needs one branch; `at_least_once` promises start < stop and saves
    the guard.
    """
    before = b.block
    inside, after = b.append_basic_block("loop"), b.append_basic_block("done")
    if at_least_once:
        b.branch(inside)
    else:
        b.cbranch(b.icmp_signed("<", start, stop), inside, after)
    b.position_at_end(inside)
    index = b.phi(start.type)
    index.add_incoming(start, before)
    phis = [b.phi(value.type) for value in carried]
    for phi, value in zip(phis, carried):
        phi.add_incoming(value, before)
    results = body(index, list(phis))
    following = b.add(index, start.type(step))
    last = b.block
    for phi, value in zip([index, *phis], [following, *results]):
        phi.add_incoming(value, last)
    b.cbranch(b.icmp_signed("<", following, stop), inside, after)
    b.position_at_end(after)
    if at_least_once:
        return results
    finals = [b.phi(value.type) for value in carried]
    for phi, first, value in zip(finals, carried, results):
        phi.add_incoming(first, before)
        phi.add_incoming(value, last)
    return list(finals)


def when(b: ir.IRBuilder, condition: ir.Value, compute: Callable[[], Values], otherwise: Values) -> Values:
    """`compute()` if a condition holds, else other values."""
    before = b.block
    inside, after = b.append_basic_block("when"), b.append_basic_block("then")
    b.cbranch(condition, inside, after)
    b.position_at_end(inside)
    results = compute()
    last = b.block
    b.branch(after)
    b.position_at_end(after)
    phis = [b.phi(value.type) for value in otherwise]
    for phi, other, value in zip(phis, otherwise, results):
        phi.add_incoming(other, before)
        phi.add_incoming(value, last)
    return list(phis)


def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The smaller of two int64."""
    return b.select(b.icmp_signed("<", x, y), x, y)
