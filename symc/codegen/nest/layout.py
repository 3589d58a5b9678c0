"""The descriptor of a kernel: which word holds which run-time number, and the text that names the kernel's structure.

The text holds all that the code depends on: loops, expressions, dtypes, and how every access steps along the lanes
(contiguous or by a run-time stride). It holds no extent, stride, offset or parameter: those are words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from symc.codegen.kernel import Ref, Word
from symc.loopir.expr import Expr, operands_of

from .form import Access
from .plan import NestPlan

Key = Expr | int  # a load or an index value; or the number of a store


@dataclass(frozen=True)
class WordLayout:
    """Names of the axes in the printed kernel, descriptor words, where each is found, and the structure text."""

    axes: dict[str, str]
    words: tuple[Word, ...]
    at: dict[tuple, int]
    contiguous: frozenset[tuple[Key, str]]  # accesses that step by exactly one element along a lane axis
    structure: str


def lay_out(plan: NestPlan, block: int, n_blocks: int) -> WordLayout:
    """Assigns descriptor words in the order in which the kernel's parts are printed."""
    axes = {axis: f"a{k}" for k, axis in enumerate(_axes_in_order(plan))}
    words: list[Word] = []
    at: dict[tuple, int] = {}

    def put(key: tuple, *values: Word) -> None:
        at[key] = sum(2 if isinstance(w, Ref) else 1 for w in words)
        words.extend(values)

    for axis in axes:
        put(("extent", axis), plan.form.extents[axis])
    if plan.blocked:
        put(("block",), block)
        put(("n_blocks",), n_blocks)
    lane_axes = {plan.vector, plan.cross, *plan.row_vectors.values(), *(s.vector for s in plan.stores)}
    contiguous = set()
    names: dict[Expr, str] = {}
    lines = [f"nest 1 {plan.kind} lanes {plan.lanes} unroll {plan.unroll}"]
    lines += [
        f"outer {' '.join(axes[a] for a in plan.outer)} vector {axes.get(plan.vector or '')} "
        f"cross {axes.get(plan.cross or '')} "
        f"blocked {axes.get(plan.blocked or '')}"
    ]

    def steps(key: Key, coefficients: Mapping[str, int], item_size: int | None) -> str:
        parts = []
        for axis, name in axes.items():
            step = coefficients.get(axis, 0)
            if not step:
                continue
            if item_size == step and axis in lane_axes:
                contiguous.add((key, axis))
                parts.append(f"{name}:1")
            else:
                put(("step", key, axis), step)
                parts.append(f"{name}:s")
        return " ".join(parts)

    def access_text(key: Key, access: Access) -> str:
        put(("base", key), Ref(access.buffer, access.linear.constant))
        text = steps(key, access.linear.coefficients, access.item_size)
        for k, (stride, index) in enumerate(access.computed):
            put(("computed", key, k), stride)
            text += f" + s * {names[index]}"
        return f"{access.dtype}[{text}]"

    for e in plan.form.every:
        names[e] = f"e{len(names)}"
        if e.op == "load":
            text = f"load {access_text(e, plan.form.loads[e])}"
        elif e.op == "index":
            put(("base", e), plan.form.indices[e].constant)
            text = f"index {steps(e, plan.form.indices[e].coefficients, None)}"
        elif e.op == "param":
            put(("param", e), e.data)
            text = "param"
        elif e.op == "const":
            text = repr(e.data)
        elif e.op == "reduce":
            vector = plan.row_vectors.get(e)
            along = " ".join(axes[a] for a in plan.form.reduce_axes[e])
            along += " (short)" * plan.is_short(e)
            within = "".join(f" within {names[b]}" for b in e.args[1:])
            text = f"{e.data[0]} over {along} vector {axes.get(vector or '')} of {names[e.args[0]]}{within}"
        elif e.op == "bound":
            text = f"bound of {axes[e.data.name]}: {' '.join(names[a] for a in e.args)}"
        else:
            text = f"{e.op} {' '.join(names[a] for a in operands_of(e))}"
        lines.append(f"{names[e]}: {e.dtype} = {text}")
    for k, store in enumerate(plan.form.stores):
        sign = "+=" if store.is_add else "="
        lines.append(f"store {access_text(k, store.access)} {sign} {names[store.value]}")
    if plan.slide:
        slide = plan.slide
        lines.append(f"slide along {axes[slide.axis]}: {slide.step} of {slide.n_taps} taps {axes[slide.tap]}")
    if plan.woven:
        lines.append(f"woven {plan.woven}")
    if plan.streams:
        lines.append("streams")
    for group in plan.stores:
        stores = [k for k, s in enumerate(plan.form.stores) if s in group.stores]
        lines.append(f"loops {' '.join(axes[a] for a in group.serial)} vector {axes.get(group.vector or '')}: {stores}")
    for kept in plan.kept:
        lines.append(f"keep {' '.join(names[e] for e in kept.values.values())}")
    return WordLayout(axes, tuple(words), at, frozenset(contiguous), "\n".join(lines))


def _axes_in_order(plan: NestPlan) -> Iterator[str]:
    seen: set[str] = set()

    def fresh(names: tuple[str | None, ...]) -> Iterator[str]:
        for name in names:
            if name and name not in seen:
                seen.add(name)
                yield name

    yield from fresh((*plan.outer, plan.vector, plan.cross, plan.blocked))
    for axes in plan.form.reduce_axes.values():
        yield from fresh(axes)
    for group in plan.stores:
        yield from fresh((*group.serial, group.vector))
