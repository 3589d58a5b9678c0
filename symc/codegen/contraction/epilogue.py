"""What happens to the finished sums: the contraction's stores as operands that move with the row and the column.

A load or store of an epilogue is reached as `address + row * row_stride + column * column_stride`.  Rows are pixels
(images and positions flattened) or, in a weight gradient, output channels; columns are channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Ref
from symc.core.dtypes import ITEM_SIZE, compute_dtype
from symc.core.errors import CodegenError
from symc.loopir.expr import Affine, Axis, Expr, walk
from symc.loopir.kernel import ACCUMULATOR, Contraction, Store, buffer_of, section_of

ADD_LOAD = "@old"  # the old content of a buffer that a store adds to


@dataclass(frozen=True)
class Operand:
    """One buffer as the epilogue walks it; strides and offset in elements.

    row_stride     distance of two rows; 0 when all rows share the element
    column_stride  1 when lanes are neighbours in memory, 0 when all columns share the element; anything else is
                   read and written element by element (a head in MXNet's channels-first order)
    """

    buffer: str
    dtype: str
    offset: int
    row_stride: int
    column_stride: int

    @property
    def is_scattered(self) -> bool:
        return self.column_stride not in (0, 1)

    @property
    def access(self) -> str:
        """How the kernel addresses it; part of the kernel's structure (the strides themselves are not)."""
        column = "" if self.column_stride == 0 else "s" if self.is_scattered else "c"
        return f"{self.dtype}[{'r' if self.row_stride else ''}{column}]"


@dataclass(frozen=True)
class Epilogue:
    """The stores of a contraction, with their memory operands and parameters numbered in order of appearance."""

    stores: tuple[tuple[Operand, Expr], ...]  # an "add" store is a set of `old + value`
    loads: dict[Expr, Operand]
    params: tuple[Expr, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return tuple(dict.fromkeys([*self.loads.values(), *(operand for operand, _ in self.stores)]))

    def add_to(self, d: Descriptor) -> None:
        """Adds the words that its code reads: each operand's address and strides in bytes, then the parameters."""
        for i, o in enumerate(self.operands):
            item = ITEM_SIZE[o.dtype]
            d.add(f"operand{i}", Ref(o.buffer, o.offset * item), is_printed=False)
            d.add(f"operand{i}_row_bytes", o.row_stride * item, is_printed=False)
            d.add(f"operand{i}_column_bytes", o.column_stride * item, is_printed=False)
        for i, param in enumerate(self.params):
            d.add(f"param{i}", param.data, is_printed=False)

    def structure(self) -> str:
        """The stores with buffers numbered and parameters abstracted; equal text means equal machine code."""
        names = {load: f"%{self.operands.index(o)}:{o.access}" for load, o in self.loads.items()}
        names.update({param: f"${i}:{param.dtype}" for i, param in enumerate(self.params)})
        return "; ".join(f"%{self.operands.index(o)}:{o.access} = {_text(value, names)}" for o, value in self.stores)


def _text(root: Expr, names: dict[Expr, str]) -> str:
    """An expression as text; a shared sub-expression is numbered, so the text is as long as the expression is."""
    known: dict[Expr, str] = {}
    lines: list[str] = []
    for e in walk(root):
        if e in names:
            known[e] = names[e]
        elif e.op == "load":
            known[e] = f"{ACCUMULATOR}{section_of(e) or ''}"
        elif e.op in ("const", "index"):
            known[e] = f"{e}:{e.dtype}"
        else:
            known[e] = f"t{len(lines)}"
            lines.append(f"{known[e]} = {e.op}:{e.dtype}({', '.join(known[a] for a in e.args)})")
    return "{" + ", ".join([*lines, known[root]]) + "}"


def epilogue_of(c: Contraction) -> Epilogue:
    """The epilogue of a contraction; raises CodegenError naming the buffer that the kernel cannot walk."""
    flatten = _flatten_of(c)
    stores: list[tuple[Operand, Expr]] = []
    loads: dict[Expr, Operand] = {}
    params: dict[Expr, None] = {}
    written: set[str] = set()
    for store in c.stores:
        target = _operand(c, store, store.buffer, store.index, flatten)
        if target.column_stride == 0 and any(axis.extent > 1 for axis in store.axes):
            raise _refusal(c, store.buffer, "several sums are stored into one element")
        value = _sum_first(store.value)
        for e in walk(value):
            if e.op == "load" and e.data[0] != ACCUMULATOR:
                if e.data[0] in written:
                    raise _refusal(c, e.data[0], "it is read after an earlier store of the same kernel wrote it")
                name, index = e.data
                loads[e] = _operand(c, store, name, index, flatten)
                if compute_dtype(loads[e].dtype) != e.dtype:
                    raise _refusal(c, e.data[0], f"it is read as {e.dtype}")
            elif e.op == "param":
                params[e] = None
            elif e.op in ("index", "reduce"):
                raise _refusal(c, store.buffer, f"its value contains the {e.op} {e}")
        if compute_dtype(target.dtype) != store.value.dtype:
            raise _refusal(c, store.buffer, f"its value is a {store.value.dtype}")
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


# (store, stride of each of its axes) -> (row stride, column stride); ValueError: not evenly spaced
Flatten = Callable[[Store, dict[Axis, int]], "tuple[int, int]"]


def _flatten_of(c: Contraction) -> Flatten:
    """Rows and columns of the stores.  A single column counts as contiguous, so that it may be loaded under a mask."""
    split: Callable[..., tuple[Sequence[Axis], Sequence[Axis]]] = _pixels_and_channels
    if c.kind == "weight_gradient":
        split = _taps_and_channels if c.is_depthwise else _outputs_and_taps
    n_stacks = 0 if c.stack is None else 1

    def flatten(store: Store, strides: dict[Axis, int]) -> tuple[int, int]:
        rows, columns = split(*store.axes[n_stacks:])
        return even_stride([*store.axes[:n_stacks], *rows], strides), even_stride(columns, strides, single=1)

    return flatten


def _pixels_and_channels(image: Axis, channel: Axis, *positions: Axis) -> tuple[Sequence[Axis], Sequence[Axis]]:
    return (image, *positions), (channel,)


def _outputs_and_taps(output: Axis, channel: Axis, *taps: Axis) -> tuple[Sequence[Axis], Sequence[Axis]]:
    return (output,), (*taps, channel)


def _taps_and_channels(output: Axis, _: Axis, *taps: Axis) -> tuple[Sequence[Axis], Sequence[Axis]]:
    return taps, (output,)


def _sum_first(root: Expr) -> Expr:
    """`root` with the finished sum as the first operand of `sum + x` and `sum * x`: equal results, fewer kernels."""
    new: dict[Expr, Expr] = {}
    for e in walk(root):
        args = tuple(new.get(a, a) for a in e.args)
        if e.op in ("add", "mul") and args[1].op == "load" and args[1].data[0] == ACCUMULATOR:
            args = args[::-1]
        if args != e.args:
            new[e] = Expr(e.op, args, e.data, e.dtype)
    return new.get(root, root)


def _operand(c: Contraction, store: Store, name: str, index: tuple[Affine | Expr, ...], flatten: Flatten) -> Operand:
    buffer = buffer_of(c, name)
    if any(isinstance(component, Expr) for component in index):
        raise _refusal(c, name, "its index is computed")
    total = Affine((), buffer.offset)
    for component, stride in zip(index, buffer.strides):
        total = total + Affine.of(component) * stride  # type: ignore[arg-type]  # refused above
    strides = {axis: total.coefficient(axis) for axis in store.axes}
    try:
        row_stride, column_stride = flatten(store, strides)
    except ValueError as error:
        raise _refusal(c, name, str(error)) from error
    return Operand(name, buffer.dtype, total.constant, row_stride, column_stride)


def even_stride(axes: Sequence[Axis], strides: dict[Axis, int], single: int = 0) -> int:
    """The distance of neighbours when `axes` are flattened to one, `single` when there is only one element.

    Raises ValueError when the distance is not constant.
    """
    moving = [axis for axis in axes if axis.extent > 1]
    if not moving:
        return single
    step = strides[moving[-1]]
    expected = step
    for axis in reversed(moving):
        if strides[axis] != expected:
            raise ValueError(f"axis {axis.name} has stride {strides[axis]}, evenly spaced rows need {expected}")
        expected *= axis.extent
    return step


def _refusal(c: Contraction, buffer: str, reason: str) -> CodegenError:
    return CodegenError(
        f"epilogue of a {c.kind} contraction: buffer {buffer!r} cannot be fused: {reason}; "
        f"store the plain sum and compute the rest in a kernel of its own\n{c.text()}"
    )
