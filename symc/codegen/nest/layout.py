"""The descriptor of a kernel: which word holds which run-time number, and the text that names the kernel's structure.

The text holds all that the code depends on: loops, expressions, dtypes, and how every access steps along the lanes
(contiguous or by a run-time stride). It holds no extent, stride, offset or parameter: those are words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from symc.codegen.kernel import Ref, Word
from symc.loopir.expr import Expr, operands_of

from .form import Access
from .keep import Row
from .plan import NestPlan

Key = Expr | int  # a load or an index value; or the number of a store
Addressed = Key | Row


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
    out = _Printer(plan)
    for axis in out.axes:
        out.put(("extent", axis), plan.form.extents[axis])
    if plan.blocked:
        out.put(("block",), block)
        out.put(("n_blocks",), n_blocks)
    lines = [*out.heading(), *map(out.value, plan.form.every), *out.stores(), *out.schedule()]
    return WordLayout(out.axes, tuple(out.words), out.at, frozenset(out.contiguous), "\n".join(lines))


class _Printer:
    """Prints the parts of a nest; the words that a part reads are put when it is printed."""

    def __init__(self, plan: NestPlan) -> None:
        self.plan = plan
        self.axes = {axis: f"a{k}" for k, axis in enumerate(_axes_in_order(plan))}
        self.words: list[Word] = []
        self.at: dict[tuple, int] = {}
        self.contiguous: set[tuple[Key, str]] = set()
        self._names: dict[Expr, str] = {}
        self._lane_axes = {plan.vector, plan.cross, *plan.row_vectors.values(), *(s.vector for s in plan.stores)}
        self._n_words = 0

    def put(self, key: tuple, word: Word) -> None:
        """Appends what the kernel finds under the key; a reference takes two words."""
        self.at[key] = self._n_words
        self._n_words += 2 if isinstance(word, Ref) else 1
        self.words.append(word)

    def heading(self) -> Iterator[str]:
        plan = self.plan
        yield f"nest 1 {plan.kind} lanes {plan.lanes} unroll {plan.unroll}"
        yield (
            f"outer {self._listed(plan.outer)} vector {self._axis(plan.vector)} cross {self._axis(plan.cross)} "
            f"blocked {self._axis(plan.blocked)}"
        )

    def value(self, e: Expr) -> str:
        """The line of an expression, which has a name from there on."""
        name = self._names[e] = f"e{len(self._names)}"
        return f"{name}: {e.dtype} = {self._text(e)}"

    def stores(self) -> Iterator[str]:
        for k, store in enumerate(self.plan.form.stores):
            sign = "+=" if store.is_add else "="
            yield f"store {self._access(k, store.access)} {sign} {self._names[store.value]}"

    def schedule(self) -> Iterator[str]:
        """What else decides the code: sliding windows, woven loops, streams, loops, what walks of rows do."""
        plan = self.plan
        if plan.slide:
            slide = plan.slide
            yield f"slide along {self.axes[slide.axis]}: {slide.step} of {slide.n_taps} taps {self.axes[slide.tap]}"
            if slide.unrolled:
                yield f"unrolled {' '.join(f'{self.axes[a]}<{n}' for a, n in slide.unrolled)}"
        if plan.woven:
            yield f"woven {plan.woven}"
        if plan.streams:
            yield "streams"
        for group in plan.stores:
            stores = [k for k, s in enumerate(plan.form.stores) if s in group.stores]
            yield f"loops {self._listed(group.serial)} vector {self._axis(group.vector)}: {stores}"
            if group.crosswise:
                yield f"crosswise {' '.join(self._names[e] for e in group.crosswise)}"
        for kept in plan.kept:
            yield f"keep {' '.join(self._names[e] for e in kept.values.values())}"
        if plan.below:
            scaled = ", scaled" if plan.scales else ""
            yield f"at most 0{scaled}: {' '.join(self._names[e] for e in plan.below)}"
        if plan.asks_ahead:
            yield "asks ahead"
        if plan.abreast > 1:
            yield f"{plan.abreast} rows abreast"

    def _text(self, e: Expr) -> str:
        plan = self.plan
        if e.op == "load":
            return f"load {self._access(e, plan.form.loads[e])}"
        if e.op == "index":
            self.put(("base", e), plan.form.indices[e].constant)
            return f"index {self._steps(e, plan.form.indices[e].coefficients, None)}"
        if e.op == "param":
            self.put(("param", e), e.data)
            return "param"
        if e.op == "const":
            return repr(e.data)
        if e.op == "reduce":
            along = self._listed(plan.form.reduce_axes[e]) + " (short)" * plan.is_short(e)
            within = "".join(f" within {self._names[b]}" for b in e.args[1:])
            vector = self._axis(plan.row_vectors.get(e))
            return f"{e.data[0]} over {along} vector {vector} of {self._names[e.args[0]]}{within}"
        if e.op == "bound":
            return f"bound of {self.axes[e.data.name]}: {' '.join(self._names[a] for a in e.args)}"
        return f"{e.op} {' '.join(self._names[a] for a in operands_of(e))}"

    def _access(self, key: Key, access: Access) -> str:
        self.put(("base", key), Ref(access.buffer, access.linear.constant))
        text = self._steps(key, access.linear.coefficients, access.item_size)
        for k, (stride, index) in enumerate(access.computed):
            self.put(("computed", key, k), stride)
            text += f" + s * {self._names[index]}"
        return f"{access.dtype}[{text}]"

    def _steps(self, key: Key, coefficients: Mapping[str, int], item_size: int | None) -> str:
        """Along which axes it steps: by one element along a lane axis, which is structure, or by a word."""
        parts = []
        for axis, name in self.axes.items():
            step = coefficients.get(axis, 0)
            if not step:
                continue
            if item_size == step and axis in self._lane_axes:
                self.contiguous.add((key, axis))
                parts.append(f"{name}:1")
            else:
                self.put(("step", key, axis), step)
                parts.append(f"{name}:s")
        return " ".join(parts)

    def _axis(self, axis: str | None) -> str | None:
        return self.axes.get(axis or "")

    def _listed(self, axes: Iterable[str]) -> str:
        return " ".join(self.axes[a] for a in axes)


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
