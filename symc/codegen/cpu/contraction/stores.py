"""Emits an epilogue: the finished sums of a register tile become values, and the values are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symc.codegen.contraction.epilogue import Epilogue, Operand
from symc.codegen.descriptor import Descriptor
from symc.codegen.llvm.emit import Emitter, below
from symc.codegen.llvm.lanes import I8, I64
from symc.codegen.llvm.loops import loop, minimum
from symc.codegen.llvm.memory import LINE_BYTES, Elements, narrow
from symc.core.dtypes import ITEM_SIZE
from symc.loopir.expr import Expr, walk
from symc.loopir.kernel import section_of

MAX_ASKED = 32  # vectors at once: an LSTM in training stores 28 and reads 20, and was 1 % slower when asking for all
SIDE_BY_SIDE = 4  # vectors whose values are computed in turns, as each waits for itself: an LSTM 0.5 to 1 % faster


@dataclass(frozen=True)
class EvenRows:
    """`count` rows from number `first` on: an operand's follow each other at its stride."""

    first: Any
    count: int

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Place:
    """Where a tile stands.

    rows       the number of each row
    column     the first column
    n_columns  columns from there to the end, perhaps more than the tile has
    masks      the lanes of each vector that exist; None: all
    """

    rows: Sequence[Any] | EvenRows
    column: Any
    n_columns: Any
    masks: Sequence[Any]


def emit_stores(
    simd: Elements,
    epilogue: Epilogue,
    d: Descriptor,
    desc: Any,
    bufs: Any,
    sums: list[list[Any]],
    place: Place,
    streams: bool = False,
) -> None:
    """Everything is computed before anything is stored, so repeated rows and in-place operands are harmless.

    `streams`: what fills whole cache lines goes past the caches; a fence makes it seen by other threads.
    A row of `sums` has the vectors of each section, one section after the other; `place` is where those of one stand.
    """
    walker = _Operands(simd, epilogue, d, desc, bufs, place)
    columns = []  # one emitter for each vector that knows what all rows share
    for v in range(len(place.masks)):
        columns.append(Emitter(simd.v, walker.leaf_of(0, v, ())))
        for e in _shared_by_rows(epilogue):
            columns[-1].value(e)
    n_vectors, roots = len(place.masks), [value for _, value in epilogue.stores]
    emitters = [
        Emitter(simd.v, walker.leaf_of(r, v, row[v::n_vectors]), dict(column.known))
        for r, row in enumerate(sums)
        for v, column in enumerate(columns)
    ]
    for first in range(0, len(emitters), SIDE_BY_SIDE):
        for e in walk(*roots, known=columns[0].known, below=below):
            for emitter in emitters[first : first + SIDE_BY_SIDE]:
                emitter.value(e)
    for operand, root in epilogue.stores:
        values = [narrow(simd.v, emitter.value(root), root.dtype, operand.dtype) for emitter in emitters]
        tile = [values[k : k + n_vectors] for k in range(0, len(values), n_vectors)]
        if streams and walker.may_stream(operand):
            walker.stream(operand, tile)
        else:
            walker.store(operand, tile)


def emit_prefetches(simd: Elements, epilogue: Epilogue, d: Descriptor, desc: Any, bufs: Any, place: Place) -> None:
    """Asks for what the epilogue will read or store of each row, so that it is near when the sums are finished."""
    walker = _Operands(simd, epilogue, d, desc, bufs, place)
    stored = [operand for operand, _ in epilogue.stores]
    asked = [operand for operand in epilogue.operands if operand.row_stride and operand.column_stride == 1]
    if len(asked) * len(place.rows) * len(place.masks) > MAX_ASKED:
        asked = [operand for operand in asked if operand in epilogue.loads.values()]
    for operand in asked:
        for r in range(len(place.rows)):
            for v in range(len(place.masks)):
                simd.prefetch(walker.address(operand, r, v), is_written=operand in stored)


def _shared_by_rows(epilogue: Epilogue) -> list[Expr]:
    """The largest sub-expressions that have the same value in every row (scale / sqrt(variance + eps))."""
    shared: dict[Expr, None] = {}
    differs: dict[Expr, bool] = {}
    for _, root in epilogue.stores:
        for e in walk(root):
            operand = epilogue.loads.get(e)
            if e.op == "load":
                differs[e] = operand is None or operand.row_stride != 0
            else:
                differs[e] = any(differs[a] for a in e.args)
            if differs[e]:
                shared.update(dict.fromkeys(a for a in e.args if not differs[a]))
    return list(shared)


class _Operands:
    """Addresses, loads and stores of a tile's epilogue; what all rows share is loaded once."""

    def __init__(self, simd: Elements, epilogue: Epilogue, d: Descriptor, desc: Any, bufs: Any, place: Place) -> None:
        self.simd, self.epilogue, self.place = simd, epilogue, place
        b, operands = simd.b, epilogue.operands
        self.desc = simd.pointer(desc)
        bufs = simd.pointer(bufs)
        self.base: dict[Operand, Any] = {}
        self.row_stride: dict[Operand, Any] = {}
        self.column_stride: dict[Operand, Any] = {}
        for i, operand in enumerate(operands):
            number = d.number(f"operand{i}")
            numbers = (number, number + 1, d.number(f"operand{i}_row_bytes"), d.number(f"operand{i}_column_bytes"))
            slot, offset, row_stride, column_stride = (simd.load_word(self.desc, k) for k in numbers)
            at = b.add(simd.load_word(simd.at(bufs, b.mul(slot, I64(8))), 0), offset)
            if operand.column_stride:
                step = column_stride if operand.is_scattered else I64(ITEM_SIZE[operand.dtype])
                at = b.add(at, b.mul(place.column, step))
            self.base[operand], self.row_stride[operand] = simd.pointer(at), row_stride
            self.column_stride[operand] = column_stride
        self.params = {param: d.number(f"param{i}") for i, param in enumerate(epilogue.params)}
        self.of = {o: Elements(simd.v, o.dtype) for o in operands}
        self.shared: dict[tuple[Expr, int], Any] = {}
        self.row_at: dict[tuple[Operand, int], Any] = {}
        self.gathered = {o: self._gather(o) for o in dict.fromkeys(epilogue.loads.values()) if o.is_scattered}

    def leaf_of(self, r: int, v: int, totals: Sequence[Any]) -> Callable[[Expr], Any]:
        """What the emitter of row `r`, vector `v` asks for loads and parameters; `totals`: its finished sums."""

        def leaf(expr: Expr) -> Any:
            if expr.op == "param":
                return self._once((expr, 0), lambda: self._param(expr))
            operand = self.epilogue.loads.get(expr)
            if operand is None:
                return totals[section_of(expr)]
            if operand.row_stride:
                return self._load(operand, r, v)
            return self._once((expr, v), lambda: self._load(operand, 0, v))

        return leaf

    def store(self, operand: Operand, tile: list[list[Any]]) -> None:
        """Writes the values of all rows and vectors."""
        memory = self._tile_memory(operand) if operand.is_scattered else None
        simd = self.of[operand]
        for r, row in enumerate(tile):
            for v, value in enumerate(row):
                if memory is not None:
                    simd.store(value, self._in_memory(operand, memory, r, v))
                else:
                    simd.store(value, self.address(operand, r, v), self.place.masks[v])
        if memory is not None:
            self._each_element(operand, memory, len(tile), is_store=True)

    def may_stream(self, operand: Operand) -> bool:
        """Whether a tile has whole lines of an operand, if it begins with one, and does not read them itself."""
        line_bytes = len(self.place.masks) * self.of[operand].vector_bytes
        return (
            operand.column_stride == 1 and line_bytes % LINE_BYTES == 0 and operand not in self.epilogue.loads.values()
        )

    def stream(self, operand: Operand, tile: list[list[Any]]) -> None:
        """Writes the values of all rows and vectors past the caches, where each row begins and ends with a line."""
        simd, b = self.of[operand], self.simd.b
        rows = [self._row(operand, r) for r in range(len(tile))]
        beyond = b.and_(b.or_(b.ptrtoint(rows[0], I64), self.row_stride[operand]), I64(LINE_BYTES - 1))
        is_whole = b.icmp_signed(">=", self.place.n_columns, I64(len(self.place.masks) * simd.v.n))
        is_even = b.and_(is_whole, b.icmp_signed("==", beyond, I64(0)))
        with b.if_else(is_even, likely=True) as (past_the_caches, through_them):
            with past_the_caches:
                for row, values in zip(rows, tile):
                    for v, value in enumerate(values):
                        simd.stream(value, simd.at(row, v * simd.vector_bytes))
            with through_them:
                self.store(operand, tile)

    def _load(self, operand: Operand, r: int, v: int) -> Any:
        simd = self.of[operand]
        if operand.is_scattered:
            return simd.load(self._in_memory(operand, self.gathered[operand], r, v))
        at = self.address(operand, r, v)
        return simd.load(at, self.place.masks[v]) if operand.column_stride else simd.broadcast(at)

    def address(self, operand: Operand, r: int, v: int) -> Any:
        return self.simd.at(self._row(operand, r), v * self.of[operand].vector_bytes if operand.column_stride else 0)

    def _row(self, operand: Operand, r: int) -> Any:
        if (operand, r) not in self.row_at:
            at, rows, stride = self.base[operand], self.place.rows, self.row_stride[operand]
            if operand.row_stride and isinstance(rows, EvenRows) and r > 0:
                at = self.simd.at(self._row(operand, r - 1), stride)
            elif operand.row_stride:
                row = rows.first if isinstance(rows, EvenRows) else rows[r]
                at = self.simd.at(at, self.simd.b.mul(row, stride))
            self.row_at[operand, r] = at
        return self.row_at[operand, r]

    def _gather(self, operand: Operand) -> Any:
        memory = self._tile_memory(operand)
        self._each_element(operand, memory, len(self.place.rows) if operand.row_stride else 1, is_store=False)
        return memory

    def _each_element(self, operand: Operand, memory: Any, n_rows: int, is_store: bool) -> None:
        """Copies a tile between its columns in memory order and a scattered operand, column by column."""
        simd, b = self.of[operand], self.simd.b
        kind = simd.element.as_pointer()
        rows = [self._row(operand, r) for r in range(n_rows)]
        count = minimum(b, self.place.n_columns, I64(len(self.place.masks) * simd.v.n))

        def column(index: Any, _: list[Any]) -> list[Any]:
            far_offset, near_offset = b.mul(index, self.column_stride[operand]), b.mul(index, I64(simd.item_bytes))
            for r, row in enumerate(rows):
                far = b.bitcast(simd.at(row, far_offset), kind)
                near = b.bitcast(simd.at(self._in_memory(operand, memory, r, 0), near_offset), kind)
                source, target = (near, far) if is_store else (far, near)
                b.store(b.load(source, align=simd.item_bytes), target, align=simd.item_bytes)
            return []

        loop(b, I64(0), count, [], column, at_least_once=True)

    def _tile_memory(self, operand: Operand) -> Any:
        b, n_vectors = self.simd.b, len(self.place.rows) * len(self.place.masks)
        with b.goto_entry_block():
            memory = b.alloca(I8, I64(n_vectors * self.of[operand].vector_bytes))
            memory.align = 64
        return memory

    def _in_memory(self, operand: Operand, memory: Any, r: int, v: int) -> Any:
        return self.simd.at(memory, (r * len(self.place.masks) + v) * self.of[operand].vector_bytes)

    def _once(self, key: tuple[Expr, int], make: Callable[[], Any]) -> Any:
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def _param(self, expr: Expr) -> Any:
        return self.simd.v.parameter(self.simd.load_word(self.desc, self.params[expr]), expr.dtype)
