"""What happens to the finished sums: the contraction's stores as operands that move with the row and the column.

A store or load of an epilogue is reached as `address + row * row_stride + column`: rows are pixels (images and
positions flattened) or, in a weight gradient, output channels; columns are the contiguous channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import CodegenError
from symc.loopir.expr import Affine, Axis, Expr, walk
from symc.loopir.kernel import ACCUMULATOR, Buffer, Contraction, Store, buffer_of

from ...kernel import Ref, Word
from .simd import Simd

ADD_LOAD = "@old"  # the old content of a buffer that a store adds to


@dataclass(frozen=True)
class Operand:
    """One buffer as the epilogue walks it; strides and offset in elements.

    row_stride     distance of two rows; 0 when all rows share the element
    column_stride  1 when lanes are neighbours in memory, 0 when all columns share the element
    """

    buffer: str
    dtype: str
    offset: int
    row_stride: int
    column_stride: int

    @property
    def shape(self) -> str:
        """How the kernel addresses it; part of the kernel's structure (the strides themselves are not)."""
        return f"{self.dtype}[{'r' if self.row_stride else ''}{'c' if self.column_stride else ''}]"


@dataclass(frozen=True)
class Epilogue:
    """The stores of a contraction, with their memory operands and parameters numbered in order of appearance."""

    stores: tuple[tuple[Operand, Expr], ...]  # an "add" store is a set of `old + value`
    loads: dict[Expr, Operand]
    params: tuple[Expr, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return tuple(dict.fromkeys([*self.loads.values(), *(operand for operand, _ in self.stores)]))

    @property
    def words(self) -> tuple[Word, ...]:
        """Descriptor words: for each operand its address (2 words) and row stride in bytes, then the parameters."""
        words: list[Word] = []
        for o in self.operands:
            words += [Ref(o.buffer, o.offset * ITEM_SIZE[o.dtype]), o.row_stride * ITEM_SIZE[o.dtype]]
        return (*words, *(p.data for p in self.params))

    def structure(self) -> str:
        """The stores with buffers numbered and parameters abstracted; equal text means equal machine code."""
        names = {load: f"%{self.operands.index(o)}:{o.shape}" for load, o in self.loads.items()}
        names.update({param: f"${i}:{param.dtype}" for i, param in enumerate(self.params)})
        return "; ".join(f"%{self.operands.index(o)}:{o.shape} = {_text(value, names)}" for o, value in self.stores)


def _text(root: Expr, names: dict[Expr, str]) -> str:
    """An expression as text; a shared sub-expression is numbered, so the text is as long as the expression is."""
    known: dict[Expr, str] = {}
    lines: list[str] = []
    for e in walk(root):
        if e in names:
            known[e] = names[e]
        elif e.op == "load":
            known[e] = ACCUMULATOR
        elif e.op in ("const", "index"):
            known[e] = f"{e}:{e.dtype}"
        else:
            known[e] = f"t{len(lines)}"
            lines.append(f"{known[e]} = {e.op}:{e.dtype}({', '.join(known[a] for a in e.args)})")
    return "{" + ", ".join([*lines, known[root]]) + "}"


# (store, stride of each of its axes) -> (row stride, column stride); ValueError: not evenly spaced
Flatten = Callable[[Store, dict[Axis, int]], "tuple[int, int]"]


def epilogue_of(c: Contraction, flatten: Flatten) -> Epilogue:
    """The epilogue of a contraction; raises CodegenError naming the buffer that the kernel cannot walk."""
    stores: list[tuple[Operand, Expr]] = []
    loads: dict[Expr, Operand] = {}
    params: dict[Expr, None] = {}
    written: set[str] = set()
    for store in c.stores:
        target = _operand(c, store, store.buffer, store.index, flatten)
        if target.column_stride != 1:
            raise _refusal(c, store.buffer, "its channels are not contiguous")
        for e in walk(store.value):
            if e.op == "load" and e.data[0] != ACCUMULATOR:
                if e.data[0] in written:
                    raise _refusal(c, e.data[0], "it is read after an earlier store of the same kernel wrote it")
                loads[e] = _operand(c, store, *e.data, flatten)
                if loads[e].dtype != e.dtype:
                    raise _refusal(c, e.data[0], f"it is read as {e.dtype}")
            elif e.op == "param":
                params[e] = None
            elif e.op in ("index", "reduce"):
                raise _refusal(c, store.buffer, f"its value contains the {e.op} {e}")
        if target.dtype != store.value.dtype:
            raise _refusal(c, store.buffer, f"its value is a {store.value.dtype}")
        value = store.value
        if store.mode == "add":
            old = Expr("load", (), (ADD_LOAD + store.buffer, ()), value.dtype)
            loads[old] = target
            value = old + value
        stores.append((target, value))
        written.add(store.buffer)
    places = {target.buffer: target for target, _ in stores}
    for operand in loads.values():
        if places.get(operand.buffer, operand) != operand:
            raise _refusal(c, operand.buffer, "it is read at another place than it is written")
    return Epilogue(tuple(stores), loads, tuple(params))


def _operand(c: Contraction, store: Store, name: str, index: tuple[Affine | Expr, ...],
             flatten: Flatten) -> Operand:
    buffer = buffer_of(c, name)
    if any(isinstance(component, Expr) for component in index):
        raise _refusal(c, name, "its index is computed")
    total = Affine((), buffer.offset)
    for component, stride in zip(index, buffer.strides):
        total = total + Affine.of(component) * stride
    strides = {axis: total.coefficient(axis) for axis in store.axes}
    try:
        row_stride, column_stride = flatten(store, strides)
    except ValueError as error:
        raise _refusal(c, name, str(error)) from error
    return Operand(name, buffer.dtype, total.constant, row_stride, column_stride)


def even_stride(axes: Sequence[Axis], strides: dict[Axis, int]) -> int:
    """The distance of neighbours when `axes` are flattened to one; raises ValueError when it is not constant."""
    moving = [axis for axis in axes if axis.extent > 1]
    if not moving:
        return 0
    step = strides[moving[-1]]
    expected = step
    for axis in reversed(moving):
        if strides[axis] != expected:
            raise ValueError(f"axis {axis.name} has stride {strides[axis]}, evenly spaced rows need {expected}")
        expected *= axis.extent
    return step


def channel_stride(axis: Axis, strides: dict[Axis, int]) -> int:
    """0 or 1; a single channel counts as contiguous when it is not shared."""
    stride = strides[axis]
    if axis.extent == 1:
        return 1
    if stride not in (0, 1):
        raise ValueError(f"its channels have stride {stride}")
    return stride


def _refusal(c: Contraction, buffer: str, reason: str) -> CodegenError:
    return CodegenError(f"epilogue of a {c.kind} contraction: buffer {buffer!r} cannot be fused: {reason}; "
                        f"store the plain sum and compute the rest in a kernel of its own\n{c.text()}")


@dataclass(frozen=True)
class Place:
    """Where a tile stands: its row numbers, first column and column masks (None: all lanes exist)."""

    rows: Sequence[Any]
    column: Any
    masks: Sequence[Any]


def emit_stores(simd: Simd, epilogue: Epilogue, desc: Any, bufs: Any, first_word: int,
                sums: list[list[Any]], place: Place) -> None:
    """Everything is computed before anything is stored, so repeated rows and in-place operands are harmless."""
    from ..emit import VectorEmitter

    b = simd.builder
    walker = _Operands(simd, epilogue, desc, bufs, first_word, place)
    columns = []  # one emitter for each vector that knows what all rows share
    for v in range(len(place.masks)):
        columns.append(VectorEmitter(b, simd.lanes, lambda e, v=v: walker.leaf(e, 0, v, None)))
        for e in _shared_by_rows(epilogue):
            columns[-1].value(e)
    results: list[list[list[Any]]] = []
    for r, row in enumerate(sums):
        results.append([])
        for v, total in enumerate(row):
            emitter = VectorEmitter(b, simd.lanes, lambda e, r=r, v=v, total=total: walker.leaf(e, r, v, total))
            emitter.known.update(columns[v].known)
            results[-1].append([emitter.value(value) for _, value in epilogue.stores])
    for r, row in enumerate(results):
        for v, values in enumerate(row):
            for (operand, _), value in zip(epilogue.stores, values):
                simd.store(value, walker.address(operand, r, v), place.masks[v])


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
    """Addresses and loads of a tile's epilogue; what all rows share is loaded once."""

    def __init__(self, simd: Simd, epilogue: Epilogue, desc: Any, bufs: Any, first_word: int, place: Place) -> None:
        self.simd, self.epilogue, self.place = simd, epilogue, place
        b, operands = simd.builder, epilogue.operands
        self.desc = simd.pointer(desc)
        bufs = simd.pointer(bufs)
        self.base: dict[Operand, Any] = {}
        self.row_stride: dict[Operand, Any] = {}
        for i, operand in enumerate(operands):
            slot, offset, stride = (simd.load_word(self.desc, first_word + 3 * i + k) for k in range(3))
            start = simd.load_word(simd.at(bufs, b.mul(slot, slot.type(8))), 0)
            at = b.add(start, offset)
            if operand.column_stride:
                at = b.add(at, b.mul(place.column, slot.type(ITEM_SIZE[operand.dtype])))
            self.base[operand], self.row_stride[operand] = simd.pointer(at), stride
        self.first_param = first_word + 3 * len(operands)
        self.shared: dict[tuple[Expr, int], Any] = {}
        self.row_at: dict[tuple[Operand, int], Any] = {}

    def leaf(self, expr: Expr, r: int, v: int, total: Any) -> Any:
        if expr.op == "param":
            return self._once((expr, 0), lambda: self._param(expr))
        operand = self.epilogue.loads.get(expr)
        if operand is None:
            return total
        if operand.row_stride:
            return self._load(operand, r, v)
        return self._once((expr, v), lambda: self._load(operand, r, v))

    def address(self, operand: Operand, r: int, v: int) -> Any:
        if (operand, r) not in self.row_at:
            at = self.base[operand]
            if operand.row_stride:
                at = self.simd.at(at, self.simd.builder.mul(self.place.rows[r], self.row_stride[operand]))
            self.row_at[operand, r] = at
        return self.simd.at(self.row_at[operand, r], v * self.simd.vector_bytes if operand.column_stride else 0)

    def _load(self, operand: Operand, r: int, v: int) -> Any:
        at = self.address(operand, r, v)
        return self.simd.load(at, self.place.masks[v]) if operand.column_stride else self.simd.broadcast(at)

    def _once(self, key: tuple[Expr, int], make: Callable[[], Any]) -> Any:
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def _param(self, expr: Expr) -> Any:
        b, word = self.simd.builder, self.simd.load_word(self.desc, self.first_param + self.epilogue.params.index(expr))
        if not expr.dtype.startswith("float"):
            return self.simd.splat(word)
        from llvmlite import ir

        number = b.bitcast(word, ir.DoubleType())
        return self.simd.splat(number if expr.dtype == "float64" else b.fptrunc(number, self.simd.element))
